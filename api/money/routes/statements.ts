import { Readable } from 'node:stream';
import { z } from 'zod';
import { balanceAt, listStatement, type StatementAmounts } from '../../../ledger/books/statements.ts';
import {
  getPayout,
  type ListedPayoutItem,
  listPayoutItems,
  PAYOUT_ITEM_KINDS,
} from '../../../ledger/payouts/payouts.ts';
import type { Database } from '../../../ledger/postgres/db.ts';
import { getAffiliate } from '../../../ledger/programs/affiliates.ts';
import { getProgram } from '../../../ledger/programs/programs.ts';
import { readSignedCounts } from '../../../warehouse/audit/signed-counts.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { owned, type Principal, principalOf } from '../../http/principal.ts';
import { notFound } from '../../http/problems.ts';
import { acceptedFormat } from '../../http/wire/encodings.ts';
import { visibleAffiliate } from '../../programs/affiliate-view.ts';
import { bigintId, formatId, formatOptionalId, idText, integerId } from '../../schemas/ids.ts';
import {
  bigintPageQuery,
  formatMoney,
  formatPage,
  formatTime,
  moneyText,
  pageOf,
  pageRequest,
  time,
  timeText,
} from '../../schemas/schemas.ts';
import { statementCsv } from '../statement-csv.ts';

const amounts = {
  pending: moneyText,
  available: moneyText,
  in_transit: moneyText,
  paid: moneyText,
  debt: moneyText.meta({ description: 'Zero or negative.' }),
  adjustments: moneyText.meta({ description: 'Bonuses less deductions.' }),
};

const lineView = z
  .object({
    id: idText('journal'),
    at: timeText,
    kind: z.string().meta({
      description: 'earning, vesting, rejection, refund, bonus, deduction, payout_build, payout_paid, …',
    }),
    conversion_id: idText('conversion').nullable(),
    order_id: z.string().nullable().meta({ description: 'Of the shop; null for orders of recruits.' }),
    payout_id: idText('payout').nullable(),
    destination: z.string().nullable().meta({ description: 'Where the payout goes, by a hint.' }),
    note: z.string().nullable().meta({ description: 'Of a bonus, a deduction and the like: why.' }),
    ...amounts,
  })
  .meta({ id: 'StatementLine', description: 'A movement: what it added to each place, or took from it.' });

const statementView = pageOf(lineView)
  .extend({
    from: timeText,
    to: timeText,
    opening: z.object(amounts).meta({ description: 'What there was before the range.' }),
    closing: z
      .object(amounts)
      .meta({ description: 'What there was at its end: the opening and every line of every page.' }),
  })
  .meta({ id: 'Statement' });

const itemView = z
  .object({
    kind: z.enum(PAYOUT_ITEM_KINDS),
    commission_id: idText('commission').nullable(),
    conversion_id: idText('conversion').nullable(),
    order_id: z.string().nullable().meta({
      description: 'Of the shop; for affiliates null of orders of recruits.',
    }),
    amount: moneyText.meta({
      description:
        'Negative for debt that is netted, and for a rest below the provider’s smallest unit, which stays available.',
    }),
  })
  .meta({ id: 'PayoutItem' });

const countView = z
  .object({
    day: z.string().meta({ description: 'Of UTC.', examples: ['2026-11-22'] }),
    clicks: z.string(),
    valid_clicks: z.string(),
    signed_at: timeText,
    statement: z.string().meta({ description: 'What is signed, byte by byte.' }),
    signature: z
      .string()
      .meta({ description: 'Ed25519, base64; the public key is count-key.pub.pem of the operator.' }),
  })
  .meta({ id: 'DailyCount' });

const statementQuery = z
  .object({
    ...bigintPageQuery('journal'),
    month: z
      .string()
      .regex(/^20\d\d-(0[1-9]|1[0-2])$/, 'must be a month such as 2026-11')
      .optional()
      .meta({
        description: 'Of UTC, instead of from and to; default: the present one.',
        examples: ['2026-11'],
      }),
    from: time.optional(),
    to: time.optional(),
    format: z.enum(['json', 'csv']).optional(),
  })
  .refine(({ from, to }) => (from === undefined) === (to === undefined), {
    path: ['to'],
    message: 'goes together with from',
  })
  .refine(({ month, from }) => month === undefined || from === undefined, {
    path: ['month'],
    message: 'stands instead of from and to',
  });

function rangeOf({ month, from, to }: z.output<typeof statementQuery>): { from: Date; to: Date } {
  if (from && to) return { from, to };
  const first = new Date(`${month ?? new Date().toISOString().slice(0, 7)}-01T00:00:00Z`);
  return { from: first, to: new Date(Date.UTC(first.getUTCFullYear(), first.getUTCMonth() + 1)) };
}

const MEDIA_TYPES = { json: 'application/json', csv: 'text/csv' } as const;

