import { z } from 'zod';
import {
  type ClosedPayout,
  cancelPayout,
  failPayout,
  getPayout,
  listPayouts,
  PAYOUT_STATES,
  returnPayout,
  settlePayout,
} from '../../../ledger/payouts/payouts.ts';
import { inTransaction, type LedgerTransaction } from '../../../ledger/postgres/db.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import {
  affiliateFilter,
  inProgram,
  owned,
  type Principal,
  principalOf,
  programFilter,
} from '../../http/principal.ts';
import { notFound, Problem } from '../../http/problems.ts';
import { bigintId, integerId } from '../../schemas/ids.ts';
import { bigintPageQuery, formatPage, pageOf, pageRequest, text } from '../../schemas/schemas.ts';
import { formatPayout, payoutView } from '../payout-view.ts';

const MAX_FAILURE_CHARS = 500;
const WHAT = 'payout with this id';

const params = z.object({ id: bigintId('payout') });

export function addPayoutRoutes(app: ApiServer, context: ApiContext): void {
  addPayoutQueries(app, context);
  addPayoutCommands(app, context);
}

function addPayoutQueries(app: ApiServer, { ledger }: ApiContext): void {
  const tags = ['money'];

  app.route({
    method: 'GET',
    url: '/v1/payouts',
    config: { roles: ['operator', 'finance', 'affiliate'] },
    schema: {
      operationId: 'listPayouts',
      tags,
      summary: 'Payouts, the newest first',
      querystring: z.object({
        ...bigintPageQuery('payout'),
        program_id: integerId('program').optional(),
        affiliate_id: integerId('affiliate').optional(),
        state: z.enum(PAYOUT_STATES).optional(),
      }),
      response: { 200: pageOf(payoutView) },
    },
    handler: async (request) => {
      const principal = principalOf(request);
      const { program_id, affiliate_id, state } = request.query;
      const page = await listPayouts(ledger, {
        ...pageRequest(request.query),
        programId: programFilter(principal, program_id),
        affiliateId: affiliateFilter(principal, affiliate_id),
        state,
      });
      return formatPage('payout', page, formatPayout);
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/payouts/:id',
    config: { roles: ['operator', 'finance', 'affiliate'], problems: ['not_found'] },
    schema: { operationId: 'getPayout', tags, summary: 'One payout', params, response: { 200: payoutView } },
    handler: async (request) =>
      formatPayout(owned(principalOf(request), await getPayout(ledger, request.params.id), WHAT)),
  });
}

function addPayoutCommands(app: ApiServer, { ledger }: ApiContext): void {
  const tags = ['money'];
  const config = { roles: ['operator', 'finance'], problems: ['not_found', 'wrong_state'] } as const;

  async function close(
    principal: Principal,
    id: bigint,
    work: (tx: LedgerTransaction) => Promise<ClosedPayout>,
  ): Promise<z.output<typeof payoutView>> {
    return await inTransaction(ledger, async (tx) => {
      inProgram(principal, await getPayout(tx, id), WHAT);
      const closed = await work(tx);
      if (closed.outcome === 'done') return formatPayout(closed.payout);
      if (closed.outcome === 'not_found') throw notFound(WHAT);
      throw new Problem('wrong_state', {
        detail: `the payout is ${closed.state}`,
        members: { state: closed.state },
      });
    });
  }

  for (const { word, summary, end } of ENDINGS) {
    app.route({
      method: 'POST',
      url: `/v1/payouts/:id/${word}`,
      config,
      schema: { operationId: `${word}Payout`, tags, summary, params, response: { 200: payoutView } },
      handler: async (request) => {
        const { id } = request.params;
        const principal = principalOf(request);
        return await close(principal, id, (tx) =>
          end(tx, { payoutId: id, now: new Date(), actor: principal.actor }),
        );
      },
    });
  }

  for (const { word, summary, end } of FAILINGS) {
    app.route({
      method: 'POST',
      url: `/v1/payouts/:id/${word}`,
      config,
      schema: {
        operationId: `${word}Payout`,
        tags,
        summary,
        params,
        body: z.strictObject({
          failure: text(MAX_FAILURE_CHARS).meta({ description: 'Why; the affiliate sees it.' }),
        }),
        response: { 200: payoutView },
      },
      handler: async (request) => {
        const { id } = request.params;
        const { failure } = request.body;
        const principal = principalOf(request);
        return await close(principal, id, (tx) =>
          end(tx, { payoutId: id, now: new Date(), actor: principal.actor, failure }),
        );
      },
    });
  }
}

const ENDINGS = [
  { word: 'settle', summary: 'The money has arrived', end: settlePayout },
  {
    word: 'cancel',
    summary: 'Nobody was told to pay it yet: its commissions are available again',
    end: cancelPayout,
  },
] as const;

const FAILINGS = [
  { word: 'fail', summary: 'The money has not left: its commissions are available again', end: failPayout },
  { word: 'return', summary: 'The money came back: its commissions are available again', end: returnPayout },
] as const;
