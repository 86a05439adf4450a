import { z } from 'zod';
import { MAX_NOTE_LENGTH } from '../../core/text-limits.ts';
import type { Role } from '../../ledger/access/api-keys.ts';
import { appendAuditLog } from '../../ledger/access/audit-log.ts';
import { takeGuess } from '../../ledger/access/guess-limits.ts';
import type { Conversion } from '../../ledger/conversions/conversions.ts';
import {
  PARTNER_REASON_CODES,
  type PartnerReason,
  type PartnerReasonCode,
  readPartnerReasons,
  setPartnerReason,
} from '../../ledger/partners/partner-reasons.ts';
import type { DatabaseSql, DatabaseTransaction } from '../../ledger/postgres/db.ts';
import { getAffiliate } from '../../ledger/programs/affiliates.ts';
import type { ApiContext } from '../http/context.ts';
import type { Principal } from '../http/principal.ts';
import { Problem } from '../http/problems.ts';
import type { Scope } from '../http/scopes.ts';
import { queueProgramMail } from '../mails/program-mails.ts';
import { formatId } from '../schemas/ids.ts';
import { formatTime, lines, timeText } from '../schemas/schemas.ts';
import { formatConversion } from './conversion-view.ts';

/** What a program says to the partner about an order that is held, rejected, or earns less. */

/** Of one order: each is a mail to the partner, and no reviewer changes it more often. */
const REASONS = { burst: 5, everyS: 3_600 };

/** As mails say it; the portal has its own words. */
const TEXTS: Readonly<Record<PartnerReasonCode, string>> = {
  being_checked: 'We are checking this order.',
  cancelled_by_customer: 'The customer cancelled the order.',
  returned: 'The customer returned the goods.',
  not_paid: 'The order was not paid.',
  test_order: 'It was a test order.',
  duplicate_order: 'The order was reported twice.',
  own_order: 'It was an order of your own.',
  not_a_new_customer: 'The customer had ordered before.',
  against_conditions: 'It came about against our conditions of participation.',
  unusual_traffic: 'The traffic that led to it was unusual.',
  other: '',
};

export const partnerReasonInput = z
  .strictObject({
    code: z.enum(PARTNER_REASON_CODES),
    text: lines(MAX_NOTE_LENGTH).optional(),
  })
  .refine(({ code, text: words }) => code !== 'other' || words !== undefined, {
    path: ['text'],
    message: 'is required for other',
  })
  .meta({
    description: 'What the partner is to know: shown to it, and mailed. Name no customer in it.',
    examples: [{ code: 'returned' }],
  });

export type PartnerReasonInput = z.output<typeof partnerReasonInput>;

export const partnerReasonView = z
  .object({ code: z.enum(PARTNER_REASON_CODES), text: z.string().nullable(), at: timeText })
  .nullable()
  .meta({
    id: 'PartnerReason',
    description: 'What the program says to the partner about the order as it is now; null: nothing.',
  });

/** The reasons of conversions, each as long as the order is as it was when it was said. */
export async function viewPartnerReasons(
  sql: DatabaseSql,
  conversions: readonly Pick<Conversion, 'id'>[],
): Promise<(conversion: Pick<Conversion, 'id'>) => z.output<typeof partnerReasonView>> {
  const reasons = await readPartnerReasons(
    sql,
    conversions.map(({ id }) => id),
  );
  return ({ id }) => {
    const reason = reasons.get(id);
    return reason ? formatReason(reason) : null;
  };
}

/** One conversion as it is read: what an ETag is of. */
export async function readConversion(sql: DatabaseSql, conversion: Conversion, principal: Principal) {
  const reasonOf = await viewPartnerReasons(sql, [conversion]);
  return { ...formatConversion(conversion, principal), partner_reason: reasonOf(conversion) };
}

function formatReason({ code, text, at }: PartnerReason): z.output<typeof partnerReasonView> {
  return { code, text, at: formatTime(at) };
}

/** Who speaks to partners as the reviewer: shops and finance report what became of an order, and say nothing of it. */
export const REASON_ROLES = ['operator', 'fraud'] as const satisfies readonly Role[];
/** What a key with scopes needs for it. */
export const REASON_SCOPE = 'conversions:write' satisfies Scope;

/** Before anything is done: a reason is given with a report by those alone who may say one without. @throws Problem `forbidden`. */
export function checkMaySayReason(
  { role, scopes }: Pick<Principal, 'role' | 'scopes'>,
  reason: PartnerReasonInput | undefined,
): void {
  if (reason === undefined) return;
  const mayRole = REASON_ROLES.some((one) => one === role);
  if (mayRole && scopes?.includes(REASON_SCOPE) !== false) return;
  const who = mayRole ? `needs the scope ${REASON_SCOPE}` : `is for the roles ${REASON_ROLES.join(' and ')}`;
  throw new Problem('forbidden', { detail: `partner_reason ${who}` });
}

/**
 * Says it of an order, and mails it to its affiliate, in the transaction of what it explains, which no limit refuses: over the
 * limit it is shown and not mailed. Said again, it does nothing.
 * @returns Seconds until the limit allows one more; 0: it allowed this one.
 */
export async function sayPartnerReason(
  tx: DatabaseTransaction,
  context: Pick<ApiContext, 'secretBox' | 'portalUrl'>,
  said: { conversion: Conversion; reason: PartnerReasonInput; actor: string },
): Promise<number> {
  const { conversion, reason, actor } = said;
  const { id: conversionId, programId, orderId, affiliateId } = conversion;
  const { code, text = null } = reason;
  if (!(await setPartnerReason(tx, { conversionId, code, text }))) return 0;
  const seconds = await takeGuess(tx, [{ of: `reasons of order ${conversionId}`, ...REASONS }]);
  const subject = formatId('conversion', conversionId);
  // Its words may name persons, and the audit log forgets nothing.
  await appendAuditLog(tx, { actor, action: 'conversion.partner_reason', subject, after: { code } });
  const affiliate = affiliateId === null ? undefined : await getAffiliate(tx, affiliateId);
  if (seconds > 0 || !affiliate || affiliate.erasedAt !== null) return seconds;
  await queueProgramMail(tx, context, {
    programId,
    kind: 'order_reason',
    to: affiliate.email,
    values: {
      name: affiliate.name,
      order: orderId,
      reason: [TEXTS[code], text].filter(Boolean).join('\n\n'),
      link: orderLink(context, conversionId),
    },
  });
  return seconds;
}

/** Where the portal shows an order. */
export function orderLink({ portalUrl }: Pick<ApiContext, 'portalUrl'>, conversionId: bigint): string {
  return `${portalUrl}/portal/conversions?order=${formatId('conversion', conversionId)}`;
}
