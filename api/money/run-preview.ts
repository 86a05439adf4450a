import { z } from 'zod';
import { InputError } from '../../core/errors.ts';
import { HOUR_MS } from '../../core/time.ts';
import { previewRun } from '../../ledger/payouts/build.ts';
import { LEFT_OUT_REASONS, type LeftOut } from '../../ledger/payouts/left-out.ts';
import type { ConfirmedPreview } from '../../ledger/payouts/run.ts';
import { AFFILIATE_STATUSES } from '../../ledger/programs/affiliates.ts';
import { getProgram } from '../../ledger/programs/programs.ts';
import type { ApiContext } from '../http/context.ts';
import { Problem } from '../http/problems.ts';
import { formatId, idText } from '../schemas/ids.ts';
import { formatMoney, formatOptionalTime, formatTime, moneyText, timeText } from '../schemas/schemas.ts';
import { destinationView, formatDestination } from './payout-view.ts';

/** Affiliates that a preview lists; the rest is counted. */
const MAX_PREVIEW_ROWS = 1_000;
/** Who confirms an older one confirms what they no longer know. */
const MAX_PREVIEW_AGE_MS = HOUR_MS;

const leftOutView = z
  .object({
    affiliate_id: idText('affiliate'),
    reason: z.enum(LEFT_OUT_REASONS),
    detail: z.string(),
    status: z.enum(AFFILIATE_STATUSES),
    pending: moneyText,
    available: moneyText,
    debt: moneyText.meta({ description: 'Zero or negative.' }),
    adjustments: moneyText.meta({ description: 'Bonuses less deductions.' }),
    payout_min: moneyText.nullable(),
    held_until: timeText
      .nullable()
      .meta({ description: 'No payouts until then, because the destination was changed.' }),
  })
  .meta({ id: 'LeftOut', description: 'An affiliate that has money and gets no payout, and why.' });

/** In the answers of preview and run: those listed, and how many there are. */
export const leftOutFields = { left_out: z.array(leftOutView), left_out_total: z.int() };

export function formatLeftOut(leftOut: readonly LeftOut[]): z.output<z.ZodObject<typeof leftOutFields>> {
  return {
    left_out: leftOut.slice(0, MAX_PREVIEW_ROWS).map((out) => ({
      affiliate_id: formatId('affiliate', out.affiliateId),
      reason: out.reason,
      detail: whyLeftOut(out),
      status: out.status,
      pending: formatMoney(out.pendingMinor, out.currency),
      available: formatMoney(out.availableMinor, out.currency),
      debt: formatMoney(out.debtMinor, out.currency),
      adjustments: formatMoney(out.adjustmentsMinor, out.currency),
      payout_min: out.payoutMinMinor === null ? null : formatMoney(out.payoutMinMinor, out.currency),
      held_until: formatOptionalTime(out.heldUntil),
    })),
    left_out_total: leftOut.length,
  };
}

export const previewView = z
  .object({
    program_id: idText('program'),
    provider: z.string(),
    as_of: timeText.meta({ description: 'The run pays what was due then.' }),
    preview: z.string().meta({
      description:
        'Names this preview, by a hash over the affiliates, amounts and destinations of all payouts: POST /v1/payouts/run takes it, for an hour.',
    }),
    payouts: z.int(),
    total: moneyText,
    needs_approval: z.boolean().meta({ description: 'Whether a second person has to approve the run.' }),
    would_pay: z.array(
      z.object({
        affiliate_id: idText('affiliate'),
        amount: moneyText,
        destination: destinationView.nullable(),
      }),
    ),
    ...leftOutFields,
  })
  .meta({
    id: 'PayoutPreview',
    description: `What a run would pay now. At most ${MAX_PREVIEW_ROWS} affiliates are in each list; payouts, total and left_out_total count all.`,
  });

