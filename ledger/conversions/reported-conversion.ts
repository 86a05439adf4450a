import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { InputError } from '../../core/errors.ts';
import { MAX_AMOUNT_MINOR, parseCurrency } from '../../core/money.ts';
import { MAX_HEADER_LENGTH, MAX_REFERENCE_LENGTH } from '../../core/text-limits.ts';
import { DAY_MS } from '../../core/time.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { checkText } from '../postgres/input-faults.ts';
import { checkEventOf, DEFAULT_EVENT } from '../programs/events.ts';
import { checkItems, type OrderItem, storedItems } from './items.ts';
import { type Exchange, exchange } from './rates.ts';

/** Orders as shops report them: what may stand in them, what makes two the same, and what they come to. */

export const CONVERSION_SOURCES = ['api', 'postback', 'pixel', 'import'] as const;
/** Whether the customer has bought before, as a shop reports it. */
export const CUSTOMER_STATUSES = ['new', 'returning'] as const;
export type CustomerStatus = (typeof CUSTOMER_STATUSES)[number];

export type ConversionSource = (typeof CONVERSION_SOURCES)[number];

/** An order as a shop reports it. */
export interface ReportedConversion {
  readonly programId: number;
  readonly orderId: string;
  /** Of the program's events; default: a sale. */
  readonly eventName?: string | undefined;
  readonly amountMinor: bigint;
  /** Of the amount. Another than the program's is converted by the rate in force when the order occurred. */
  readonly currency: string;
  readonly source: ConversionSource;
  /** Default: when it is received. */
  readonly occurredAt?: Date | undefined;
  readonly clickId?: string | undefined;
  /** Coupon codes of any kind, {@link MAX_ORDER_COUPONS} at the most; those of affiliates may credit them. */
  readonly coupons?: readonly string[] | undefined;
  readonly customerId?: string | undefined;
  /** SHA-256 of the trimmed lower-case address, 64 hexadecimal digits. */
  readonly customerEmailHash?: string | undefined;
  /** The same of the mailbox behind the address (ledger/conversions/emails.ts), where the address was given. */
  readonly customerMailboxHash?: string | undefined;
  /** SHA-256 of the account it was paid from, without spaces and in lower case, 64 hexadecimal digits. */
  readonly paymentAccountHash?: string | undefined;
  /** The customer's address, never the shop server's. */
  readonly ip?: string | undefined;
  readonly userAgent?: string | undefined;
  /** As in the click record: 64 unsigned bits. */
  readonly fingerprint?: bigint | undefined;
  /** The shop reports it as pending: what it earns is held until the shop approves it. Default: false. */
  readonly awaitsShop?: boolean | undefined;
  readonly customerStatus?: CustomerStatus | undefined;
  /** What was bought, in the order's currency. */
  readonly items?: readonly OrderItem[] | undefined;
}

/** No shop lets a customer use more on one order. */
export const MAX_ORDER_COUPONS = 20;

/** An order of next week is a mistake, whatever its source. The API, which shops report to, has a closer limit. */
const MAX_FUTURE_MS = DAY_MS;

function checkReported(conversion: ReportedConversion): void {
  const { orderId, amountMinor, clickId, customerId, customerEmailHash, ip, userAgent, occurredAt } =
    conversion;
  parseCurrency(conversion.currency);
  checkText(orderId, 'order_id', MAX_REFERENCE_LENGTH);
  if (amountMinor < 0n || amountMinor > MAX_AMOUNT_MINOR) {
    throw new InputError('amount', `must be 0 to ${MAX_AMOUNT_MINOR} minor units`);
  }
  if (conversion.items) checkItems(conversion.items, conversion);
  if (clickId !== undefined) checkText(clickId, 'click_id', MAX_REFERENCE_LENGTH);
  checkCoupons(conversion.coupons ?? []);
  if (customerId !== undefined) checkText(customerId, 'customer_id', MAX_REFERENCE_LENGTH);
  checkHash(customerEmailHash, 'customer_email_hash');
  checkHash(conversion.customerMailboxHash, 'customer_mailbox_hash');
  checkHash(conversion.paymentAccountHash, 'payment_account_hash');
  if (ip !== undefined && isIP(ip) === 0) throw new InputError('ip', 'must be an IPv4 or IPv6 address');
  if (userAgent !== undefined) checkText(userAgent, 'user_agent', MAX_HEADER_LENGTH);
  if (occurredAt !== undefined && !(occurredAt.getTime() < Date.now() + MAX_FUTURE_MS)) {
    throw new InputError('occurred_at', 'must be a time that is not in the future');
  }
}

function checkCoupons(coupons: readonly string[]): void {
  if (coupons.length > MAX_ORDER_COUPONS) {
    throw new InputError('coupon', `must not be more than ${MAX_ORDER_COUPONS} codes`);
  }
  for (const code of coupons) checkText(code, 'coupon', MAX_REFERENCE_LENGTH);
}

function checkHash(hash: string | undefined, field: string): void {
  if (hash === undefined || /^[0-9a-f]{64}$/.test(hash)) return;
  throw new InputError(field, 'must be 64 lower-case hexadecimal digits');
}

