import { z } from 'zod';
import { parseEvidence } from '../../../attribution/decide/evidence.ts';
import { explainBlockedClicks } from '../../../attribution/tools/blocking-entries.ts';
import { explainConversion, LOST } from '../../../attribution/tools/explain.ts';
import { ruleSentence } from '../../../attribution/tools/explain-rules.ts';
import { explainLaterCoupons } from '../../../attribution/tools/later-coupons.ts';
import { listCommissions } from '../../../ledger/books/commissions.ts';
import { readTimeline, TIMELINE_KINDS, type TimelineEvent } from '../../../ledger/books/timeline.ts';
import { getConversion } from '../../../ledger/conversions/conversions.ts';
import { MAX_PAGE_ROWS } from '../../../ledger/postgres/page.ts';
import { getTerms } from '../../../ledger/programs/terms.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { inProgram, principalOf } from '../../http/principal.ts';
import { bigintId, formatId, formatOptionalId, idText } from '../../schemas/ids.ts';
import { formatMoney, formatTime, moneyText, timeText } from '../../schemas/schemas.ts';

const eventView = z.object({
  at: timeText,
  kind: z.enum(TIMELINE_KINDS),
  text: z.string(),
  amount: moneyText.nullable(),
  affiliate_id: idText('affiliate').nullable().meta({ description: 'Of a click.' }),
  payout_id: idText('payout').nullable(),
  seconds: z.number().nullable().meta({ description: 'Since the event before it; null for the first.' }),
});

const ruleView = z.object({
  rule: z.string(),
  effect: z
    .enum(['rejected', 'review', 'none'])
    .meta({ description: 'When it fires; none: it only watches.' }),
  fired: z.boolean(),
  observed: z.union([z.string(), z.number()]).nullable(),
  threshold: z.union([z.string(), z.number()]),
  window_seconds: z.number().nullable(),
  sentence: z
    .string()
    .nullable()
    .meta({ description: 'The figures behind what was observed; null where there are no others.' }),
});

const explanationView = z
  .object({
    conversion_id: idText('conversion'),
    lines: z.array(z.string()).meta({ description: 'The decision in sentences.' }),
    rules: z.array(ruleView).meta({ description: 'What each fraud rule saw, and what it allows.' }),
    timeline: z
      .array(eventView)
      .meta({ description: 'From the clicks to the payout, the first thing first.' }),
  })
  .meta({ id: 'Explanation' });

type EventView = z.output<typeof eventView>;

/** What an event of the books was, in words. */
function sentenceOf({ kind, note, actor, payoutId }: TimelineEvent): string {
  const payout = payoutId === null ? 'a payout' : `payout ${formatId('payout', payoutId)}`;
  switch (kind) {
    case 'click':
      return 'A visitor clicked.';
    case 'order':
      return `The customer ordered (order ${note}).`;
    case 'received':
      return `The order was reported (${note}).`;
    case 'decided':
      return 'The order was decided.';
    case 'reviewed':
      return `${actor}: ${note}.`;
    case 'earned':
      return 'Commissions were posted.';
    case 'available':
      return 'The hold ended: commissions are available.';
    case 'approved_by_shop':
      return 'The shop approved the order.';
    case 'changed':
      return `The order was ${note}.`;
    case 'cancelled':
      return `The order was ${note}: it earns nothing.`;
    case 'restored':
      return note === 'restored' ? 'The order was restored.' : `The ${note} was taken back.`;
    case 'refunded':
      return `The shop gave money back (${note}).`;
    case 'rejected':
      return 'The commissions were taken back.';
    case 'payout_created':
      return `Put into ${payout}.`;
    case 'payout_submitted':
      return `Handed to ${note} with ${payout}.`;
    case 'payout_ended':
      return `${payout[0]?.toUpperCase()}${payout.slice(1)} is ${note}.`;
  }
}

/** Why a conversion was decided as it was. */
export function addExplanationRoute(app: ApiServer, { ledger }: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/conversions/:id/explanation',
    config: { roles: ['operator', 'fraud'], problems: ['not_found'] },
    schema: {
      operationId: 'explainConversion',
      tags: ['fraud'],
      summary: 'Why a conversion was decided as it was: sentences, rules, and what happened when',
      params: z.object({ id: bigintId('conversion') }),
      response: { 200: explanationView },
    },
    handler: async (request) => {
      const found = await getConversion(ledger, request.params.id);
      const conversion = inProgram(principalOf(request), found, 'conversion with this id');
      const { id, currency } = conversion;
      const page = await listCommissions(ledger, { limit: MAX_PAGE_ROWS, conversionId: id });
      const [terms] = conversion.termsId === null ? [] : await getTerms(ledger, [conversion.termsId]);
      const evidence = parseEvidence(conversion.evidence);
      const clicks = (evidence?.candidates ?? []).map(({ at, affiliateId, linkId, lost }) => ({
        at: new Date(at),
        kind: 'click' as const,
        text: `Click${linkId === null ? '' : ` on link ${formatId('link', linkId)}`}: ${lost === null ? 'it won' : LOST[lost]}.`,
        amount: null,
        affiliate_id: formatId('affiliate', affiliateId),
        payout_id: null,
      }));
      const events = (await readTimeline(ledger, id)).map((event) => ({
        at: event.at,
        kind: event.kind,
        text: sentenceOf(event),
        amount: event.amountMinor === null ? null : formatMoney(event.amountMinor, currency),
        affiliate_id: null,
        payout_id: formatOptionalId('payout', event.payoutId),
      }));
      const rules = evidence?.rules ?? [];
      return {
        conversion_id: formatId('conversion', id),
        lines: [
          ...explainConversion({ conversion, commissions: page.rows, terms }),
          ...(await explainBlockedClicks(ledger, conversion)),
          ...(await explainLaterCoupons(ledger, conversion)),
        ],
        rules: rules.map((result) => {
          const { windowSeconds, version: _, figures: __, ...rule } = result;
          return { ...rule, window_seconds: windowSeconds, sentence: ruleSentence(result) ?? null };
        }),
        timeline: inOrder([...clicks, ...events]),
      };
    },
  });
}

/** By time, each with the seconds since the one before; what happened at once stays as it is. */
function inOrder(
  events: readonly (Omit<EventView, 'at' | 'seconds'> & { readonly at: Date })[],
): EventView[] {
  const sorted = events.toSorted((a, b) => a.at.getTime() - b.at.getTime());
  return sorted.map((event, i) => {
    const before = sorted[i - 1];
    const seconds = before ? (event.at.getTime() - before.at.getTime()) / 1_000 : null;
    return { ...event, at: formatTime(event.at), seconds };
  });
}
