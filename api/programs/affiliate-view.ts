import { z } from 'zod';
import { MAX_CODE_LENGTH, MAX_EMAIL_LENGTH, MAX_REFERENCE_LENGTH } from '../../core/text-limits.ts';
import { AFFILIATE_STATUSES, type Affiliate } from '../../ledger/programs/affiliates.ts';
import { owned, type Principal } from '../http/principal.ts';
import { formatId, formatOptionalId, idText, integerId } from '../schemas/ids.ts';
import { formatOptionalTime, formatTime, nameText, plain, timeText } from '../schemas/schemas.ts';

export const affiliateView = z
  .object({
    id: idText('affiliate'),
    program_id: idText('program'),
    ref_code: z.string(),
    name: z.string(),
    email: z.string(),
    customer_ref: z.string().nullable(),
    status: z.enum(AFFILIATE_STATUSES),
    status_note: z.string().nullable().meta({ description: 'Why, as it was mailed to it.' }),
    parent_id: idText('affiliate').nullable().meta({ description: 'Who recruited it, and earns level 2.' }),
    approved_at: timeText.nullable(),
    created_at: timeText,
    merged_into: idText('affiliate').nullable().meta({ description: 'Who has taken its place.' }),
    erased_at: timeText.nullable().meta({ description: 'Since when it is not known who it was.' }),
  })
  .meta({ id: 'Affiliate' });

export function formatAffiliate(affiliate: Affiliate): z.output<typeof affiliateView> {
  return {
    id: formatId('affiliate', affiliate.id),
    program_id: formatId('program', affiliate.programId),
    ref_code: affiliate.refCode,
    name: affiliate.name,
    email: affiliate.email,
    customer_ref: affiliate.customerRef,
    status: affiliate.status,
    status_note: affiliate.statusNote,
    parent_id: formatOptionalId('affiliate', affiliate.parentId),
    approved_at: formatOptionalTime(affiliate.approvedAt),
    created_at: formatTime(affiliate.createdAt),
    merged_into: formatOptionalId('affiliate', affiliate.mergedInto),
    erased_at: formatOptionalTime(affiliate.erasedAt),
  };
}

/** An affiliate to be made. */
export const newAffiliate = {
  ref_code: plain(MAX_CODE_LENGTH),
  name: nameText,
  email: plain(MAX_EMAIL_LENGTH).meta({ examples: ['partner@example.com'] }),
  customer_ref: plain(MAX_REFERENCE_LENGTH)
    .nullable()
    .exactOptional()
    .meta({ description: 'Its own customer id at the shop: an order by it is a self-referral.' }),
  parent_id: integerId('affiliate').nullable().exactOptional(),
  status: z.enum(AFFILIATE_STATUSES).exactOptional(),
};

/** The affiliate if it is the principal's. @throws Problem `not_found`. */
export function visibleAffiliate(principal: Principal, affiliate: Affiliate | undefined): Affiliate {
  const row = affiliate && { ...affiliate, affiliateId: affiliate.id };
  return owned(principal, row, 'affiliate with this id');
}
