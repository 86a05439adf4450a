import { createPublicKey, type KeyObject } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NatsConnection } from '@nats-io/transport-node';
import type { ClickIdCodec } from '../../core/clicks/click-id.ts';
import { OperatingError } from '../../core/errors.ts';
import { auditLedger } from '../../ledger/audit/audit.ts';
import type { AuditCheck } from '../../ledger/audit/checks.ts';
import { latestDecidedSince } from '../../ledger/conversions/conversions.ts';
import { countFileBatches, findUnknownBatches } from '../../ledger/payouts/files.ts';
import { listPaymentFileBatches } from '../../ledger/payouts/providers/payment-file.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import { type ConversionSums, conversionSums, outboxLag } from '../../ledger/postgres/outbox.ts';
import { auditWarehouse } from '../../warehouse/audit/audit.ts';
import { checkSignedCounts, signDailyCounts } from '../../warehouse/audit/signed-counts.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';
import { mirrorSums } from '../../warehouse/mirror/mirror.ts';
import { readWatermark } from '../../warehouse/watermark/watermark.ts';
import { createWarehouseClicks } from '../worker/click-source.ts';
import { clockWarnings } from './clocks.ts';
import { replay } from './replay.ts';
import { checkSignedHeads } from './signed-heads.ts';

/** The promises that an audit checks by comparing the stores; the fifth, freshness, is read at any moment. */
export const AUDITED_PROMISES = ['clicks_kept', 'clicks_once', 'books', 'decisions'] as const;
type AuditedPromise = (typeof AUDITED_PROMISES)[number];

/** The checks of one run. */
export interface AuditResult {
  readonly ok: boolean;
  /** Every click older than this was compared; undefined before the first. */
  readonly completeTo: Date | undefined;
  readonly checks: readonly AuditCheck[];
  /** Clocks that are off, in words. */
  readonly warnings: readonly string[];
}

export interface AuditOptions {
  readonly nc: NatsConnection;
  readonly warehouse: Warehouse;
  readonly ledger: Database;
  readonly clickIds: ClickIdCodec;
  /** Ed25519: signs the counts of complete days and the heads of the hash chains, and checks the earlier ones. */
  readonly countKey: KeyObject;
  /** Where files of payouts are. */
  readonly paymentFolder: string;
}

const MIRROR = 'mirror of conversions';
const DECISIONS = 'decisions made again';
/** Checks of the warehouse for lost clicks; the others are for clicks that count twice. */
const LOSS_CHECKS: ReadonlySet<string> = new Set(['leases', 'loader', 'dead letters']);

/** The promise that a check belongs to. */
export function promiseOf({ store, name }: Pick<AuditCheck, 'store' | 'name'>): AuditedPromise {
  if (name === DECISIONS) return 'decisions';
  if (store === 'ledger' || name === MIRROR) return 'books';
  return LOSS_CHECKS.has(name) ? 'clicks_kept' : 'clicks_once';
}

/** Checks four of the five promises; may run while the platform works. */
export async function auditStores(options: AuditOptions): Promise<AuditResult> {
  const { nc, warehouse, ledger } = options;
  const completeTo = await readWatermark(warehouse);
  const clicks = await auditWarehouse({ warehouse, nc });
  const counted = [...clicks, await checkMirror(options), await checkDailyCounts(options)];
  const books = await auditLedger(ledger);
  const booked = [
    ...books,
    await checkSignedHeads(options),
    await checkPaymentFiles(options),
    await checkDecisions(options),
  ];
  const checks = [
    ...counted.map(({ name, ok, detail }) => ({ store: 'clicks' as const, name, ok, detail })),
    ...booked.map(({ name, ok, detail }) => ({ store: 'ledger' as const, name, ok, detail })),
  ];
  return {
    ok: checks.every(({ ok }) => ok),
    completeTo: completeTo === undefined ? undefined : new Date(completeTo),
    checks,
    warnings: await clockWarnings(options),
  };
}

type Check = Omit<AuditCheck, 'store'>;

