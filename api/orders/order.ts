import { z } from 'zod';
import { CLICK_ID_LENGTH } from '../../core/clicks/click-id.ts';
import { fingerprint } from '../../core/clicks/fingerprint.ts';
import { formatIp, parseIp } from '../../core/ip.ts';
import { hiddenCharacter, plainText } from '../../core/text/plain-text.ts';
import { MAX_EMAIL_LENGTH, MAX_HEADER_LENGTH, MAX_REFERENCE_LENGTH } from '../../core/text-limits.ts';
import { canonicalEmail, emailHash } from '../../ledger/conversions/emails.ts';
import {
  CUSTOMER_STATUSES,
  type CustomerStatus,
  MAX_ORDER_COUPONS,
  type ReportedConversion,
} from '../../ledger/conversions/reported-conversion.ts';
import type { OrderEvent } from '../../ledger/decisions/order-reports.ts';
import { hashAccount } from '../../ledger/payouts/methods.ts';
import { couponKey } from '../../ledger/programs/coupons.ts';
import { eventNameOf, MAX_EVENT_LENGTH } from '../../ledger/programs/events.ts';
import { integerId } from '../schemas/ids.ts';
import { amountText, currencyText, type Money, plain, text, time, toMinor } from '../schemas/schemas.ts';
import { itemsInput, toItems } from './order-items.ts';
import { ORDER_STATUSES, type OrderStatus, parseOrderStatus, STATUS_FIELDS } from './order-status.ts';

/** An order and what happened to it, as shops report it, by API and by postback: one schema, read once. */

const HASHED = 'sha256:';
/** Longer than every spelling. */
const MAX_STATUS_LENGTH = 50;

export const orderId = plain(MAX_REFERENCE_LENGTH).meta({
  description: 'The shop’s own; an order counts once per event.',
});

/** The name of an event, in any case and with any separator. */
export const eventName = text(MAX_EVENT_LENGTH)
  .transform(eventNameOf)
  .optional()
  .meta({ description: 'Of the events of the program; default: sale.', examples: ['sale'] });

const CUSTOMER_WORDS: ReadonlyMap<string, CustomerStatus> = new Map([
  ...['new', 'first', 'first_time'].map((word) => [word, 'new'] as const),
  ...['returning', 'existing', 'repeat', 'old'].map((word) => [word, 'returning'] as const),
]);

const customerStatus = text(MAX_STATUS_LENGTH)
  .transform((word, context): CustomerStatus => {
    const status = CUSTOMER_WORDS.get(eventNameOf(word));
    if (status) return status;
    context.addIssue({ code: 'custom', message: `is not known: ${CUSTOMER_STATUSES.join(' and ')} are` });
    return z.NEVER;
  })
  .optional()
  .meta({
    description:
      'Whether the customer has bought before: new or returning. Default: as the orders in the books say.',
    examples: ['new'],
  });

/** The shop's own reference of a refund. */
export const refundRef = plain(MAX_REFERENCE_LENGTH).meta({
  description: 'The shop’s own reference of the refund; it counts once per order.',
});

/** A status in any of its spellings. */
const statusWord = text(MAX_STATUS_LENGTH)
  .transform((word, context): OrderStatus => {
    const status = parseOrderStatus(word);
    if (status) return status;
    context.addIssue({ code: 'custom', message: `is not known: ${ORDER_STATUSES.join(', ')} are` });
    return z.NEVER;
  })
  .optional();

/** One code, or several: as a list, or with commas between them. Each once, in their order. */
const couponCodes = z
  .union([z.string(), z.array(z.string()).max(MAX_ORDER_COUPONS)], {
    error: `must be a code or a list of at most ${MAX_ORDER_COUPONS} codes`,
  })
  .transform((given, context): string[] => {
    const codes = (typeof given === 'string' ? given.split(',') : given).flatMap((code) =>
      readCode(code, context),
    );
    if (codes.length > MAX_ORDER_COUPONS) {
      context.addIssue({ code: 'custom', message: `must not be more than ${MAX_ORDER_COUPONS} codes` });
    }
    return codes;
  })
  .optional();

function readCode(given: string, context: z.RefinementCtx): string[] {
  const code = plainText(given);
  const hidden = hiddenCharacter(code);
  if (hidden === undefined && code.length <= MAX_REFERENCE_LENGTH) return code === '' ? [] : [code];
  const message =
    hidden === undefined
      ? `must be codes of at most ${MAX_REFERENCE_LENGTH} characters`
      : `must not contain the hidden character ${hidden}`;
  context.addIssue({ code: 'custom', message });
  return [];
}

