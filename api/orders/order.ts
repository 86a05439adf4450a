import { z } from 'zod';
import { CLICK_ID_LENGTH } from '../../core/clicks/click-id.ts';
import { fingerprint } from '../../core/clicks/fingerprint.ts';
import { formatIp, parseIp } from '../../core/ip.ts';
import { MAX_EMAIL_LENGTH, MAX_HEADER_LENGTH, MAX_REFERENCE_LENGTH } from '../../core/text-limits.ts';
import { canonicalEmail, emailHash } from '../../ledger/conversions/emails.ts';
import type { ReportedConversion } from '../../ledger/conversions/reported-conversion.ts';
import { hashAccount } from '../../ledger/payouts/methods.ts';
import { integerId } from '../schemas/ids.ts';
import { amountText, currencyText, text, time, toMinor } from '../schemas/schemas.ts';

/** An order as shops report it, by API and by postback: one schema, read once. */

const HASHED = 'sha256:';

export const orderId = text(MAX_REFERENCE_LENGTH).meta({
  description: 'The shop’s own; an order counts once.',
});

export const orderFields = {
  program_id: integerId('program').optional().meta({ description: 'For keys of no single program only.' }),
  order_id: orderId,
  amount: amountText,
  currency: currencyText,
  click_id: text(MAX_REFERENCE_LENGTH).transform(withoutSurroundings).optional().meta({
    description:
      'From the landing URL or the cookie aff_click; blanks, quotes and the like around it are dropped. A wrong one is recorded and not credited.',
  }),
  occurred_at: time.optional().meta({ description: 'Default: when it arrives.' }),
  customer_id: text(MAX_REFERENCE_LENGTH).optional(),
  customer_email: text(MAX_EMAIL_LENGTH)
    .trim()
    .regex(/^([^\s@]+@[^\s@]+|sha256:[0-9a-f]{64})$/, 'must be an e-mail address')
    .optional()
    .meta({
      description:
        'Only its hash is kept. It may be sent as one: sha256: and that of the address in lower case; then an affiliate’s address with a tag is not recognised.',
    }),
  payment_account: text(MAX_REFERENCE_LENGTH).optional().meta({
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
export type Order = Omit<ReportedConversion, 'programId' | 'source'> & {
  readonly programId?: number | undefined;
};

/** An order of its fields. */
export function toOrder(input: z.output<typeof orderShape>, context: z.RefinementCtx): Order {
  return {
    programId: input.program_id,
    orderId: input.order_id,
    amountMinor: toMinor(input, context),
    currency: input.currency,
    clickId: input.click_id,
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

/** An order in a JSON body: a member that is not known is refused, so that a misspelt one is not lost. */
export const orderInput = z.strictObject(orderFields).transform(toOrder);

/**
 * An order in the parameters of a postback. Trackers add parameters of their own, which are no reason to lose an order;
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
    order: toOrder(input, context),
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

/** Empty text and null are treated as absent. */
export function withoutEmptyMembers(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== '' && member !== null));
}
