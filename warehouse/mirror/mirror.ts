import { timeText, type Warehouse } from '../clickhouse/client.ts';

/** A conversion as the ledger has it; of several versions the highest counts. */
export interface MirroredConversion {
  readonly id: bigint;
  readonly version: bigint;
  readonly programId: number;
  readonly campaignId: number | null;
  readonly affiliateId: number | null;
  readonly linkId: number | null;
  readonly state: string;
  readonly reason: string | null;
  readonly eventName: string;
  /** The code of the coupon that credits it. */
  readonly coupon: string | null;
  /** ISO 4217; the amounts are in its minor units. */
  readonly currency: string;
  readonly amountMinor: bigint;
  readonly refundedMinor: bigint;
  readonly commissionMinor: bigint;
  readonly ownCommissionMinor: bigint;
  readonly occurredAt: Date;
  readonly receivedAt: Date;
  readonly clickTs: Date | null;
  /** sub1 to sub5 of the click; null: none is known. */
  readonly clickSubs: readonly string[] | null;
  readonly ip: string | null;
  readonly fingerprint: bigint | null;
}

/** Writes conversions into the mirror. Writing them again changes nothing. */
export async function mirrorConversions(
  warehouse: Warehouse,
  conversions: readonly MirroredConversion[],
): Promise<void> {
  if (conversions.length === 0) return;
  await warehouse.insertRows('conversions', conversions.map(conversionRow));
}

function conversionRow(conversion: MirroredConversion): object {
  const [sub1 = '', sub2 = '', sub3 = '', sub4 = '', sub5 = ''] = conversion.clickSubs ?? [];
  return {
    conversion_id: String(conversion.id),
    version: String(conversion.version),
    program_id: conversion.programId,
    campaign_id: conversion.campaignId ?? 0,
    affiliate_id: conversion.affiliateId ?? 0,
    link_id: conversion.linkId ?? 0,
    state: conversion.state,
    reason: conversion.reason ?? '',
    event_name: conversion.eventName,
    coupon: conversion.coupon ?? '',
    currency: conversion.currency,
    amount_minor: String(conversion.amountMinor),
    refunded_minor: String(conversion.refundedMinor),
    commission_minor: String(conversion.commissionMinor),
    own_commission_minor: String(conversion.ownCommissionMinor),
    occurred_at: timeText(conversion.occurredAt.getTime()),
    received_at: timeText(conversion.receivedAt.getTime()),
    click_ts: conversion.clickTs === null ? null : timeText(conversion.clickTs.getTime()),
    ...{ sub1, sub2, sub3, sub4, sub5 },
    ip:
      conversion.ip === null ? '::' : conversion.ip.includes(':') ? conversion.ip : `::ffff:${conversion.ip}`,
    fingerprint: String(conversion.fingerprint ?? 0n),
  };
}

/** The name of a program, campaign, affiliate or link that clicks and conversions refer to. */
export interface MirroredName {
  readonly kind: 'program' | 'campaign' | 'affiliate' | 'link';
  readonly id: number;
  readonly programId: number;
  readonly name: string;
}

/** Writes names into the mirror; of several versions of one the highest counts. */
export async function mirrorNames(
  warehouse: Warehouse,
  names: readonly MirroredName[],
  version: bigint,
): Promise<void> {
  if (names.length === 0) return;
  await warehouse.insertRows(
    'names',
    names.map(({ kind, id, programId, name }) => ({
      kind,
      id,
      program_id: programId,
      name,
      version: String(version),
    })),
  );
}

/** Sums of the mirror by program and state, to be compared with the ledger's. */
export interface MirrorSums {
  readonly programId: number;
  readonly state: string;
  readonly conversions: number;
  readonly amountMinor: bigint;
  readonly refundedMinor: bigint;
  readonly commissionMinor: bigint;
  readonly ownCommissionMinor: bigint;
}

export async function mirrorSums(warehouse: Warehouse): Promise<MirrorSums[]> {
  const { rows } = await warehouse.query<Record<string, string | number>>(
    `SELECT program_id AS program, state AS word, toUInt32(count()) AS conversions, toString(sum(amount_minor)) AS amount,
       toString(sum(refunded_minor)) AS refunded, toString(sum(commission_minor)) AS commission,
       toString(sum(own_commission_minor)) AS own_commission
     FROM conversions FINAL GROUP BY program, word ORDER BY program, word`,
  );
  return rows.map((row) => ({
    programId: Number(row.program),
    state: String(row.word),
    conversions: Number(row.conversions),
    amountMinor: BigInt(row.amount ?? 0),
    refundedMinor: BigInt(row.refunded ?? 0),
    commissionMinor: BigInt(row.commission ?? 0),
    ownCommissionMinor: BigInt(row.own_commission ?? 0),
  }));
}
