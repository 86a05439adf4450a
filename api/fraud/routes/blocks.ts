import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { BLOCK_ACTIONS, BLOCK_KINDS, MAX_BLOCK_VALUE_LENGTH } from '../../../core/blocks/block.ts';
import { MAX_NOTE_LENGTH } from '../../../core/text-limits.ts';
import {
  BLOCK_LIST,
  BLOCK_STATES,
  type Block,
  blockTarget,
  createBlocks,
  endBlock,
  getBlock,
  inEntry,
  listBlocks,
  MAX_NEW_BLOCKS,
} from '../../../ledger/blocks/blocks.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { shortensAddresses } from '../../../ledger/programs/programs.ts';
import {
  MAX_PREVIEW_TARGETS,
  needsWholeAddress,
  PREVIEW_AFFILIATES,
  PREVIEW_DAYS,
  previewBlocks,
} from '../../../warehouse/lookups/block-preview.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { addList, timeRange } from '../../http/lists.ts';
import { type Principal, principalOf, programFilter } from '../../http/principal.ts';
import { invalidField, notFound } from '../../http/problems.ts';
import { blockView, formatBlock, logNewBlocks } from '../../orders/block-view.ts';
import { formatId, idText, integerId } from '../../schemas/ids.ts';
import {
  formatMoney,
  formatOptionalTime,
  formatTime,
  moneyText,
  text,
  time,
  timeText,
} from '../../schemas/schemas.ts';

const target = {
  kind: z.enum(BLOCK_KINDS),
  value: text(MAX_BLOCK_VALUE_LENGTH).meta({
    description:
      'An address; a network such as 192.0.2.0/24, at most a /8 of IPv4 or a /20 of IPv6; AS680; DE; a part of a User-Agent in any case, or the whole of it with * for anything; a domain, which holds its subdomains; a sub id.',
  }),
  affiliate_id: integerId('affiliate').exactOptional().meta({ description: 'Required for a sub_id alone.' }),
  sub: z.int().min(1).max(5).exactOptional().meta({ description: 'Required for a sub_id alone.' }),
};
const programId = integerId('program').nullable().exactOptional().meta({
  description:
    'Null: every program, by a key or user of no single program, which has to say one or the other.',
});
/** A thousand entries of 2 KiB. */
const MAX_ENTRIES_BYTES = 2 * 1024 * 1024;
const params = z.object({ id: integerId('block') });
const WHAT = 'entry of a block list with this id';
const TAGS = ['fraud'];
const REVIEWERS = ['operator', 'fraud'] as const;
const EXAMPLE_TARGET = { kind: 'network', value: '198.51.100.0/24' };

/** What clicks are blocked by, in one program or in every one. */
export function addBlockRoutes(app: ApiServer, context: ApiContext): void {
  addReadRoutes(app, context);
  addChangeRoutes(app, context);
  addPreviewRoute(app, context);
}

/** A user of one program sees, makes and ends the entries of that program alone. @throws Problem `not_found`. */
function visibleBlock(principal: Principal, block: Block | undefined): Block {
  const isForeign = principal.programId !== null && block?.programId !== principal.programId;
  if (!block || isForeign) throw notFound(WHAT);
  return block;
}

/** Null: every program. @throws Problem `forbidden`, `invalid_input` where it has to be said. */
function programOf(principal: Principal, given: number | null | undefined): number | null {
  if (given === null && principal.programId === null) return null;
  if (given === null)
    throw invalidField('program_id', 'must be your program: entries of every one are not yours to make');
  const program = programFilter(principal, given);
  if (program === undefined) throw invalidField('program_id', 'is required; null is every program');
  return program;
}

function addReadRoutes(app: ApiServer, context: ApiContext): void {
  addList(app, context, {
    url: '/v1/blocks',
    operationId: 'listBlocks',
    tags: TAGS,
    summary: 'Entries of the block lists, the newest first; a user of one program has those of that program',
    config: { roles: REVIEWERS },
    kind: 'block',
    list: BLOCK_LIST,
    filters: {
      program_id: integerId('program')
        .optional()
        .meta({ description: 'Those that apply to it: its own, and those of every program.' }),
      scope: z
        .enum(['program', 'every_program'])
        .optional()
        .meta({ description: 'Entries of single programs, or those of every program.' }),
      kind: z.enum(BLOCK_KINDS).optional(),
      affiliate_id: integerId('affiliate').optional(),
      state: z.enum(BLOCK_STATES).optional(),
      ...timeRange,
    },
    view: blockView,
    read: async (page, { sql, principal, query: { program_id, affiliate_id, scope, ...filters } }) =>
      await listBlocks(sql, {
        ...page,
        ...filters,
        programId: programFilter(principal, program_id),
        withGlobal: principal.programId === null,
        affiliateId: affiliate_id,
        global: scope === undefined ? undefined : scope === 'every_program',
      }),
    format: (blocks) => blocks.map(formatBlock),
  });

  app.route({
    method: 'GET',
    url: '/v1/blocks/:id',
    config: { roles: REVIEWERS, problems: ['not_found'] },
    schema: {
      operationId: 'getBlock',
      tags: TAGS,
      summary: 'One entry of a block list',
      params,
      response: { 200: blockView },
    },
    handler: async (request) =>
      formatBlock(visibleBlock(principalOf(request), await getBlock(context.ledger, request.params.id))),
  });
}

