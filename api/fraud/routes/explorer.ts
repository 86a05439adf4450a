import { z } from 'zod';
import type { ClickIdentity } from '../../../core/clicks/click-id.ts';
import { MAX_REFERENCE_LENGTH } from '../../../core/text-limits.ts';
import { canonicalTimeZone } from '../../../core/time.ts';
import { readOrders } from '../../../ledger/audit/explored-orders.ts';
import { mirroredTo } from '../../../ledger/postgres/outbox.ts';
import { newestClicks, orderIds, TIMELINE_STEPS, timeline } from '../../../warehouse/lookups/explorer.ts';
import { EXPLORED_DAYS } from '../../../warehouse/lookups/subjects.ts';
import { readWatermark } from '../../../warehouse/watermark/watermark.ts';
import { answerOnce } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf, programFilter } from '../../http/principal.ts';
import { invalidField } from '../../http/problems.ts';
import { formatId, integerId, parseId } from '../../schemas/ids.ts';
import { formatTime, plain, rowLimit, timeText } from '../../schemas/schemas.ts';
import { explore } from '../explorer/explore.ts';
import { lookUp } from '../explorer/look-up.ts';
import { exploredOf, explorerKey } from '../explorer/subject.ts';
import {
  clickView,
  completeTo,
  explorationView,
  formatClick,
  formatOrder,
  ordersCompleteTo,
  orderView,
} from '../explorer/views.ts';

const TAGS = ['fraud'];
const REVIEWERS = ['operator', 'fraud'] as const;
/** Longest typed text: an e-mail address. Values are no longer than the id of a customer. */
const MAX_TEXT_LENGTH = 254;
/** Rows of a page; each click is read from another place of the table. */
const MAX_ROWS = 100;
const DEFAULT_ROWS = 50;

const params = z.object({ key: explorerKey, value: plain(MAX_REFERENCE_LENGTH) });
const program_id = integerId('program').optional();
const page = {
  program_id,
  limit: rowLimit({ max: MAX_ROWS, fallback: DEFAULT_ROWS }),
  cursor: z.string().max(100).optional().meta({ description: 'next_cursor of the page before.' }),
};
const config = { roles: REVIEWERS, problems: ['not_found'] } as const;

/** From any key to the clicks, orders, people and keys around it. */
export function addExplorerRoutes(app: ApiServer, context: ApiContext): void {
  addLookUpRoute(app, context);
  addExplorationRoute(app, context);
  addClicksRoute(app, context);
  addOrdersRoute(app, context);
  addTimelineRoute(app, context);
}

function addLookUpRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/explorer/look-up',
    config: {
      roles: REVIEWERS,
      idempotent: true,
      example: { text: '198.51.100.7' },
    },
    schema: {
      operationId: 'lookUpKey',
      tags: TAGS,
      summary: 'What a typed text can be the name of; a body, so that no address of a person is in a URL',
      body: z.strictObject({
        program_id: integerId('program').exactOptional(),
        text: plain(MAX_TEXT_LENGTH).meta({
          description:
            'An address, a network, AS680, a fingerprint, an id of ours or of the shop, a click id, an e-mail address, the code of a link, a part of an affiliate’s name.',
        }),
      }),
      response: {
        200: z.object({
          data: z.array(z.object({ key: explorerKey, value: z.string(), name: z.string().nullable() })),
        }),
      },
    },
    handler: async (request, reply) => {
      const programId = programFilter(principalOf(request), request.body.program_id);
      const { text } = request.body;
      return await answerOnce(context, request, reply, async () => ({
        body: { data: await lookUp(context, { text, programId }) },
      }));
    },
  });
}

function addExplorationRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/explorer/:key/:value',
    config,
    schema: {
      operationId: 'explore',
      tags: TAGS,
      summary: `Clicks, orders, money and related keys of one key in the last ${EXPLORED_DAYS} days`,
      params,
      querystring: z.object({ program_id }),
      response: { 200: explorationView },
    },
    handler: async (request) => {
      const now = new Date();
      const asked = { ...request.params, ...request.query, now };
      return await explore(context, {
        explored: await exploredOf(context, principalOf(request), asked),
        now,
      });
    },
  });
}

