import { z } from 'zod';
import { AFFILIATE_STATUSES, type Affiliate } from '../ledger/affiliates.ts';
import { formatId, formatOptionalId, idText } from './ids.ts';
import { formatOptionalTime, formatTime, timeText } from './schemas.ts';

export const affiliateView = z
  .object({
    id: idText('affiliate'),
    program_id: idText('program'),
    ref_code: z.string(),
    name: z.string(),
    email: z.string(),
    customer_ref: z.string().nullable(),
    status: z.enum(AFFILIATE_STATUSES),
    parent_id: idText('affiliate').nullable().meta({ description: 'Who recruited it, and earns level 2.' }),
    approved_at: timeText.nullable(),
    created_at: timeText,
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
    parent_id: formatOptionalId('affiliate', affiliate.parentId),
    approved_at: formatOptionalTime(affiliate.approvedAt),
    created_at: formatTime(affiliate.createdAt),
  };
}
