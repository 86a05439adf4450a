import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { MAX_FAILURE_LENGTH } from '../../../core/text-limits.ts';
import { refuseDestination } from '../../../ledger/payouts/methods.ts';
import {
  type ClosedPayout,
  cancelPayout,
  failPayout,
  getPayout,
  listPayouts,
  markPayoutPaid,
  PAYOUT_LIST,
  PAYOUT_STATES,
  returnPayout,
} from '../../../ledger/payouts/payouts.ts';
import type { DatabaseTransaction } from '../../../ledger/postgres/db.ts';
import { requireRecentSignIn } from '../../auth/recent-sign-in.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { addList, timeRange } from '../../http/lists.ts';
import { affiliateFilter, inProgram, owned, principalOf, programFilter } from '../../http/principal.ts';
import { notFound, wrongState } from '../../http/problems.ts';
import { bigintId, integerId } from '../../schemas/ids.ts';
import { text } from '../../schemas/schemas.ts';
import { formatPayout, payoutView } from '../payout-view.ts';

const WHAT = 'payout with this id';

const params = z.object({ id: bigintId('payout') });

export function addPayoutRoutes(app: ApiServer, context: ApiContext): void {
  addPayoutQueries(app, context);
  addPayoutCommands(app, context);
}

function addPayoutQueries(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;
  const tags = ['money'];

  addList(app, context, {
    url: '/v1/payouts',
    operationId: 'listPayouts',
    tags,
    summary: 'Payouts, the newest first',
    config: { roles: ['operator', 'finance', 'affiliate'] },
    kind: 'payout',
    list: PAYOUT_LIST,
    filters: {
      program_id: integerId('program').optional(),
      affiliate_id: integerId('affiliate').optional(),
      state: z.enum(PAYOUT_STATES).optional(),
      ...timeRange,
    },
    view: payoutView,
    read: async (page, { sql, principal, query: { program_id, affiliate_id, ...filters } }) =>
      await listPayouts(sql, {
        ...page,
        ...filters,
        programId: programFilter(principal, program_id),
        affiliateId: affiliateFilter(principal, affiliate_id),
      }),
    format: (payouts, principal) => payouts.map((payout) => formatPayout(payout, principal)),
  });

  app.route({
    method: 'GET',
    url: '/v1/payouts/:id',
    config: { roles: ['operator', 'finance', 'affiliate'], problems: ['not_found'] },
    schema: { operationId: 'getPayout', tags, summary: 'One payout', params, response: { 200: payoutView } },
    handler: async (request) => {
      const principal = principalOf(request);
      return formatPayout(owned(principal, await getPayout(ledger, request.params.id), WHAT), principal);
    },
  });
}

function addPayoutCommands(app: ApiServer, context: ApiContext): void {
  const tags = ['money'];
  const config = {
    roles: ['operator', 'finance'],
    idempotent: true,
    problems: ['not_found', 'wrong_state'],
  } as const;

  for (const { verb, operationId, summary, end } of ENDINGS) {
    app.route({
      method: 'POST',
      url: `/v1/payouts/:id/${verb}`,
      config,
      schema: { operationId, tags, summary, params, response: { 200: payoutView } },
      handler: async (request, reply) => await close(context, request, reply, request.params.id, end),
    });
  }

  for (const { verb, operationId, summary, end } of FAILINGS) {
    app.route({
      method: 'POST',
      url: `/v1/payouts/:id/${verb}`,
      config: { ...config, problems: [...config.problems, 'reauthentication_required'] },
      schema: {
        operationId,
        tags,
        summary,
        params,
        body: z.strictObject({
          failure: text(MAX_FAILURE_LENGTH).meta({ description: 'Why; the affiliate sees it.' }),
          account_refused: z.boolean().default(true).meta({
            description:
              'Whether the account was the reason: nothing is paid to it then until it changes, or an operator allows it again.',
          }),
        }),
        response: { 200: payoutView },
      },
      handler: async (request, reply) => {
        // The next run pays again what is said not to have arrived.
        requireRecentSignIn(request);
        const { failure, account_refused: accountRefused } = request.body;
        return await close(context, request, reply, request.params.id, async (tx, closing) => {
          const closed = await end(tx, { ...closing, failure });
          if (closed.outcome === 'done' && accountRefused) {
            await refuseDestination(tx, { ...closing, secretBox: context.secretBox });
          }
          return closed;
        });
      },
    });
  }
}

async function close(
  context: ApiContext,
  request: FastifyRequest,
  reply: FastifyReply,
  payoutId: bigint,
  end: (
    tx: DatabaseTransaction,
    closing: { payoutId: bigint; now: Date; actor: string },
  ) => Promise<ClosedPayout>,
): Promise<z.output<typeof payoutView>> {
  const principal = principalOf(request);
  return await commit(context, request, reply, async (tx) => {
    inProgram(principal, await getPayout(tx, payoutId), WHAT);
    const closed = await end(tx, { payoutId, now: new Date(), actor: principal.actor });
    if (closed.outcome === 'not_found') throw notFound(WHAT);
    if (closed.outcome === 'wrong_state') throw wrongState('payout', closed.state);
    return { body: formatPayout(closed.payout, principal) };
  });
}

const ENDINGS = [
  {
    verb: 'mark-paid',
    operationId: 'markPayoutPaid',
    summary: 'Record that the money has arrived',
    end: markPayoutPaid,
  },
  {
    verb: 'cancel',
    operationId: 'cancelPayout',
    summary: 'Cancel a payout that was not submitted: its commissions are available again',
    end: cancelPayout,
  },
] as const;

const FAILINGS = [
  {
    verb: 'fail',
    operationId: 'failPayout',
    summary: 'Record that the money has not left: its commissions are available again',
    end: failPayout,
  },
  {
    verb: 'return',
    operationId: 'returnPayout',
    summary: 'Record that the money came back: its commissions are available again',
    end: returnPayout,
  },
] as const;
