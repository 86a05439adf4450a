import { z } from 'zod';
import { InputError } from '../../../core/errors.ts';
import { PAYOUT_STATES } from '../../../ledger/payouts/payouts.ts';
import { LEFT_OUT_REASONS, type LeftOut, previewRun } from '../../../ledger/payouts/preview.ts';
import { applyPaymentResult } from '../../../ledger/payouts/results.ts';
import { runPayouts } from '../../../ledger/payouts/run.ts';
import { reconcilePayouts } from '../../../ledger/payouts/submit.ts';
import type { Database } from '../../../ledger/postgres/db.ts';
import { AFFILIATE_STATUSES } from '../../../ledger/programs/affiliates.ts';
import { getProgram } from '../../../ledger/programs/programs.ts';
import { installCsvBodies } from '../../http/bodies.ts';
import { answerOnce } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf, programFilter, programRequired } from '../../http/principal.ts';
import { formatId, formatOptionalId, idText, integerId } from '../../schemas/ids.ts';
import { formatMoney, moneyText } from '../../schemas/schemas.ts';
import { MAX_RESULT_BYTES, MAX_RESULT_ROWS, type ResultRow, readPaymentResults } from '../payment-results.ts';
import { formatPayout, payoutView } from '../payout-view.ts';

/** Affiliates that a preview lists; the rest is counted. */
const MAX_PREVIEW_ROWS = 1_000;

const reconciliationView = z.object({
  asked: z.number().meta({ description: 'Payouts that the provider was queried about.' }),
  resubmitted: z.number().meta({ description: 'Unknown to the provider: submitted again under their keys.' }),
  unknown: z.number().meta({ description: 'Outcome still unknown; a person has to decide.' }),
});

const runView = z
  .object({
    vested: z.number(),
    built: z.number(),
    submitted: z.number(),
    failed: z.number(),
    unknown: z.number(),
    reconciled: reconciliationView.meta({ description: 'Payouts of earlier runs with an unknown outcome.' }),
    payouts: z.array(payoutView),
  })
  .meta({ id: 'PayoutRun' });

const previewView = z
  .object({
    program_id: idText('program'),
    provider: z.string(),
    payouts: z.number(),
    total: moneyText,
    would_pay: z.array(z.object({ affiliate_id: idText('affiliate'), amount: moneyText })),
    left_out: z.array(
      z.object({
        affiliate_id: idText('affiliate'),
        reason: z.enum(LEFT_OUT_REASONS),
        detail: z.string(),
        status: z.enum(AFFILIATE_STATUSES),
        pending: moneyText,
        available: moneyText,
        debt: moneyText.meta({ description: 'Zero or negative.' }),
        payout_min: moneyText.nullable(),
      }),
    ),
    left_out_total: z.number(),
  })
  .meta({
    id: 'PayoutPreview',
    description: `What a run would pay now. At most ${MAX_PREVIEW_ROWS} affiliates are in each list; payouts, total and left_out_total count all.`,
  });

const RESULT_OUTCOMES = [
  'recorded',
  'repeated',
  'open',
  'not_found',
  'contradicts',
  'too_early',
  'amount_differs',
  'refused',
] as const;

const resultsView = z
  .object({
    dry_run: z.boolean(),
    recorded: z.number(),
    rows: z.array(
      z.object({
        line: z.number(),
        payment_key: z.string(),
        payout_id: idText('payout').nullable(),
        outcome: z.enum(RESULT_OUTCOMES),
        state: z.enum(PAYOUT_STATES).nullable().meta({ description: 'Of the payout afterwards.' }),
        detail: z.string().nullable(),
      }),
    ),
  })
  .meta({
    id: 'PaymentResults',
    description:
      'recorded: done. repeated: known already. open: not final yet. too_early: it is being handed over, read it in again. contradicts: it is in another state, a person has to look. refused: the row cannot be read.',
  });

/** As a bank gives it. */
const RESULTS_EXAMPLE =
  'payment_key,status,amount,currency,reason\npay-1,paid,12.34,EUR,\npay-2,failed,5.00,EUR,no such account\n';

type ResultView = z.output<typeof resultsView>['rows'][number];

function whyLeftOut({
  reason,
  status,
  currency,
  availableMinor,
  debtMinor,
  payoutMinMinor,
}: LeftOut): string {
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
      return `its debt of ${money(-debtMinor)} takes the ${money(availableMinor)} that are available`;
    case 'no_terms':
      return 'no terms are in force';
    case 'below_minimum':
      return `${money(availableMinor + debtMinor)} is below the minimum of ${money(payoutMinMinor ?? 0n)}`;
    case 'not_yet_due':
      return 'the payout of its schedule was made already';
    case 'busy':
      return 'a refund is changing its commissions; try again';
  }
}

const TAGS = ['money'];
const ROLES = ['operator', 'finance'] as const;

