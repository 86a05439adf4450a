import { z } from 'zod';
import { inTransaction, type LedgerTransaction } from '../../ledger/db.ts';
import { runPayouts } from '../../ledger/payout-run.ts';
import {
  type ClosedPayout,
  failPayout,
  getPayout,
  listPayouts,
  PAYOUT_STATES,
  settlePayout,
} from '../../ledger/payouts.ts';
import type { ApiContext, ApiServer } from '../context.ts';
import { bigintId, integerId } from '../ids.ts';
import { formatPayout, payoutView } from '../payout-view.ts';
import {
  affiliateFilter,
  inProgram,
  owned,
  type Principal,
  principalOf,
  programFilter,
} from '../principal.ts';
import { notFound, Problem } from '../problems.ts';
import { bigintPageQuery, formatPage, pageOf, pageRequest, text } from '../schemas.ts';

const MAX_FAILURE_CHARS = 500;
const WHAT = 'payout with this id';

const runView = z
  .object({
    vested: z.number(),
    built: z.number(),
    submitted: z.number(),
    failed: z.number(),
    unknown: z.number(),
    payouts: z.array(payoutView),
  })
  .meta({ id: 'PayoutRun' });

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

function addPayoutCommands(app: ApiServer, { ledger, payoutProvider, vault }: ApiContext): void {
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

  app.route({
    method: 'POST',
    url: '/v1/payouts/run',
    config: { roles: ['operator', 'finance'] },
    schema: {
      operationId: 'runPayouts',
      tags,
      summary:
        'Vest what is due, build the payouts that are due, and hand them to the provider; safe to repeat',
      body: z.strictObject({ program_id: integerId('program').optional() }).nullish(),
      response: { 200: runView },
    },
    handler: async (request) => {
      const programId = programFilter(principalOf(request), request.body?.program_id);
      const run = await runPayouts(ledger, { now: new Date(), provider: payoutProvider, vault, programId });
      return { ...run, payouts: run.payouts.map(formatPayout) };
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/payouts/:id/settle',
    config,
    schema: {
      operationId: 'settlePayout',
      tags,
      summary: 'The money has arrived',
      params,
      response: { 200: payoutView },
    },
    handler: async (request) => {
      const { id } = request.params;
      const principal = principalOf(request);
      return await close(principal, id, (tx) =>
        settlePayout(tx, { payoutId: id, now: new Date(), actor: principal.actor }),
      );
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/payouts/:id/fail',
    config,
    schema: {
      operationId: 'failPayout',
      tags,
      summary: 'The money has not left: its commissions are available again',
      params,
      body: z.strictObject({ failure: text(MAX_FAILURE_CHARS) }),
      response: { 200: payoutView },
    },
    handler: async (request) => {
      const { id } = request.params;
      const { failure } = request.body;
      const principal = principalOf(request);
      return await close(principal, id, (tx) =>
        failPayout(tx, { payoutId: id, now: new Date(), actor: principal.actor, failure }),
      );
    },
  });
}
