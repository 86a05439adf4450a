import { z } from 'zod';
import { hideSecrets } from '../../../core/secret-forms.ts';
import { appendAuditLog } from '../../../ledger/access/audit-log.ts';
import type { ListOrder } from '../../../ledger/postgres/page.ts';
import {
  type DeadLetter,
  type DeadLetterSummary,
  getDeadLetter,
  readDeadLetters,
  replayDeadLetter,
  summaryOf,
} from '../../../warehouse/loader/dead-letters.ts';
import { answerOnce } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { addList, timeRange } from '../../http/lists.ts';
import { everyProgram, principalOf } from '../../http/principal.ts';
import { bigintId, formatId, idText } from '../../schemas/ids.ts';
import { formatTime, text, timeText } from '../../schemas/schemas.ts';

/** Bytes of a payload that are shown: enough to recognise what it is. */
const SHOWN_BYTES = 512;

const summaryShape = {
  id: idText('deadLetter'),
  at: timeText.meta({ description: 'When it was set aside.' }),
  reason: z.string(),
  detail: z.string(),
  shard: z.int(),
  stream_seq: z.int().meta({ description: 'Where it was in the clicks stream.' }),
  bytes: z.int(),
  whole: z
    .boolean()
    .meta({ description: 'False: its payload had to be cut, so that it cannot be replayed.' }),
};
const summaryView = z.object(summaryShape).meta({ id: 'DeadLetterSummary' });
const letterView = z
  .object({
    ...summaryShape,
    headers: z.array(z.object({ name: z.string(), value: z.string() })),
    beginning: z.string().meta({ description: `Its first ${SHOWN_BYTES} bytes, hexadecimal.` }),
  })
  .meta({ id: 'DeadLetter' });

function formatSummary(letter: DeadLetterSummary): z.output<typeof summaryView> {
  return {
    id: formatId('deadLetter', letter.id),
    at: formatTime(letter.at),
    reason: letter.reason,
    detail: letter.detail,
    shard: letter.shard,
    stream_seq: letter.streamSeq,
    bytes: letter.bytes,
    whole: letter.isWhole,
  };
}

/** They are read out of the stream one by one, in its order. */
const DEAD_LETTER_LIST: ListOrder = { id: (sql) => sql`id`, newestFirst: false, sorts: {} };

/** A longer text is no reason. */
const MAX_FILTER_LENGTH = 100;

/** Batches of clicks that the loader could not read. They may be of any program, and need NATS. */
export function addDeadLetterRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger, streams } = context;
  const tags = ['clicks'];
  const roles = ['operator'] as const;
  const params = z.object({ id: bigintId('deadLetter') });

  addList(app, context, {
    url: '/v1/dead-letters',
    operationId: 'listDeadLetters',
    tags,
    summary: 'Batches of clicks that were set aside, the oldest first; for keys of no single program',
    config: { roles },
    kind: 'deadLetter',
    list: DEAD_LETTER_LIST,
    filters: { reason: text(MAX_FILTER_LENGTH).optional(), ...timeRange },
    view: summaryView,
    read: async ({ limit, after }, { principal, query: { reason, from, to } }) => {
      everyProgram(principal);
      const isWanted = (letter: DeadLetter) =>
        (reason === undefined || letter.reason === reason) &&
        (from === undefined || letter.at >= from) &&
        (to === undefined || letter.at < to);
      const rows = await streams.use(async ({ manager }) => {
        const read: DeadLetterSummary[] = [];
        for await (const letter of readDeadLetters(manager, { after: Number(after ?? 0n) })) {
          if (isWanted(letter) && read.push(summaryOf(letter)) > limit) break;
        }
        return read;
      });
      const page = rows.slice(0, limit);
      return { rows: page, next: rows.length > limit ? BigInt(page.at(-1)?.id ?? 0) : null };
    },
    format: (letters) => letters.map(formatSummary),
  });

  app.route({
    method: 'GET',
    url: '/v1/dead-letters/:id',
    config: { roles, problems: ['not_found'] },
    schema: {
      operationId: 'getDeadLetter',
      tags,
      summary: 'One batch that was set aside: its headers and the beginning of its bytes',
      params,
      response: { 200: letterView },
    },
    handler: async (request) => {
      everyProgram(principalOf(request));
      const letter = await streams.use(({ manager }) => getDeadLetter(manager, Number(request.params.id)));
      return {
        ...formatSummary(summaryOf(letter)),
        headers: letter.headers.map(([name, value]) => ({ name, value: hideSecrets(value) })),
        beginning: letter.data.subarray(0, SHOWN_BYTES).toString('hex'),
      };
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/dead-letters/:id/replay',
    config: { roles, idempotent: true, problems: ['not_found', 'wrong_state'] },
    schema: {
      operationId: 'replayDeadLetter',
      tags,
      summary:
        'Put the batch back into the clicks stream: the loader validates it again, and counts nothing twice',
      params,
      response: { 200: z.object({ id: idText('deadLetter'), stream_seq: z.int() }) },
    },
    handler: async (request, reply) => {
      const { actor } = everyProgram(principalOf(request));
      const id = formatId('deadLetter', request.params.id);
      return await answerOnce(context, request, reply, async () => {
        const { streamSeq } = await streams.use(({ manager }) =>
          replayDeadLetter(manager, Number(request.params.id)),
        );
        const after = { stream_seq: streamSeq };
        await appendAuditLog(ledger, { actor, action: 'dead_letter.replay', subject: id, after });
        return { body: { id, ...after } };
      });
    },
  });
}