export const orderFields = {
  program_id: integerId('program').optional().meta({ description: 'For keys of no single program only.' }),
  order_id: orderId,
  event_name: eventName,
  status: statusWord.meta({
    description: `What happened to the order, in the usual spellings: ${ORDER_STATUSES.join(', ')}. Without it the order is reported as approved.`,
    examples: ['approved'],
  }),
  event: statusWord.meta({
    description: 'The name of an event of the program, as event_name; any other word is read as a status.',
  }),
  type: statusWord.meta({ description: 'As status.' }),
  refund_ref: refundRef.optional(),
  amount: amountText.optional().meta({
    description:
      'Of the order; of a change what the order comes to now, refunds not taken off; of a refund what is given back now. Required to report an order or a change; without it a refund is of all that is left.',
  }),
  currency: currencyText.optional(),
  click_id: z.string().overwrite(withoutSurroundings).pipe(plain(MAX_REFERENCE_LENGTH)).optional().meta({
    description:
      'From the landing URL or the cookie aff_click; blanks, quotes and the like around it are dropped. A wrong one is recorded and not credited.',
  }),
  coupon: couponCodes.meta({
    description:
      'Coupon codes that the customer used, all of them: a list, or text with commas. One of an affiliate credits it without a click; others are recorded.',
    examples: ['ANN10'],
  }),
  coupons: couponCodes.meta({ description: 'As coupon.' }),
  occurred_at: time.optional().meta({ description: 'Default: when it arrives.' }),
  customer_id: plain(MAX_REFERENCE_LENGTH).optional(),
  customer_email: plain(MAX_EMAIL_LENGTH)
    .regex(/^([^\s@]+@[^\s@]+|sha256:[0-9a-f]{64})$/, 'must be an e-mail address')
    .optional()
    .meta({
      description:
        'Only its hash is kept. It may be sent as one: sha256: and that of the address in lower case; then an affiliate’s address with a tag is not recognised.',
    }),
  customer_status: customerStatus,
  items: itemsInput,
  payment_account: plain(MAX_REFERENCE_LENGTH).optional().meta({
    description:
      'The account it was paid from, such as an IBAN. Only its hash is kept; an affiliate that pays itself is found by it.',
  }),
  ip: z
    .string()
    .transform((value, context) => {
      const bytes = parseIp(value);
      if (bytes) return formatIp(bytes);
      context.addIssue({ code: 'custom', message: 'must be an IPv4 or IPv6 address' });
      return z.NEVER;
    })
    .optional()
    .meta({ description: 'The customer’s.' }),
  user_agent: text(MAX_HEADER_LENGTH).optional().meta({ description: 'The customer’s User-Agent header.' }),
  accept_language: text(MAX_HEADER_LENGTH).optional().meta({
    description: 'The customer’s Accept-Language header: with user_agent it makes the fingerprint.',
  }),
};

export const orderShape = z.object(orderFields);

/** An order without what only the route knows: its program and how it came. */
export type Order = Omit<ReportedConversion, 'programId' | 'source'>;

/** What a shop reports: an order, what happened to it, or both. */
export interface ShopReport {
  readonly programId: number | undefined;
  readonly orderId: string;
  /** Default: a sale. */
  readonly eventName?: string | undefined;
  /** Undefined where the report is of something that happened to an order. */
  readonly order: Order | undefined;
  readonly event: OrderEvent | undefined;
}

type Input = z.output<typeof orderShape>;

/** A report of its fields. */
export function toReport(input: Input, context: z.RefinementCtx): ShopReport {
  const { program_id: programId, order_id: orderId, event_name: eventName, refund_ref: ref } = input;
  const status = readStatus(input, context);
  const isRefund = status === 'refunded' || status === 'partially_refunded' || status === 'charged_back';
  if (ref !== undefined && !isRefund && status !== 'restored') {
    fault(context, 'refund_ref', 'is of a refund: give the status refunded, charged_back or restored');
  }
  const required =
    status === undefined || ['order', 'pending', 'changed', 'partially_refunded'].includes(status);
  const amount = readAmount(input, context, required);
  if (status === 'partially_refunded' && ref === undefined) fault(context, 'refund_ref', 'is required');
  const isOrder = !isRefund && status !== 'changed' && status !== 'restored';
  if (input.items && !isOrder) {
    fault(context, 'items', 'is of the report of an order; POST /v1/refunds refunds items');
  }
  const items = amount && isOrder ? toItems(input.items, amount.currency, context) : undefined;
  return {
    programId,
    orderId,
    eventName,
    order:
      isOrder && amount ? toOrder(input, amount, { items, awaitsShop: status === 'pending' }) : undefined,
    event: eventOf(status, amount, ref),
  };
}

