import { z } from 'zod';
import {
  type FileBatch,
  listFileBatches,
  lockFileBatch,
  noteDownload,
} from '../../../ledger/payouts/files.ts';
import { readPaymentFiles } from '../../../ledger/payouts/providers/payment-file.ts';
import { requireRecentSignIn } from '../../auth/recent-sign-in.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { inProgram, principalOf, programFilter } from '../../http/principal.ts';
import { notFound, Problem } from '../../http/problems.ts';
import { bigintId, formatId, idText, integerId } from '../../schemas/ids.ts';
import {
  bigintPageQuery,
  formatMoney,
  formatPage,
  formatTime,
  moneyText,
  pageOf,
  pageRequest,
  timeText,
} from '../../schemas/schemas.ts';

const WHAT = 'payout file with this id';
const TAGS = ['money'];
const ROLES = ['operator', 'finance'] as const;

const batchView = z
  .object({
    id: idText('payoutBatch'),
    program_id: idText('program'),
    run_id: idText('payoutRun'),
    provider: z.string(),
    created_at: timeText,
    payouts: z.int(),
    ended: z.int().meta({ description: 'Of those, the ones that are paid, have failed or came back.' }),
    total: moneyText,
    downloads: z
      .array(z.object({ at: timeText, by: z.string().meta({ examples: ['user:3'] }) }))
      .meta({ description: 'Who has downloaded it and when, the first one first.' }),
  })
  .meta({ id: 'PayoutFile', description: 'Payouts that are paid by a file for a bank or PayPal.' });

const downloadView = z
  .object({
    payout_file: batchView,
    files: z
      .array(z.object({ name: z.string(), media_type: z.string(), text: z.string() }))
      .meta({ description: 'A second file has payments that had to be handed over again.' }),
  })
  .meta({ id: 'PayoutFileDownload' });

function formatBatch(batch: FileBatch): z.output<typeof batchView> {
  return {
    id: formatId('payoutBatch', batch.id),
    program_id: formatId('program', batch.programId),
    run_id: formatId('payoutRun', batch.runId),
    provider: batch.provider,
    created_at: formatTime(batch.createdAt),
    payouts: batch.payouts,
    ended: batch.ended,
    total: formatMoney(batch.amountMinor, batch.currency),
    downloads: batch.downloads.map(({ at, by }) => ({ at: formatTime(at), by })),
  };
}

/** Why the bank may have a file already, or another one with its money; undefined: it has not. */
function howUsed({ downloads, ended, payouts }: FileBatch): string | undefined {
  const last = downloads.at(-1);
  if (last) return `${last.by} downloaded it at ${formatTime(last.at)}`;
  return ended > 0 ? `${ended} of its ${payouts} payouts have ended` : undefined;
}

/** The files that a person takes to the bank or to PayPal. */
export function addPaymentFileRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger, paymentFolder } = context;
  app.route({
    method: 'GET',
    url: '/v1/payout-files',
    config: { roles: ROLES },
    schema: {
      operationId: 'listPayoutFiles',
      tags: TAGS,
      summary: 'Files of payouts for a bank or PayPal, the newest first, with who has downloaded them',
      querystring: z.object({
        ...bigintPageQuery('payoutBatch'),
        program_id: integerId('program').optional(),
      }),
      response: { 200: pageOf(batchView) },
    },
    handler: async (request) => {
      const programId = programFilter(principalOf(request), request.query.program_id);
      const page = await listFileBatches(ledger, { ...pageRequest(request.query), programId });
      return formatPage('payoutBatch', page, formatBatch);
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/payout-files/:id/download',
    config: {
      roles: ROLES,
      idempotent: true,
      problems: ['not_found', 'already_downloaded', 'reauthentication_required'],
    },
    schema: {
      operationId: 'downloadPayoutFile',
      tags: TAGS,
      summary: 'Download the file of payouts; who did it and when is kept',
      description:
        'A file that is given to a bank twice may be paid twice: once it was downloaded, or payouts of it have ended, it is given out with again: true only.',
      params: z.object({ id: bigintId('payoutBatch') }),
      body: z.strictObject({ again: z.boolean().default(false) }).nullish(),
      response: { 200: downloadView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { actor } = principal;
      requireRecentSignIn(request);
      return await commit(context, request, reply, async (tx) => {
        const batch = inProgram(principal, await lockFileBatch(tx, request.params.id), WHAT);
        const used = howUsed(batch);
        if (used !== undefined && request.body?.again !== true) {
          const detail = `${used}: given to the bank now, it may be paid twice`;
          throw new Problem('already_downloaded', { detail });
        }
        const files = await readPaymentFiles(paymentFolder, batch.batchKey);
        if (files.length === 0) throw notFound('file of these payouts on this machine');
        await noteDownload(tx, { batch, actor, files: files.map(({ name }) => name) });
        const downloads = [...batch.downloads, { at: new Date(), by: actor }];
        return {
          body: {
            payout_file: formatBatch({ ...batch, downloads }),
            files: files.map(({ name, mediaType, text }) => ({ name, media_type: mediaType, text })),
          },
        };
      });
    },
  });
}
