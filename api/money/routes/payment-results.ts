import { z } from 'zod';
import { assert, InputError } from '../../../core/errors.ts';
import { PAYOUT_STATES } from '../../../ledger/payouts/payouts.ts';
import { readMessagePayments } from '../../../ledger/payouts/providers/sepa-xml.ts';
import { applyPaymentResults, readOpenPayments } from '../../../ledger/payouts/results.ts';
import { requireRecentSignIn } from '../../auth/recent-sign-in.ts';
import { installTextBodies } from '../../http/bodies.ts';
import { answerOnce } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf } from '../../http/principal.ts';
import { formatOptionalId, idText } from '../../schemas/ids.ts';
import { booleanParameter } from '../../schemas/schemas.ts';
import { MAX_RESULT_BYTES, MAX_RESULT_ROWS, type ResultRow, readPaymentResults } from '../payment-results.ts';
import { readSepaResults } from '../sepa-results.ts';

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
    recorded: z.int(),
    rows: z.array(
      z.object({
        line: z.int().meta({
          description: 'Of CSV from 1, the header being line 1; of XML the number of the transaction.',
        }),
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

const ROLES = ['operator', 'finance'] as const;
const XML_TYPES = ['application/xml', 'text/xml'] as const;

/** The results of payment files, as the bank or PayPal gives them. */
export function addPaymentResultRoute(app: ApiServer, context: ApiContext): void {
  app.register(async (scope: ApiServer) => {
    installTextBodies(scope, 'text/csv', ...XML_TYPES);
    scope.route({
      method: 'POST',
      url: '/v1/payouts/results',
      config: {
        roles: ROLES,
        idempotent: true,
        example: RESULTS_EXAMPLE,
        problems: ['reauthentication_required'],
      },
      bodyLimit: MAX_RESULT_BYTES,
      schema: {
        operationId: 'recordPaymentResults',
        tags: ['money'],
        summary: 'Read the result file of the bank or PayPal (CSV, pain.002, camt.054); a dry run by default',
        description: `CSV with a header, at most ${MAX_RESULT_ROWS} rows: payment_key (or PayPal’s "Unique ID"), and where there are such columns status, amount, currency and reason. Without a status every row is paid. What it says of an amount is compared. An account that a payment failed for or came back from is not paid any more until it changes, unless the row says canceled or denied. Reading a file again changes nothing. XML of a bank for SEPA files: pain.002, whose refusals are recorded, by end-to-end id or for a whole message, and camt.054, whose booked debits are recorded as paid and whose credits under the reference of a payout as returned, unless it was debited more often than given back.`,
        consumes: ['text/csv', ...XML_TYPES],
        querystring: z.object({ dry_run: booleanParameter({ fallback: true }) }),
        body: z.string(),
        response: { 200: resultsView },
      },
      handler: async (request, reply) => {
        const { programId, actor } = principalOf(request);
        const dryRun = request.query.dry_run;
        // The next run pays again what the file says has not arrived.
        if (!dryRun) requireRecentSignIn(request);
        const isXml = XML_TYPES.some((type) => request.headers['content-type']?.startsWith(type));
        const rows = isXml
          ? await readXml(context, request.body, programId ?? undefined)
          : await readPaymentResults(request.body);
        return await answerOnce(context, request, reply, async () => {
          const views = await applyRows(context, rows, {
            programId: programId ?? undefined,
            actor,
            dryRun,
            now: new Date(),
          });
          const recorded = views.filter(({ outcome }) => outcome === 'recorded').length;
          return { body: { dry_run: dryRun, recorded, rows: views } };
        });
      },
    });
  });
}

/**
 * The rows of a pain.002 or camt.054; a message that was refused whole is a row for each of its other payments. A payment of
 * another message has only the status that is its own.
 */
async function readXml(
  { ledger, paymentFolder }: Pick<ApiContext, 'ledger' | 'paymentFolder'>,
  xml: string,
  programId: number | undefined,
): Promise<ResultRow[]> {
  const { rows, refusedMessages } = readSepaResults(xml);
  const messages = new Map<string, readonly string[] | undefined>();
  for (const { messageId } of refusedMessages) {
    messages.set(messageId, await readMessagePayments(paymentFolder, messageId));
  }
  const all = rows.map((row) => ofOwnMessage(row, messages));
  const named = new Set(rows.map(({ paymentKey }) => paymentKey));
  for (const { line, messageId, result } of refusedMessages) {
    const keys = await readOpenPayments(ledger, { keys: messages.get(messageId) ?? [], programId });
    // A message that is not known is a row that finds nothing.
    const others = keys.length === 0 ? [messageId] : keys.filter((key) => !named.has(key));
    for (const providerKey of others) {
      all.push({ line, paymentKey: providerKey, result: { ...result, providerKey } });
    }
  }
  if (all.length === 0) throw new InputError('body', 'has no rows');
  if (all.length > MAX_RESULT_ROWS) throw new InputError('body', `must not exceed ${MAX_RESULT_ROWS} rows`);
  return all;
}

function ofOwnMessage(
  row: ResultRow,
  messages: ReadonlyMap<string, readonly string[] | undefined>,
): ResultRow {
  const { paymentKey, byMessage, result } = row;
  const keys = byMessage === undefined ? undefined : messages.get(byMessage);
  if (keys === undefined || keys.includes(paymentKey) || result instanceof InputError) return row;
  const fault = 'is of another payment file than this message, and has no status of its own';
  return { ...row, result: new InputError('OrgnlEndToEndId', fault) };
}

async function applyRows(
  { ledger, secretBox }: Pick<ApiContext, 'ledger' | 'secretBox'>,
  rows: readonly ResultRow[],
  by: { programId: number | undefined; actor: string; dryRun: boolean; now: Date },
): Promise<ResultView[]> {
  const results = rows.flatMap(({ result }) =>
    result === 'open' || result instanceof InputError ? [] : [result],
  );
  const answers = (await applyPaymentResults(ledger, { ...by, secretBox, results })).values();
  return rows.map(({ line, paymentKey, result }): ResultView => {
    const head = { line, payment_key: paymentKey };
    const none = { payout_id: null, state: null };
    if (result === 'open') return { ...head, ...none, outcome: 'open', detail: null };
    if (result instanceof InputError) return { ...head, ...none, outcome: 'refused', detail: result.message };
    const applied = answers.next().value;
    assert(applied, 'every result has an answer');
    const { payoutId, outcome, state, detail } = applied;
    return { ...head, payout_id: formatOptionalId('payout', payoutId), state, outcome, detail };
  });
}
