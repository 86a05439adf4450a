import { z } from 'zod';
import type { Role } from '../../ledger/access/api-keys.ts';
import { PAYOUT_RUN_STATES, type PayoutRun } from '../../ledger/payouts/approvals.ts';
import { DESTINATION_KINDS } from '../../ledger/payouts/destinations.ts';
import { PAYOUT_STATES, type Payout } from '../../ledger/payouts/payouts.ts';
import { formatId, formatOptionalId, idText } from '../schemas/ids.ts';
import { formatMoney, formatOptionalTime, formatTime, moneyText, timeText } from '../schemas/schemas.ts';

export const destinationView = z
  .object({
    kind: z.enum(DESTINATION_KINDS),
    hint: z.string().meta({
      description: 'Enough to recognise it by: of a bank account the country and the last four digits.',
    }),
    method_version: z
      .int()
      .nullable()
      .meta({ description: 'Counts the accounts that the affiliate has had; null for an e-mail address.' }),
  })
  .meta({
    id: 'PayoutDestination',
    description: 'Where a payout goes, as it was when the payout was built.',
  });

export function formatDestination(
  payout: Pick<Payout, 'destinationKind' | 'destinationHint' | 'methodVersion'>,
): z.output<typeof destinationView> | null {
  const { destinationKind: kind, destinationHint: hint, methodVersion } = payout;
  return kind === null || hint === null ? null : { kind, hint, method_version: methodVersion };
}

export const payoutView = z
  .object({
    id: idText('payout'),
    program_id: idText('program'),
    affiliate_id: idText('affiliate'),
    amount: moneyText,
    state: z.enum(PAYOUT_STATES),
    provider: z.string(),
    destination: destinationView.nullable().meta({ description: 'Null: none was set, or kept.' }),
    failure: z.string().nullable(),
    provider_failure: z
      .string()
      .nullable()
      .meta({ description: 'In the words of the provider; null for affiliates.' }),
    created_at: timeText,
    submitted_at: timeText.nullable(),
    closed_at: timeText.nullable(),
  })
  .meta({ id: 'Payout' });

/** A payout for the eyes of a role. */
export function formatPayout(payout: Payout, { role }: { role: Role }): z.output<typeof payoutView> {
  return {
    id: formatId('payout', payout.id),
    program_id: formatId('program', payout.programId),
    affiliate_id: formatId('affiliate', payout.affiliateId),
    amount: formatMoney(payout.amountMinor, payout.currency),
    state: payout.state,
    provider: payout.provider,
    destination: formatDestination(payout),
    failure: payout.failure,
    provider_failure: role === 'affiliate' ? null : payout.providerFailure,
    created_at: formatTime(payout.createdAt),
    submitted_at: formatOptionalTime(payout.submittedAt),
    closed_at: formatOptionalTime(payout.closedAt),
  };
}

export const payoutRunView = z
  .object({
    id: idText('payoutRun'),
    program_id: idText('program'),
    affiliate_id: idText('affiliate').nullable().meta({ description: 'Of a run for one affiliate.' }),
    provider: z.string(),
    state: z.enum(PAYOUT_RUN_STATES),
    started_at: timeText,
    started_by: z.string().meta({ description: 'As in the audit log.', examples: ['user:3', 'scheduler'] }),
    decided_at: timeText.nullable(),
    decided_by: z.string().nullable(),
    payouts: z.int().meta({ description: 'Without those that are canceled, as is the total.' }),
    total: moneyText,
  })
  .meta({
    id: 'PayoutRun',
    description:
      'Payouts that were started together. confirmed: it needs no approval. awaiting_approval: a second person approves or rejects it.',
  });

export function formatPayoutRun(run: PayoutRun): z.output<typeof payoutRunView> {
  return {
    id: formatId('payoutRun', run.id),
    program_id: formatId('program', run.programId),
    affiliate_id: formatOptionalId('affiliate', run.affiliateId),
    provider: run.provider,
    state: run.state,
    started_at: formatTime(run.startedAt),
    started_by: run.startedBy,
    decided_at: formatOptionalTime(run.decidedAt),
    decided_by: run.decidedBy,
    payouts: run.payouts,
    total: formatMoney(run.amountMinor, run.currency),
  };
}