/**
 * What makes two reports of one order the same: what the shop says of the order itself, as it was given. Address,
 * agent and way of the report are left out, because an honest retry may come another way. What was added to reports later
 * is left out where it is not given, so that reports of before are still the same.
 */
export function payloadHash(conversion: ReportedConversion): Buffer {
  const {
    amountMinor,
    currency,
    occurredAt,
    clickId,
    customerId,
    customerEmailHash,
    coupons = [],
  } = conversion;
  const payload = [
    amountMinor.toString(),
    currency,
    occurredAt?.toISOString() ?? null,
    clickId ?? null,
    customerId ?? null,
    customerEmailHash ?? null,
    conversion.paymentAccountHash ?? null,
    // Only where there are any: orders of before coupons keep their hash.
    ...(coupons.length > 0 ? [coupons] : []),
    ...(conversion.customerStatus === undefined ? [] : [{ customerStatus: conversion.customerStatus }]),
    ...(conversion.items ? [{ items: storedItems(conversion.items, undefined) }] : []),
  ];
  return createHash('sha256').update(JSON.stringify(payload)).digest();
}

/** A reported order with what it comes to in its program's currency. */
export interface PricedConversion {
  readonly conversion: ReportedConversion;
  readonly receivedAt: Date;
  readonly programCurrency: string;
  /** Where the order's currency is another one. */
  readonly exchange: Exchange | undefined;
}

/** The row of a reported order as JSON. */
export function conversionRow(
  { conversion, receivedAt, programCurrency, exchange }: PricedConversion,
  hash: Buffer,
) {
  const { customerEmailHash, customerMailboxHash, paymentAccountHash, fingerprint } = conversion;
  const received = receivedAt.toISOString();
  return {
    program_id: conversion.programId,
    order_id: conversion.orderId,
    event_name: conversion.eventName ?? DEFAULT_EVENT,
    amount_minor: String(exchange?.amountMinor ?? conversion.amountMinor),
    currency: programCurrency,
    order_currency: exchange && conversion.currency,
    order_amount_minor: exchange && String(conversion.amountMinor),
    rate_id: exchange?.rateId,
    cross_rate_id: exchange?.crossRateId,
    source: conversion.source,
    received_at: received,
    next_attempt_at: received,
    occurred_at: conversion.occurredAt?.toISOString() ?? received,
    click_id: conversion.clickId,
    customer_id: conversion.customerId,
    customer_email_hash: customerEmailHash && `\\x${customerEmailHash}`,
    customer_mailbox_hash: customerMailboxHash && `\\x${customerMailboxHash}`,
    payment_account_hash: paymentAccountHash && `\\x${paymentAccountHash}`,
    ip: conversion.ip,
    user_agent: conversion.userAgent,
    fingerprint: fingerprint === undefined ? undefined : String(BigInt.asIntN(64, fingerprint)),
    payload_hash: `\\x${hash.toString('hex')}`,
    awaits_shop: conversion.awaitsShop ?? false,
    coupons: conversion.coupons ?? [],
    customer_status: conversion.customerStatus,
    items: conversion.items && storedItems(conversion.items, exchange?.amountMinor),
  };
}

/** What each order comes to in its program's currency, or what is wrong with it. */
export async function priceConversions(
  sql: DatabaseSql,
  conversions: readonly ReportedConversion[],
): Promise<(PricedConversion | InputError)[]> {
  const programs = await readPrograms(sql, conversions);
  const receivedAt = new Date();
  const checked = conversions.map((conversion): PricedConversion | InputError => {
    const program = programs.get(conversion.programId);
    if (program === undefined) return new InputError('program_id', 'there is no such program');
    const fault = inputFaultOf(() => {
      checkReported(conversion);
      checkEventOf(program.events, conversion.eventName ?? DEFAULT_EVENT);
    });
    return fault ?? { conversion, receivedAt, programCurrency: program.currency, exchange: undefined };
  });
  const foreign = checked.filter(
    (one): one is PricedConversion =>
      !(one instanceof InputError) && one.conversion.currency !== one.programCurrency,
  );
  const exchanges = await exchange(
    sql,
    foreign.map(({ conversion, programCurrency }) => ({
      amountMinor: conversion.amountMinor,
      from: conversion.currency,
      to: programCurrency,
      at: conversion.occurredAt ?? receivedAt,
    })),
  );
  const found = new Map(foreign.map((one, i) => [one, exchanges[i]]));
  return checked.map((one) => {
    if (one instanceof InputError) return one;
    const exchange = found.get(one);
    return exchange instanceof InputError ? exchange : { ...one, exchange };
  });
}

function inputFaultOf(check: () => void): InputError | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
}

async function readPrograms(
  sql: DatabaseSql,
  conversions: readonly ReportedConversion[],
): Promise<Map<number, { currency: string; events: string[] }>> {
  const ids = [...new Set(conversions.map(({ programId }) => programId))];
  const rows = await sql<{ id: number; currency: string; events: string[] }[]>`
    select id, currency, events from programs where id = any(${ids}::integer[])`;
  return new Map(rows.map((program) => [program.id, program]));
}
