import { z } from 'zod';
import { PAYOUT_STATES, type Payout } from '../../ledger/payouts/payouts.ts';
import { formatId, idText } from '../schemas/ids.ts';
import { formatMoney, formatOptionalTime, formatTime, moneyText, timeText } from '../schemas/schemas.ts';

export const payoutView = z
  .object({
    id: idText('payout'),
    program_id: idText('program'),
    affiliate_id: idText('affiliate'),
    amount: moneyText,
    state: z.enum(PAYOUT_STATES),
    provider: z.string(),
    failure: z.string().nullable(),
    created_at: timeText,
    submitted_at: timeText.nullable(),
    closed_at: timeText.nullable(),
  })
  .meta({ id: 'Payout' });

export function formatPayout(payout: Payout): z.output<typeof payoutView> {
  return {
    id: formatId('payout', payout.id),
    program_id: formatId('program', payout.programId),
    affiliate_id: formatId('affiliate', payout.affiliateId),
    amount: formatMoney(payout.amountMinor, payout.currency),
    state: payout.state,
    provider: payout.provider,
    failure: payout.failure,
    created_at: formatTime(payout.createdAt),
    submitted_at: formatOptionalTime(payout.submittedAt),
    closed_at: formatOptionalTime(payout.closedAt),
  };
}