function whyLeftOut(left: LeftOut): string {
  const { reason, status, currency, availableMinor, debtMinor, adjustmentsMinor, payoutMinMinor } = left;
  const money = (minor: bigint): string => {
    const { amount } = formatMoney(minor, currency);
    return `${amount} ${currency}`;
  };
  switch (reason) {
    case 'not_active':
      return `the affiliate is ${status}`;
    case 'payout_under_way':
      return 'one of its payouts is still open';
    case 'in_hold':
      return 'all its money is in the hold';
    case 'debt':
      return adjustmentsMinor === 0n
        ? `its debt of ${money(-debtMinor)} takes the ${money(availableMinor)} that are available`
        : `its debt of ${money(-debtMinor)} and adjustments of ${money(adjustmentsMinor)} leave nothing of the ${money(availableMinor)} that are available`;
    case 'no_terms':
      return 'no terms are in force';
    case 'below_minimum':
      return `${money(availableMinor + debtMinor + adjustmentsMinor)} is below the minimum of ${money(payoutMinMinor ?? 0n)}`;
    case 'currency_not_supported':
      return `the provider does not pay ${currency}`;
    case 'no_tax_data':
      return 'the affiliate has given no tax data, which the program asks for';
    case 'no_payout_method':
      return 'the affiliate has set no payout method';
    case 'method_does_not_fit_provider':
      return 'the provider does not pay to a payout method of this kind';
    case 'method_refused':
      return `a payment to the payout method was refused or came back on ${formatOptionalTime(left.refusedAt)}, and it was not changed since`;
    case 'above_maximum':
      return 'its oldest commission alone is more than the provider’s largest payment';
    case 'not_yet_due':
      return 'the payout of its schedule was made already';
    case 'destination_on_hold':
      return `payouts on hold until ${formatOptionalTime(left.heldUntil)}, because the payout method was changed on ${formatOptionalTime(left.destinationChangedAt)}`;
    case 'busy':
      return 'a refund is changing its commissions; try again';
  }
}

/** The preview of a program's run as of now, or of a run for one affiliate. @throws InputError `program_id`. */
export async function readPreview(
  { ledger, payoutProvider: provider }: ApiContext,
  { programId, affiliateId }: { programId: number; affiliateId: number | undefined },
): Promise<z.output<typeof previewView>> {
  const program = await getProgram(ledger, programId);
  if (!program) throw new InputError('program_id', 'there is no such program');
  const { currency } = program;
  const now = new Date();
  const { hash, payouts, leftOut } = await previewRun(ledger, {
    now,
    provider,
    programId,
    affiliateId,
  });
  const total = payouts.reduce((sum, { amountMinor }) => sum + amountMinor, 0n);
  return {
    program_id: formatId('program', programId),
    provider: provider.name,
    as_of: formatTime(now),
    preview: `${now.getTime()}.${hash}`,
    payouts: payouts.length,
    total: formatMoney(total, currency),
    needs_approval: program.payoutsNeedApproval,
    would_pay: payouts.slice(0, MAX_PREVIEW_ROWS).map((payout) => ({
      affiliate_id: formatId('affiliate', payout.affiliateId),
      amount: formatMoney(payout.amountMinor, payout.currency),
      destination: formatDestination(payout),
    })),
    ...formatLeftOut(leftOut),
  };
}

/** Its moment in milliseconds, and its hash. */
const NAME = /^(\d{13})\.([0-9a-f]{64})$/;

/** The name of a preview, in the body of a run. */
export const previewText = z
  .string()
  .regex(NAME, 'must be the preview of GET /v1/payouts/preview')
  .meta({
    examples: [`1764374400000.${'0123456789abcdef'.repeat(4)}`],
    description:
      'The `preview` of GET /v1/payouts/preview. When a run would not pay exactly that any more, nothing is paid: 409 `preview_changed`.',
  });

/**
 * The preview that a run is confirmed with. Its moment is not in the future, where holds would have ended.
 * @throws InputError `preview`; Problem `preview_changed` when it is too old.
 */
export function parsePreview(
  name: string,
  run: Pick<ConfirmedPreview, 'programId' | 'affiliateId'>,
): ConfirmedPreview {
  const [, time, hash] = NAME.exec(name) ?? [];
  const ageMs = Date.now() - Number(time);
  if (hash === undefined || ageMs < 0) {
    throw new InputError('preview', 'must be the preview of GET /v1/payouts/preview');
  }
  if (ageMs > MAX_PREVIEW_AGE_MS) {
    throw new Problem('preview_changed', { detail: 'the preview is older than an hour: look at a new one' });
  }
  return { ...run, asOf: new Date(Number(time)), hash };
}