/** Paying: preview, run, reconciliation and the results of payment files. */
export function addPayoutRunRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger, payoutProvider, secretBox } = context;
  const body = z.strictObject({ program_id: integerId('program').optional() }).nullish();

  app.route({
    method: 'GET',
    url: '/v1/payouts/preview',
    config: { roles: ROLES },
    schema: {
      operationId: 'previewPayouts',
      tags: TAGS,
      summary: 'What a run would pay now, affiliate by affiliate, and why others would get nothing',
      querystring: z.object({ program_id: integerId('program').optional() }),
      response: { 200: previewView },
    },
    handler: async (request) => {
      const programId = programRequired(principalOf(request), request.query.program_id);
      return await preview(context, programId);
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/payouts/run',
    config: { roles: ROLES, idempotent: true },
    schema: {
      operationId: 'runPayouts',
      tags: TAGS,
      summary:
        'Vest what is due, build the payouts that are due, and hand them to the provider; safe to repeat',
      body,
      response: { 200: runView },
    },
    handler: async (request, reply) => {
      const programId = programFilter(principalOf(request), request.body?.program_id);
      return await answerOnce(context, request, reply, async () => {
        const run = await runPayouts(ledger, {
          now: new Date(),
          provider: payoutProvider,
          secretBox,
          programId,
        });
        return { body: { ...run, payouts: run.payouts.map(formatPayout) } };
      });
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/payouts/reconcile',
    config: { roles: ROLES, idempotent: true },
    schema: {
      operationId: 'reconcilePayouts',
      tags: TAGS,
      summary:
        'Query the provider about payouts with an unknown outcome; what it never received is submitted again, under its key',
      body,
      response: { 200: reconciliationView },
    },
    handler: async (request, reply) => {
      const programId = programFilter(principalOf(request), request.body?.program_id);
      return await answerOnce(context, request, reply, async () => ({
        body: await reconcilePayouts(ledger, {
          now: new Date(),
          provider: payoutProvider,
          secretBox,
          programId,
        }),
      }));
    },
  });

  addResultRoute(app, context);
}

function addResultRoute(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;
  app.register(async (scope: ApiServer) => {
    installCsvBodies(scope);
    scope.route({
      method: 'POST',
      url: '/v1/payouts/results',
      config: { roles: ROLES, idempotent: true, example: RESULTS_EXAMPLE },
      bodyLimit: MAX_RESULT_BYTES,
      schema: {
        operationId: 'recordPaymentResults',
        tags: TAGS,
        summary: 'Read the result file of the bank or PayPal; a dry run by default',
        description: `CSV with a header, at most ${MAX_RESULT_ROWS} rows: payment_key (or PayPal’s "Unique ID"), and where there are such columns status, amount, currency and reason. Without a status every row is paid. What it says of an amount is compared. Reading a file again changes nothing.`,
        consumes: ['text/csv'],
        querystring: z.object({ dry_run: z.enum(['true', 'false']).default('true') }),
        body: z.string(),
        response: { 200: resultsView },
      },
      handler: async (request, reply) => {
        const { programId, actor } = principalOf(request);
        const dryRun = request.query.dry_run === 'true';
        const results = readPaymentResults(request.body);
        return await answerOnce(context, request, reply, async () => {
          const rows: ResultView[] = [];
          for (const row of results) {
            rows.push(await applyResult(ledger, row, { programId: programId ?? undefined, actor, dryRun }));
          }
          const recorded = rows.filter(({ outcome }) => outcome === 'recorded').length;
          return { body: { dry_run: dryRun, recorded, rows } };
        });
      },
    });
  });
}

async function applyResult(
  ledger: Database,
  { line, paymentKey, result }: ResultRow,
  by: { programId: number | undefined; actor: string; dryRun: boolean },
): Promise<ResultView> {
  const head = { line, payment_key: paymentKey };
  const none = { payout_id: null, state: null };
  if (result === 'open') return { ...head, ...none, outcome: 'open', detail: null };
  if (result instanceof InputError) return { ...head, ...none, outcome: 'refused', detail: result.message };
  const { payoutId, outcome, state } = await applyPaymentResult(ledger, { ...by, result, now: new Date() });
  return { ...head, payout_id: formatOptionalId('payout', payoutId), state, outcome, detail: null };
}

async function preview(
  { ledger, payoutProvider }: ApiContext,
  programId: number,
): Promise<z.output<typeof previewView>> {
  const program = await getProgram(ledger, programId);
  if (!program) throw new InputError('program_id', 'there is no such program');
  const { currency } = program;
  const options = { now: new Date(), provider: payoutProvider.name, programId };
  const { payouts, leftOut } = await previewRun(ledger, options);
  const total = payouts.reduce((sum, { amountMinor }) => sum + amountMinor, 0n);
  return {
    program_id: formatId('program', programId),
    provider: payoutProvider.name,
    payouts: payouts.length,
    total: formatMoney(total, currency),
    would_pay: payouts.slice(0, MAX_PREVIEW_ROWS).map((payout) => ({
      affiliate_id: formatId('affiliate', payout.affiliateId),
      amount: formatMoney(payout.amountMinor, payout.currency),
    })),
    left_out: leftOut.slice(0, MAX_PREVIEW_ROWS).map((out) => ({
      affiliate_id: formatId('affiliate', out.affiliateId),
      reason: out.reason,
      detail: whyLeftOut(out),
      status: out.status,
      pending: formatMoney(out.pendingMinor, out.currency),
      available: formatMoney(out.availableMinor, out.currency),
      debt: formatMoney(out.debtMinor, out.currency),
      payout_min: out.payoutMinMinor === null ? null : formatMoney(out.payoutMinMinor, out.currency),
    })),
    left_out_total: leftOut.length,
  };
}
