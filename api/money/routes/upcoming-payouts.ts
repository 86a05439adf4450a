import { z } from 'zod';
import { DAY_MS, HOUR_MS } from '../../../core/time.ts';
import { affiliateBalance } from '../../../ledger/audit/counts.ts';
import { readHeldMinor, readPayoutRule, readVestings } from '../../../ledger/books/upcoming.ts';
import { getAffiliate } from '../../../ledger/programs/affiliates.ts';
import { PAYOUT_SCHEDULES } from '../../../ledger/programs/terms.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf } from '../../http/principal.ts';
import { notFound } from '../../http/problems.ts';
import { visibleAffiliate } from '../../programs/affiliate-view.ts';
import { formatId, idText, integerId } from '../../schemas/ids.ts';
import { formatMoney, formatOptionalTime, moneyText, timeText } from '../../schemas/schemas.ts';

const upcomingView = z
  .object({
    affiliate_id: idText('affiliate'),
    next_run_at: timeText.nullable().meta({
      description:
        'The next payout run that its schedule allows a payout in; null: payouts are started by hand, or no terms are in force.',
    }),
    schedule: z.enum(PAYOUT_SCHEDULES).nullable(),
    minimum: moneyText.nullable().meta({ description: 'Below it no payout is made.' }),
    payable: moneyText.meta({
      description: 'Available, with adjustments and less debt: what a run would pay now.',
    }),
    becomes_available: z
      .array(z.object({ day: z.string().meta({ examples: ['2026-11-24'] }), amount: moneyText }))
      .meta({
        description: 'Pending money by the day (UTC) on which its hold ends, if nothing is refunded.',
      }),
    held: moneyText.meta({
      description:
        'Pending money without such a day: a review holds it, or the shop has not approved the order.',
    }),
  })
  .meta({ id: 'UpcomingPayout' });

/** When an affiliate is paid next, and what is still to come. */
export function addUpcomingPayoutRoutes(app: ApiServer, { ledger, payoutHour }: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/affiliates/:id/upcoming-payout',
    config: { roles: ['operator', 'finance', 'affiliate'], problems: ['not_found'] },
    schema: {
      operationId: 'getUpcomingPayout',
      tags: ['money'],
      summary:
        'When an affiliate is paid next, from which amount on, and when its pending money becomes available',
      params: z.object({ id: integerId('affiliate') }),
      response: { 200: upcomingView },
    },
    handler: async (request) => {
      const { id, programId } = visibleAffiliate(
        principalOf(request),
        await getAffiliate(ledger, request.params.id),
      );
      const now = new Date();
      const balance = await affiliateBalance(ledger, id);
      if (!balance) throw notFound('affiliate with this id');
      const rule = await readPayoutRule(ledger, { programId, affiliateId: id, now });
      const vestings = await readVestings(ledger, { affiliateId: id });
      const heldMinor = await readHeldMinor(ledger, { affiliateId: id });
      const money = (amountMinor: bigint) => formatMoney(amountMinor, balance.currency);
      return {
        affiliate_id: formatId('affiliate', id),
        next_run_at: formatOptionalTime(
          rule && payoutHour !== null ? nextRun(rule.notBefore ?? now, { now, payoutHour }) : null,
        ),
        schedule: rule?.schedule ?? null,
        minimum: rule ? money(rule.minimumMinor) : null,
        payable: money(balance.availableMinor + balance.debtMinor + balance.adjustmentsMinor),
        becomes_available: vestings.map(({ day, amountMinor }) => ({ day, amount: money(amountMinor) })),
        held: money(heldMinor),
      };
    },
  });
}

/** The run of a day begins at its `payoutHour` (UTC); that of today is over once it has begun. */
export function nextRun(notBefore: Date, { now, payoutHour }: { now: Date; payoutHour: number }): Date {
  const start = Math.floor(notBefore.getTime() / DAY_MS) * DAY_MS + payoutHour * HOUR_MS;
  return new Date(start > now.getTime() ? start : start + DAY_MS);
}