/** What the fields that may say so make of the report. Two that contradict each other are refused. */
function readStatus(input: Input, context: z.RefinementCtx): OrderStatus | undefined {
  const given = STATUS_FIELDS.flatMap((field) =>
    input[field] === undefined ? [] : [{ field, is: input[field] }],
  );
  const [first, ...others] = given.filter(({ is }) => is !== 'order');
  const other = others.find(({ is }) => is !== first?.is);
  if (first && other) fault(context, other.field, `says ${other.is} where ${first.field} says ${first.is}`);
  return (first ?? given[0])?.is;
}

/** An amount with its currency, where they are given. */
export function readAmount(
  { amount, currency }: Pick<Input, 'amount' | 'currency'>,
  context: z.RefinementCtx,
  required: boolean,
): Money | undefined {
  if (amount === undefined && required) fault(context, 'amount', 'is required');
  // A currency without an amount says nothing: it stands in the templates of shops.
  if (currency === undefined && (required || amount !== undefined)) fault(context, 'currency', 'is required');
  if (amount === undefined || currency === undefined) return undefined;
  return { amountMinor: toMinor({ amount, currency }, context), currency };
}

function fault(context: z.RefinementCtx, field: string, message: string): void {
  context.addIssue({ code: 'custom', path: [field], message });
}

function eventOf(
  status: OrderStatus | undefined,
  amount: Money | undefined,
  ref: string | undefined,
): OrderEvent | undefined {
  switch (status) {
    case undefined:
    case 'order':
    case 'pending':
      return undefined;
    case 'approved':
    case 'cancelled':
    case 'rejected':
      return { kind: status };
    case 'changed':
      return amount && { kind: status, total: amount };
    case 'refunded':
    case 'partially_refunded':
      return { kind: 'refunded', amount, refundRef: ref };
    case 'charged_back':
      return { kind: status, amount, refundRef: ref };
    case 'restored':
      return { kind: status, amount, refundRef: ref };
  }
}

function toOrder(
  input: Input,
  { amountMinor, currency }: Money,
  { items, awaitsShop }: Pick<Order, 'items' | 'awaitsShop'>,
): Order {
  return {
    orderId: input.order_id,
    eventName: input.event_name,
    amountMinor,
    currency,
    awaitsShop,
    customerStatus: input.customer_status,
    items,
    clickId: input.click_id,
    coupons: distinctCodes([...(input.coupon ?? []), ...(input.coupons ?? [])]),
    occurredAt: input.occurred_at,
    customerId: input.customer_id,
    ...(input.customer_email !== undefined && emailHashes(input.customer_email)),
    paymentAccountHash:
      input.payment_account === undefined ? undefined : hashAccount(input.payment_account).toString('hex'),
    ip: input.ip,
    userAgent: input.user_agent,
    fingerprint:
      input.user_agent === undefined || input.accept_language === undefined
        ? undefined
        : fingerprint(input.user_agent, input.accept_language),
  };
}

function distinctCodes(codes: readonly string[]): string[] {
  return [...new Map(codes.toReversed().map((code) => [couponKey(code), code])).values()].toReversed();
}

/** A report in a JSON body: a member that is not known is refused, so that a misspelt one is not lost. */
export const orderInput = z.strictObject(orderFields).transform(toReport);

/**
 * A report in the parameters of a postback. Trackers add parameters of their own, which are no reason to lose an order;
 * the answer lists them as `ignored`.
 */
export const postbackInput = z
  .looseObject({
    key: z
      .string()
      .optional()
      .meta({ description: 'The API key, where no Authorization header can be sent.' }),
    ...orderFields,
  })
  .transform((input, context) => ({
    report: toReport(input, context),
    ignored: Object.keys(input).filter((name) => name !== 'key' && !Object.hasOwn(orderFields, name)),
  }));

/** A click id without what templates and spreadsheets leave around it. Other texts are recorded as they are. */
function withoutSurroundings(clickId: string): string {
  const bare = clickId.replace(/^[^\w-]+/, '').replace(/[^\w-]+$/, '');
  return bare.length === CLICK_ID_LENGTH ? bare : clickId;
}

/** An address that comes as a hash says nothing of its mailbox. */
function emailHashes(email: string) {
  if (email.startsWith(HASHED)) return { customerEmailHash: email.slice(HASHED.length) };
  return { customerEmailHash: emailHash(email), customerMailboxHash: emailHash(canonicalEmail(email)) };
}

/** Blank text and null are treated as absent. */
export function withoutEmptyMembers(value: Readonly<Record<string, unknown>>): Record<string, unknown>;
export function withoutEmptyMembers(value: unknown): unknown;
export function withoutEmptyMembers(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const isGiven = (member: unknown) =>
    member !== null && !(typeof member === 'string' && member.trim() === '');
  return Object.fromEntries(Object.entries(value).filter(([, member]) => isGiven(member)));
}