/** Changes reach the mirror within a second; sums that differ this many times in a row are a difference. */
const MIRROR_LOOKS = 5;
const MIRROR_PAUSE_MS = 1_000;

/** Conversions in the warehouse against those in the books, by program and state. */
async function checkMirror(stores: { warehouse: Warehouse; ledger: Database }): Promise<Check> {
  const name = MIRROR;
  for (let look = 1; ; look++) {
    const booked = (await conversionSums(stores.ledger)).map(describeSums);
    const mirrored = new Set((await mirrorSums(stores.warehouse)).map(describeSums));
    const missing = booked.find((sums) => !mirrored.delete(sums));
    const [surplus] = mirrored;
    if (missing === undefined && surplus === undefined) {
      return { name, ok: true, detail: `equal to the books in ${booked.length} sums` };
    }
    if (look === MIRROR_LOOKS) {
      const { waiting } = await outboxLag(stores.ledger);
      return { name, ok: false, detail: `books: ${missing}; mirror: ${surplus}; ${waiting} changes wait` };
    }
    await sleep(MIRROR_PAUSE_MS);
  }
}

function describeSums(sums: ConversionSums): string {
  const { programId, state, conversions, amountMinor, refundedMinor, commissionMinor, ownCommissionMinor } =
    sums;
  return `program ${programId}, ${state}: ${conversions} of ${amountMinor}, refunded ${refundedMinor}, commission ${commissionMinor}, own ${ownCommissionMinor}`;
}

/** Signs the days that are complete, and counts again those signed before. */
async function checkDailyCounts({ warehouse, countKey: key }: AuditOptions): Promise<Check> {
  const signed = await signDailyCounts(warehouse, { key, now: Date.now() });
  const { compared, fault } = await checkSignedCounts(warehouse, { key: createPublicKey(key) });
  const detail = fault ?? `${compared} signed counts confirmed, ${signed} of them signed now`;
  return { name: 'daily counts', ok: fault === undefined, detail };
}

/**
 * A file is written once its batch is committed: one that the books do not know was paid by books that are lost. Where none of
 * the books' files can be seen, nothing is said of any.
 */
export async function checkPaymentFiles({
  ledger,
  paymentFolder,
}: Pick<AuditOptions, 'ledger' | 'paymentFolder'>): Promise<Check> {
  const name = 'payment_files';
  let keys: string[];
  try {
    keys = await listPaymentFileBatches(paymentFolder);
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    return { name, ok: false, detail: error.message };
  }
  const unknown = await findUnknownBatches(ledger, keys);
  if (unknown.length > 0) {
    const detail = `${unknown.length} payment files are of batches that the books do not have: ${unknown.join(', ')}`;
    return { name, ok: false, detail };
  }
  const booked = await countFileBatches(ledger);
  if (keys.length === 0 && booked > 0) {
    const detail = `${booked} batches were handed over as files, and none of them is in ${paymentFolder}: run the audit where they are`;
    return { name, ok: false, detail };
  }
  return { name, ok: true, detail: `the books have the batches of all ${keys.length} payment files here` };
}

/** Only the latest decisions are made again: all of them would take as long as they took at the time. */
const DECISIONS_REPEATED = 500;

async function checkDecisions({ ledger, warehouse, clickIds }: AuditOptions): Promise<Check> {
  const name = DECISIONS;
  const from = await latestDecidedSince(ledger, { count: DECISIONS_REPEATED });
  if (!from) return { name, ok: true, detail: 'nothing has been decided yet' };
  const clicks = createWarehouseClicks(warehouse);
  const { conversions, skipped, differences } = await replay({
    ledger,
    clicks,
    clickIds,
    from,
    to: new Date(),
  });
  const [first] = differences;
  const detail = first
    ? `${differences.length} of the latest ${conversions} differ; first: cnv_${first.conversionId} was ${first.before.outcome}, would be ${first.after.outcome}`
    : `the latest ${conversions} are the same${skipped > 0 ? `; the evidence of ${skipped} is erased` : ''}`;
  return { name, ok: first === undefined, detail };
}
