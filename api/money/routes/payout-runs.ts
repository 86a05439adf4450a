import { z } from 'zod';
import { MAX_FAILURE_LENGTH } from '../../../core/text-limits.ts';
import {
  approvePayoutRun,
  type DecidedRun,
  getPayoutRun,
  listPayoutRuns,
  PAYOUT_RUN_STATES,
  rejectPayoutRun,
} from '../../../ledger/payouts/approvals.ts';
import { runPayouts } from '../../../ledger/payouts/run.ts';
import { reconcilePayouts, submitPayouts } from '../../../ledger/payouts/submit.ts';
import { inTransaction } from '../../../ledger/postgres/db.ts';
import { requireRecentSignIn } from '../../auth/recent-sign-in.ts';
import { answerOnce, commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { inProgram, principalOf, programFilter, programRequired } from '../../http/principal.ts';
import { notFound, Problem, wrongState } from '../../http/problems.ts';
import { bigintId, formatId, idText, integerId } from '../../schemas/ids.ts';
import { bigintPageQuery, formatPage, pageOf, pageRequest, text } from '../../schemas/schemas.ts';
import { formatPayout, formatPayoutRun, payoutRunView, payoutView } from '../payout-view.ts';
import {
  formatLeftOut,
  leftOutFields,
  parsePreview,
  previewText,
  previewView,
  readPreview,
} from '../run-preview.ts';

const TAGS = ['money'];
const ROLES = ['operator', 'finance'] as const;
const WHAT = 'payout run with this id';

const reconciliationView = z.object({
  asked: z.int().meta({ description: 'Payouts that the provider was queried about.' }),
  resubmitted: z.int().meta({ description: 'Unknown to the provider: submitted again under their keys.' }),
  unknown: z.int().meta({ description: 'Outcome still unknown; a person has to decide.' }),
});

const stoppedText = z.string().nullable().meta({
  description:
    'Why the provider refuses to work for the operator (its key, permissions, or balance), in its words: the payouts that are not handed over wait for another run. Null: it does not refuse.',
});

const onlyAffiliate = integerId('affiliate').meta({
  description:
    'Pays this affiliate alone: also below its minimum, off its schedule, and after its termination.',
});

const resultView = z
  .object({
    vested: z.int(),
    built: z.int(),
    awaiting_approval: z.int().meta({ description: 'Of those built: they wait for a second person.' }),
    submitted: z.int(),
    failed: z.int(),
    unknown: z.int(),
    reconciled: reconciliationView.meta({ description: 'Payouts of earlier runs with an unknown outcome.' }),
    payouts: z.array(payoutView).meta({ description: 'Those that were handed over.' }),
    stopped: stoppedText,
    ...leftOutFields,
  })
  .meta({ id: 'PayoutRunResult' });

const decisionView = z
  .object({
    run: payoutRunView,
    left_out: z.array(idText('payout')).meta({
      description:
        'Canceled, because who approves had set where they go, given a bonus in them, merged affiliates, or credited, approved, raised or restored an order in them, or the first one that it continues: `failure` of the payout says which. The next run builds them again, for somebody else to approve.',
    }),
    payouts: z.array(payoutView).meta({ description: 'Those that were handed over.' }),
    stopped: stoppedText,
  })
  .meta({ id: 'PayoutRunDecision' });

const params = z.object({ id: bigintId('payoutRun') });

/** Paying: preview, run, the second person's approval, and reconciliation. */
export function addPayoutRunRoutes(app: ApiServer, context: ApiContext): void {
  addRunRoutes(app, context);
  addApprovalRoutes(app, context);
  addReconciliationRoute(app, context);
}

function addRunRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger, payoutProvider: provider, secretBox } = context;

  app.route({
    method: 'GET',
    url: '/v1/payouts/preview',
    config: { roles: ROLES },
    schema: {
      operationId: 'previewPayouts',
      tags: TAGS,
      summary: 'What a run would pay now, affiliate by affiliate, and why others would get nothing',
      querystring: z.object({
        program_id: integerId('program').optional(),
        affiliate_id: onlyAffiliate.optional(),
      }),
      response: { 200: previewView },
    },
    handler: async (request) => {
      const programId = programRequired(principalOf(request), request.query.program_id);
      return await readPreview(context, { programId, affiliateId: request.query.affiliate_id });
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/payouts/run',
    config: {
      roles: ROLES,
      idempotent: true,
      problems: ['preview_changed', 'reauthentication_required', 'payout_provider_refused'],
    },
    schema: {
      operationId: 'runPayouts',
      tags: TAGS,
      summary: 'Build the payouts of a preview, and hand them to the provider',
      description:
        'Where the program requires approval, the payouts wait for a second person instead. Payouts of earlier runs that were not handed over yet are handed over as well.',
      body: z.strictObject({
        program_id: integerId('program').optional(),
        affiliate_id: onlyAffiliate.optional(),
        preview: previewText,
      }),
      response: { 200: resultView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const programId = programRequired(principal, request.body.program_id);
      requireRecentSignIn(request);
      return await answerOnce(context, request, reply, async () => {
        const affiliateId = request.body.affiliate_id;
        const preview = parsePreview(request.body.preview, { programId, affiliateId });
        const { actor } = principal;
        const result = await runPayouts(ledger, { now: new Date(), provider, secretBox, actor, preview });
        const { awaitingApproval, payouts, leftOut, debtorsWrittenOff: _, ...counts } = result;
        return {
          body: {
            ...counts,
            awaiting_approval: awaitingApproval,
            payouts: payouts.map((payout) => formatPayout(payout, principal)),
            ...formatLeftOut(leftOut),
          },
        };
      });
    },
  });
}

function addApprovalRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger, payoutProvider: provider, secretBox } = context;
  const problems = ['not_found', 'wrong_state', 'reauthentication_required'] as const;

  app.route({
    method: 'GET',
    url: '/v1/payout-runs',
    config: { roles: ROLES },
    schema: {
      operationId: 'listPayoutRuns',
      tags: TAGS,
      summary: 'Runs with payouts, the newest first: who started them, and who approved or rejected them',
      querystring: z.object({
        ...bigintPageQuery('payoutRun'),
        program_id: integerId('program').optional(),
        state: z.enum(PAYOUT_RUN_STATES).optional(),
      }),
      response: { 200: pageOf(payoutRunView) },
    },
    handler: async (request) => {
      const programId = programFilter(principalOf(request), request.query.program_id);
      const { state } = request.query;
      const page = await listPayoutRuns(ledger, { ...pageRequest(request.query), programId, state });
      return formatPage('payoutRun', page, formatPayoutRun);
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/payout-runs/:id/approve',
    config: { roles: ROLES, idempotent: true, problems },
    schema: {
      operationId: 'approvePayoutRun',
      tags: TAGS,
      summary: 'Approve a run as the second person, and hand its payouts to the provider',
      description:
        'Only a signed-in user can, and not the one who started the run, or made the key that did. Payouts whose destination this user has set are left out.',
      params,
      response: { 200: decisionView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { userId } = principal;
      const runId = request.params.id;
      const { programId } = inProgram(principal, await getPayoutRun(ledger, runId), WHAT);
      if (userId === null) throw new Problem('forbidden', { detail: 'a person approves a run: sign in' });
      requireRecentSignIn(request);
      return await answerOnce(context, request, reply, async () => {
        const decided = await inTransaction(ledger, (tx) =>
          approvePayoutRun(tx, { runId, userId, now: new Date() }),
        );
        const leftOut = leftOutOf(decided);
        const submission = { now: new Date(), provider, secretBox, programId };
        const { payouts, stopped } = await submitPayouts(ledger, submission);
        const run = inProgram(principal, await getPayoutRun(ledger, runId), WHAT);
        return {
          body: {
            run: formatPayoutRun(run),
            left_out: leftOut,
            payouts: payouts.map((payout) => formatPayout(payout, principal)),
            stopped,
          },
        };
      });
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/payout-runs/:id/reject',
    config: { roles: ROLES, idempotent: true, problems },
    schema: {
      operationId: 'rejectPayoutRun',
      tags: TAGS,
      summary: 'Reject a run: its payouts are canceled, and their money is available again',
      params,
      body: z.strictObject({
        reason: text(MAX_FAILURE_LENGTH).meta({ description: 'Why; the affiliates see it.' }),
      }),
      response: { 200: payoutRunView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { actor } = principal;
      const runId = request.params.id;
      return await commit(context, request, reply, async (tx) => {
        inProgram(principal, await getPayoutRun(tx, runId), WHAT);
        const { reason } = request.body;
        leftOutOf(await rejectPayoutRun(tx, { runId, now: new Date(), actor, reason }));
        return { body: formatPayoutRun(inProgram(principal, await getPayoutRun(tx, runId), WHAT)) };
      });
    },
  });
}

/** @throws Problem unless it was decided. */
function leftOutOf(decided: DecidedRun): string[] {
  switch (decided.outcome) {
    case 'done':
      return decided.leftOut.map((id) => formatId('payout', id));
    case 'not_found':
      throw notFound(WHAT);
    case 'wrong_state':
      throw wrongState('payout run', decided.state);
    case 'same_person':
      throw new Problem('forbidden', { detail: 'somebody else than who started a run approves it' });
  }
}

function addReconciliationRoute(app: ApiServer, context: ApiContext): void {
  const { ledger, payoutProvider: provider, secretBox } = context;
  app.route({
    method: 'POST',
    url: '/v1/payouts/reconcile',
    config: { roles: ROLES, idempotent: true, problems: ['payout_provider_refused'] },
    schema: {
      operationId: 'reconcilePayouts',
      tags: TAGS,
      summary:
        'Query the provider about payouts with an unknown outcome; what it never received is submitted again, under its key',
      body: z.strictObject({ program_id: integerId('program').optional() }).nullish(),
      response: { 200: reconciliationView },
    },
    handler: async (request, reply) => {
      const programId = programFilter(principalOf(request), request.body?.program_id);
      return await answerOnce(context, request, reply, async () => ({
        body: await reconcilePayouts(ledger, { now: new Date(), provider, secretBox, programId }),
      }));
    },
  });
}