function addClicksRoute(app: ApiServer, context: ApiContext): void {
  const { warehouse, clickIds } = context;
  app.route({
    method: 'GET',
    url: '/v1/explorer/:key/:value/clicks',
    config,
    schema: {
      operationId: 'listExploredClicks',
      tags: TAGS,
      summary: `Clicks of one key in the last ${EXPLORED_DAYS} days, the newest first`,
      params,
      querystring: z.object(page),
      response: {
        200: z.object({
          data: z.array(clickView),
          next_cursor: z.string().nullable(),
          complete_to: completeTo,
        }),
      },
    },
    handler: async (request) => {
      const now = new Date();
      const { limit, cursor } = request.query;
      const before = cursor === undefined ? undefined : clickCursor(clickIds.decode(cursor));
      const asked = { ...request.params, ...request.query, now };
      const { selection } = await exploredOf(context, principalOf(request), asked);
      const complete_to = optionalTime(await readWatermark(warehouse));
      const clicks = await newestClicks(warehouse, { selection, now, limit: limit + 1, before });
      const rows = clicks.slice(0, limit).map((click) => formatClick(context, click));
      // A click's id is its place in the list.
      const next_cursor = clicks.length > limit ? (rows.at(-1)?.click_id ?? null) : null;
      return { data: rows, next_cursor, complete_to };
    },
  });
}

/** @throws Problem `invalid_input` `cursor`. */
function clickCursor(identity: ClickIdentity | undefined): ClickIdentity {
  if (identity) return identity;
  throw invalidField('cursor', 'must be the next_cursor of a previous page');
}

function addOrdersRoute(app: ApiServer, context: ApiContext): void {
  const { ledger, warehouse } = context;
  app.route({
    method: 'GET',
    url: '/v1/explorer/:key/:value/orders',
    config,
    schema: {
      operationId: 'listExploredOrders',
      tags: TAGS,
      summary: `Orders of one key in the last ${EXPLORED_DAYS} days, the newest first`,
      params,
      querystring: z.object(page),
      response: {
        200: z.object({
          data: z.array(orderView),
          next_cursor: z.string().nullable(),
          orders_complete_to: ordersCompleteTo,
        }),
      },
    },
    handler: async (request) => {
      const now = new Date();
      const { limit, cursor } = request.query;
      const before = cursor === undefined ? undefined : parseId('conversion', cursor);
      if (cursor !== undefined && before === undefined) clickCursor(undefined);
      const asked = { ...request.params, ...request.query, now };
      const { selection, programId } = await exploredOf(context, principalOf(request), asked);
      const ordersTo = await mirroredTo(ledger);
      const ids = await orderIds(warehouse, {
        selection,
        now,
        limit: limit + 1,
        before: before === undefined ? undefined : BigInt(before),
      });
      const shown = ids.slice(0, limit);
      const orders = await readOrders(ledger, { ids: shown, programId });
      const last = shown.at(-1);
      const hasMore = ids.length > shown.length && last !== undefined;
      return {
        data: orders.map(formatOrder),
        next_cursor: hasMore ? formatId('conversion', last) : null,
        orders_complete_to: formatTime(ordersTo),
      };
    },
  });
}

function optionalTime(ms: number | undefined): string | null {
  return ms === undefined ? null : formatTime(new Date(ms));
}

function addTimelineRoute(app: ApiServer, context: ApiContext): void {
  const { ledger, warehouse } = context;
  app.route({
    method: 'GET',
    url: '/v1/explorer/:key/:value/timeline',
    config,
    schema: {
      operationId: 'getExploredTimeline',
      tags: TAGS,
      summary: `Clicks and orders of one key: the last day by minute, or ${EXPLORED_DAYS} days by hour (of an autonomous system one day)`,
      params,
      querystring: z.object({
        program_id,
        step: z.enum(TIMELINE_STEPS).default('hour'),
        time_zone: z
          .string()
          .max(64)
          .default('UTC')
          .meta({ description: 'IANA time zone whose hours are counted.', examples: ['Asia/Kolkata'] }),
      }),
      response: {
        200: z.object({
          data: z
            .array(z.object({ at: timeText, clicks: z.int(), orders: z.int() }))
            .meta({ description: 'The first one first, none left out; `at` is where it begins.' }),
          complete_to: completeTo,
          orders_complete_to: ordersCompleteTo,
        }),
      },
    },
    handler: async (request) => {
      const now = new Date();
      const { step, time_zone, ...query } = request.query;
      const timeZone = canonicalTimeZone(time_zone);
      if (timeZone === undefined) {
        throw invalidField('time_zone', 'must be an IANA time zone such as Europe/Berlin');
      }
      const asked = { ...request.params, ...query, now };
      const { selection } = await exploredOf(context, principalOf(request), asked);
      const complete_to = optionalTime(await readWatermark(warehouse));
      const ordersTo = await mirroredTo(ledger);
      const points = await timeline(warehouse, { selection, step, timeZone, now });
      return {
        data: points.map(({ at, clicks, orders }) => ({ at: formatTime(at), clicks, orders })),
        complete_to,
        orders_complete_to: formatTime(ordersTo),
      };
    },
  });
}
