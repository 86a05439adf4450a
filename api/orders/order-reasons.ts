import { z } from 'zod';
import { MAX_NOTE_LENGTH } from '../../core/text-limits.ts';
import { appendAuditLog } from '../../ledger/access/audit-log.ts';
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
import { queueProgramMail } from '../mails/program-mails.ts';
import { formatId } from '../schemas/ids.ts';
import { formatTime, lines, timeText } from '../schemas/schemas.ts';

/** What a program says to the partner about an order that is held, rejected, or earns less. */

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

/** The reasons of conversions, each as long as the order is in the state that it was given for. */
export async function viewPartnerReasons(
  sql: DatabaseSql,
  conversions: readonly Pick<Conversion, 'id' | 'state'>[],
): Promise<(conversion: Pick<Conversion, 'id' | 'state'>) => z.output<typeof partnerReasonView>> {
  const reasons = await readPartnerReasons(
    sql,
    conversions.map(({ id }) => id),
  );
  return ({ id, state }) => {
    const reason = reasons.get(id);
    return reason?.state === state ? formatReason(reason) : null;
  };
}

function formatReason({ code, text, at }: PartnerReason): z.output<typeof partnerReasonView> {
  return { code, text, at: formatTime(at) };
}

/** Says it of an order, and mails it to its affiliate, in the transaction of what it explains. Said again, it does nothing. */
export async function sayPartnerReason(
  tx: DatabaseTransaction,
  context: Pick<ApiContext, 'secretBox' | 'portalUrl'>,
  said: { conversion: Conversion; reason: PartnerReasonInput; actor: string },
): Promise<void> {
  const { conversion, reason, actor } = said;
  const { id: conversionId, programId, orderId, affiliateId } = conversion;
  const { code, text = null } = reason;
  if (!(await setPartnerReason(tx, { conversionId, code, text }))) return;
  const subject = formatId('conversion', conversionId);
  // Its words may name persons, and the audit log forgets nothing.
  await appendAuditLog(tx, { actor, action: 'conversion.partner_reason', subject, after: { code } });
  const affiliate = affiliateId === null ? undefined : await getAffiliate(tx, affiliateId);
  if (!affiliate || affiliate.erasedAt !== null) return;
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
}

/** Where the portal shows an order. */
export function orderLink({ portalUrl }: Pick<ApiContext, 'portalUrl'>, conversionId: bigint): string {
  return `${portalUrl}/portal/conversions?order=${formatId('conversion', conversionId)}`;
}