function addChangeRoutes(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/blocks',
    config: {
      roles: REVIEWERS,
      idempotent: true,
      problems: ['wrong_state'],
      example: {
        program_id: 'prg_1',
        entries: [{ ...EXAMPLE_TARGET, action: 'fallback', reason: 'Clicks of a hoster' }],
      },
    },
    bodyLimit: MAX_ENTRIES_BYTES,
    schema: {
      operationId: 'createBlocks',
      tags: TAGS,
      summary: 'Block clicks: all entries, or none; in force within a second at every collector',
      description:
        'A click of an entry is recorded with the flag blocked, is not valid, and never earns. An entry is not changed: end it, and make another one.',
      body: z.strictObject({
        program_id: programId,
        entries: z
          .array(
            z.strictObject({
              ...target,
              action: z.enum(BLOCK_ACTIONS),
              reason: text(MAX_NOTE_LENGTH),
              ends_at: time.exactOptional(),
            }),
          )
          .min(1)
          .max(MAX_NEW_BLOCKS),
      }),
      response: { 201: z.object({ data: z.array(blockView) }) },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { actor } = principal;
      const { program_id, entries } = request.body;
      return await commit(context, request, reply, async (tx) => {
        const blocks = await createBlocks(tx, {
          programId: programOf(principal, program_id),
          actor,
          entries: entries.map(({ affiliate_id: affiliateId, ends_at: endsAt, ...rest }) => ({
            ...rest,
            affiliateId,
            endsAt,
          })),
        });
        await logNewBlocks(tx, { actor, blocks });
        return { status: 201, body: { data: blocks.map(formatBlock) } };
      });
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/blocks/:id/end',
    config: { roles: REVIEWERS, idempotent: true, problems: ['not_found', 'wrong_state'] },
    schema: {
      operationId: 'endBlock',
      tags: TAGS,
      summary: 'End an entry of a block list now; clicks that it blocked stay blocked',
      params,
      response: { 200: blockView },
    },
    handler: async (request, reply) => await commit(context, request, reply, (tx) => end(tx, request)),
  });

  async function end(tx: Parameters<Parameters<typeof commit>[3]>[0], request: FastifyRequest) {
    const principal = principalOf(request);
    const { id } = request.params as z.output<typeof params>;
    await lockRow(tx, 'blocks', id);
    const before = formatBlock(visibleBlock(principal, await getBlock(tx, id)));
    const body = formatBlock(visibleBlock(principal, await endBlock(tx, { id, actor: principal.actor })));
    return { body, audit: { action: 'block.end', subject: body.id, before, after: body } };
  }
}

const previewView = z
  .object({
    from: timeText,
    to: timeText,
    is_partial: z.boolean().meta({
      description: 'The time ran out before all days were looked at: from is later than asked for.',
    }),
    is_shortened: z.boolean().meta({
      description:
        'Some entries are of less than a /24 or /48, and addresses are kept shortened: what they would have caught there is not counted.',
    }),
    clicks: z.int(),
    valid_clicks: z.int(),
    all_clicks: z.int().meta({ description: 'Of the program, or of every one: caught or not.' }),
    orders: z.int().meta({ description: 'Credited to an affiliate, or in review, by such a click.' }),
    money: z.array(z.object({ revenue: moneyText, commission: moneyText })),
    affiliates: z
      .array(z.object({ affiliate_id: idText('affiliate'), clicks: z.int(), valid_clicks: z.int() }))
      .meta({ description: `The ${PREVIEW_AFFILIATES} with the most clicks.` }),
    complete_to: timeText.nullable(),
  })
  .meta({ id: 'BlockPreview' });

function addPreviewRoute(app: ApiServer, { ledger, warehouse }: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/blocks/preview',
    config: {
      roles: REVIEWERS,
      isQuery: true,
      idempotent: true,
      problems: ['too_costly'],
      example: { program_id: 'prg_1', entries: [EXAMPLE_TARGET] },
    },
    bodyLimit: MAX_ENTRIES_BYTES,
    schema: {
      operationId: 'previewBlocks',
      tags: TAGS,
      summary: `What entries would have caught in the last ${PREVIEW_DAYS} days; changes nothing`,
      body: z.strictObject({
        program_id: programId,
        entries: z.array(z.strictObject(target)).min(1).max(MAX_PREVIEW_TARGETS),
      }),
      response: { 200: previewView },
    },
    handler: async (request) => {
      const { program_id, entries } = request.body;
      const program = programOf(principalOf(request), program_id);
      const targets = entries.map(({ affiliate_id: affiliateId, ...rest }, i) =>
        inEntry(i, () => blockTarget({ ...rest, affiliateId })),
      );
      const isShortened = targets.some(needsWholeAddress) && (await shortensAddresses(ledger, program));
      const seen = await previewBlocks(warehouse, {
        programId: program ?? undefined,
        targets,
        now: new Date(),
      });
      return {
        from: formatTime(seen.from),
        to: formatTime(seen.to),
        is_partial: seen.isPartial,
        is_shortened: isShortened,
        clicks: seen.clicks,
        valid_clicks: seen.validClicks,
        all_clicks: seen.allClicks,
        orders: seen.orders,
        money: seen.money.map(({ currency, revenueMinor, commissionMinor }) => ({
          revenue: formatMoney(revenueMinor, currency),
          commission: formatMoney(commissionMinor, currency),
        })),
        affiliates: seen.affiliates.map(({ affiliateId, clicks, validClicks }) => ({
          affiliate_id: formatId('affiliate', affiliateId),
          clicks,
          valid_clicks: validClicks,
        })),
        complete_to: formatOptionalTime(seen.completeTo ?? null),
      };
    },
  });
}