/** What an affiliate can check: every movement of its money, what a payout pays, and signed counts of its clicks. */
export function addStatementRoutes(app: ApiServer, { ledger, warehouse }: ApiContext): void {
  const tags = ['money'];
  const roles = ['operator', 'finance', 'affiliate'] as const;
  const params = z.object({ id: integerId('affiliate') });

  app.route({
    method: 'GET',
    url: '/v1/affiliates/:id/statement',
    config: { roles, problems: ['not_found'] },
    schema: {
      operationId: 'getStatement',
      tags,
      summary:
        'Every movement of an affiliate’s money in a month or a range, with what there was before and after',
      description:
        'As CSV (format=csv, or Accept: text/csv) it is whole, with the opening and the closing as rows.',
      params,
      querystring: statementQuery,
      response: {
        200: {
          description: 'The statement.',
          content: { 'application/json': { schema: statementView }, 'text/csv': { schema: z.string() } },
        },
      },
    },
    handler: async (request, reply) => {
      const affiliate = visibleAffiliate(principalOf(request), await getAffiliate(ledger, request.params.id));
      const program = await getProgram(ledger, affiliate.programId);
      if (!program) throw notFound('affiliate with this id');
      const { from, to } = rangeOf(request.query);
      const affiliateId = affiliate.id;
      const { currency } = program;
      if ((request.query.format ?? acceptedFormat(request, MEDIA_TYPES)) === 'csv') {
        const name = `statement-${formatId('affiliate', affiliateId)}-${formatTime(from).slice(0, 10)}.csv`;
        reply.type('text/csv; charset=utf-8').header('content-disposition', `attachment; filename="${name}"`);
        return reply.send(Readable.from(statementCsv(ledger, { affiliateId, currency, from, to })) as never);
      }
      return await statementPage(ledger, { affiliateId, currency, from, to }, request.query);
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/payouts/:id/items',
    config: { roles, problems: ['not_found'] },
    schema: {
      operationId: 'listPayoutItems',
      tags,
      summary: 'What a payout pays, commission by commission',
      params: z.object({ id: bigintId('payout') }),
      response: { 200: z.object({ data: z.array(itemView) }) },
    },
    handler: async (request) => {
      const principal = principalOf(request);
      const payout = owned(principal, await getPayout(ledger, request.params.id), 'payout with this id');
      const items = await listPayoutItems(ledger, payout.id);
      return { data: items.map((item) => formatItem(item, payout.currency, principal)) };
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/affiliates/:id/daily-counts',
    config: { roles: ['operator', 'affiliate'], problems: ['not_found'] },
    schema: {
      operationId: 'listDailyCounts',
      tags: ['reports'],
      summary: 'Signed counts of an affiliate’s clicks for each complete day, the newest first',
      params,
      querystring: z.object({ from: time, to: time }),
      response: { 200: z.object({ data: z.array(countView) }) },
    },
    handler: async (request) => {
      const { id: affiliateId } = visibleAffiliate(
        principalOf(request),
        await getAffiliate(ledger, request.params.id),
      );
      const counts = await readSignedCounts(warehouse, { affiliateId, ...request.query });
      return {
        data: counts.map(({ day, clicks, valid, signedAt, signature, statement }) => ({
          day,
          clicks,
          valid_clicks: valid,
          signed_at: formatTime(signedAt),
          statement,
          signature,
        })),
      };
    },
  });
}

async function statementPage(
  ledger: Database,
  statement: { affiliateId: number; currency: string; from: Date; to: Date },
  query: z.output<typeof statementQuery>,
): Promise<z.output<typeof statementView>> {
  const { affiliateId, currency, from, to } = statement;
  const format = (sums: StatementAmounts) => formatAmounts(sums, currency);
  const page = await listStatement(ledger, { ...pageRequest(query), affiliateId, from, to });
  return {
    ...formatPage('journal', page, (line) => ({
      id: formatId('journal', line.id),
      at: formatTime(line.at),
      kind: line.kind,
      conversion_id: formatOptionalId('conversion', line.conversionId),
      order_id: line.orderId,
      payout_id: formatOptionalId('payout', line.payoutId),
      destination: line.destinationHint,
      note: line.note,
      ...format(line),
    })),
    from: formatTime(from),
    to: formatTime(to),
    opening: format(await balanceAt(ledger, { affiliateId, at: from })),
    closing: format(await balanceAt(ledger, { affiliateId, at: to })),
  };
}

function formatAmounts(sums: StatementAmounts, currency: string) {
  const money = (amountMinor: bigint) => formatMoney(amountMinor, currency);
  return {
    pending: money(sums.pendingMinor),
    available: money(sums.availableMinor),
    in_transit: money(sums.inTransitMinor),
    paid: money(sums.paidMinor),
    debt: money(sums.debtMinor),
    adjustments: money(sums.adjustmentsMinor),
  };
}

function formatItem(
  item: ListedPayoutItem,
  currency: string,
  { role }: Principal,
): z.output<typeof itemView> {
  const isOfRecruit = role === 'affiliate' && item.level !== 1;
  return {
    kind: item.kind,
    commission_id: formatOptionalId('commission', item.commissionId),
    conversion_id: formatOptionalId('conversion', item.conversionId),
    order_id: isOfRecruit ? null : item.orderId,
    amount: formatMoney(item.amountMinor, currency),
  };
}
