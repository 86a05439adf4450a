import { z } from 'zod';
import { canonicalTimeZone, DAY_MS } from '../../../core/time.ts';
import { earningsByDay } from '../../../ledger/books/earnings.ts';
import { getAffiliate } from '../../../ledger/programs/affiliates.ts';
import { getProgram } from '../../../ledger/programs/programs.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf } from '../../http/principal.ts';
import { invalidField, notFound } from '../../http/problems.ts';
import { visibleAffiliate } from '../../programs/affiliate-view.ts';
import { integerId } from '../../schemas/ids.ts';
import { formatMoney, formatTime, moneyText, time, timeText } from '../../schemas/schemas.ts';

/** A year by day, and the leap day. */
const MAX_RANGE_DAYS = 367;

const earningsView = z
  .object({
    from: timeText,
    to: timeText,
    total: moneyText,
    before: moneyText.meta({ description: 'In the period of the same length before.' }),
    days: z.array(
      z.object({
        day: z.string().meta({ description: 'In the requested time zone.', examples: ['2026-11-22'] }),
        conversions_attributed: z
          .int()
          .meta({ description: 'Credited conversions of which it earned, at whatever level.' }),
        earned: moneyText,
        from_recruits: moneyText,
      }),
    ),
  })
  .meta({
    id: 'Earnings',
    description:
      'By the time of the orders, less what was taken back; without what a review or the shop’s approval holds.',
  });

/** What an affiliate earned, day by day. */
export function addEarningsRoutes(app: ApiServer, { ledger }: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/affiliates/:id/earnings',
    config: { roles: ['operator', 'finance', 'affiliate'], problems: ['not_found'] },
    schema: {
      operationId: 'getEarnings',
      tags: ['money'],
      summary: 'What an affiliate earned by day of the orders, and in the period before',
      params: z.object({ id: integerId('affiliate') }),
      querystring: z
        .object({
          from: time,
          to: time,
          time_zone: z
            .string()
            .max(64)
            .default('UTC')
            .meta({ examples: ['Europe/Berlin'] }),
        })
        .refine(({ from, to }) => from.getTime() < to.getTime(), {
          path: ['from'],
          message: 'must be before to',
        })
        .refine(({ from, to }) => to.getTime() - from.getTime() <= MAX_RANGE_DAYS * DAY_MS, {
          path: ['to'],
          message: `must be within ${MAX_RANGE_DAYS} days of from`,
        }),
      response: { 200: earningsView },
    },
    handler: async (request) => {
      const affiliate = visibleAffiliate(principalOf(request), await getAffiliate(ledger, request.params.id));
      const program = await getProgram(ledger, affiliate.programId);
      if (!program) throw notFound('affiliate with this id');
      const { from, to, time_zone } = request.query;
      const timeZone = canonicalTimeZone(time_zone);
      if (timeZone === undefined) throw invalidField('time_zone', 'must be an IANA time zone');
      const read = (range: { from: Date; to: Date }) =>
        earningsByDay(ledger, { affiliateId: affiliate.id, timeZone, ...range });
      const earlier = new Date(2 * from.getTime() - to.getTime());
      const [days, daysBefore] = [await read({ from, to }), await read({ from: earlier, to: from })];
      const money = (minor: bigint) => formatMoney(minor, program.currency);
      const sum = (list: typeof days) => money(list.reduce((total, day) => total + day.earnedMinor, 0n));
      return {
        from: formatTime(from),
        to: formatTime(to),
        total: sum(days),
        before: sum(daysBefore),
        days: days.map(({ day, credited, earnedMinor, fromRecruitsMinor }) => ({
          day,
          conversions_attributed: credited,
          earned: money(earnedMinor),
          from_recruits: money(fromRecruitsMinor),
        })),
      };
    },
  });
}
