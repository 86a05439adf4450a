import { z } from 'zod';
import { CLOCK_TOLERANCE_MS, DAY_MS, WEEK_MS } from '../../../core/time.ts';
import { readCampaignIds, readLinkCodes } from '../../../ledger/audit/explored-orders.ts';
import { mirroredTo } from '../../../ledger/postgres/outbox.ts';
import { getAffiliate } from '../../../ledger/programs/affiliates.ts';
import { namesById } from '../../../ledger/programs/names.ts';
import { listedNetwork, type ProgramScope } from '../../../warehouse/lookups/subjects.ts';
import {
  affiliatesSharingAddresses,
  timeToConvert,
  velocityOf,
} from '../../../warehouse/lookups/velocity.ts';
import {
  LISTED_KEYS,
  type ListedKey,
  type ListedVelocity,
  listVelocity,
  MAX_FAST_KEYS,
  MAX_VELOCITY_SEARCH,
  VELOCITY_SORTS,
  type VelocityCursor,
} from '../../../warehouse/lookups/velocity-list.ts';
import { readWatermark } from '../../../warehouse/watermark/watermark.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { type Principal, principalOf, programFilter, programRequired } from '../../http/principal.ts';
import { invalidField } from '../../http/problems.ts';
import { visibleAffiliate } from '../../programs/affiliate-view.ts';
import { formatId, idText, integerId } from '../../schemas/ids.ts';
import {
  formatTime,
  plain,
  rowLimit,
  time,
  timeText,
  wholeNumber,
  wholeNumberOr,
} from '../../schemas/schemas.ts';
import { completeTo, ordersCompleteTo } from '../explorer/views.ts';

const VELOCITY_KEYS = ['ip', 'subnet', 'fingerprint'] as const;

const spans = z.object({ m1: z.int(), m5: z.int(), m60: z.int(), h24: z.int() });
const velocityView = z
  .object({
    clicks: spans.meta({ description: 'Of the last 1, 5 and 60 minutes and 24 hours.' }),
    conversions: spans,
    campaigns: z.int(),
    user_agents: z.int(),
    first_seen: timeText.nullable(),
    last_seen: timeText.nullable(),
    complete_to: completeTo,
    orders_complete_to: ordersCompleteTo,
  })
  .meta({ id: 'Velocity' });

function optionalTime(at: Date | undefined): string | null {
  return at === undefined ? null : formatTime(at);
}

const TAGS = ['fraud'];
const REVIEWERS = ['operator', 'fraud'] as const;

/** What the fraud team looks at. */
export function addVelocityRoutes(app: ApiServer, context: ApiContext): void {
  addListRoute(app, context);
  addCountRoute(app, context);
  addTimeToConvertRoute(app, context);
  addSharedAddressRoute(app, context);
}

const CURSOR = z
  .tuple([z.int(), z.number(), z.string()])
  .transform(([now, by, value]): VelocityCursor => ({ now, by, value }));

/** Pages count up to the time of the first one, while clicks of that day are kept. @throws Problem `invalid_input` `cursor`. */
function readCursor(cursor: string, now: Date): VelocityCursor {
  const { data } = CURSOR.safeParse(jsonOf(Buffer.from(cursor, 'base64url').toString()));
  const ageMs = now.getTime() - (data?.now ?? Number.NaN);
  if (data && ageMs >= -CLOCK_TOLERANCE_MS && ageMs <= DAY_MS) return data;
  throw invalidField('cursor', 'must be the next_cursor of a page of the last 24 hours');
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function writeCursor({ now, by, value }: VelocityCursor): string {
  return Buffer.from(JSON.stringify([now, by, value])).toString('base64url');
}

/** What the warehouse is narrowed to; undefined: every program. */
async function scopeOf(
  { ledger }: ApiContext,
  principal: Principal,
  requested: number | undefined,
): Promise<ProgramScope | undefined> {
  const id = programFilter(principal, requested);
  return id === undefined ? undefined : { id, campaignIds: await readCampaignIds(ledger, [id]) };
}

const listedView = z.object({
  value: z.string().meta({ description: 'A value of the key; it leads on in the explorer.' }),
  name: z.string().nullable().meta({ description: 'Of an affiliate, a link, or who runs the system.' }),
  clicks: z.int(),
  orders: z.int(),
  ratio: z.number().nullable().meta({ description: 'Orders for each click; null without clicks.' }),
  campaigns: z.int(),
  user_agents: z.int().nullable().meta({ description: 'Null for affiliates and links.' }),
  first_seen: timeText.meta({ description: 'Within the last 24 hours.' }),
  last_seen: timeText,
});

function addListRoute(app: ApiServer, context: ApiContext): void {
  const { ledger, warehouse } = context;
  const atLeast = wholeNumber({ min: 0, max: 1_000_000_000 }).optional();
  app.route({
    method: 'GET',
    url: '/v1/velocity',
    config: { roles: REVIEWERS },
    schema: {
      operationId: 'listVelocity',
      tags: TAGS,
      summary: 'Who clicks or orders most in the last minutes, or is new; of a program, or of all',
      querystring: z.object({
        program_id: integerId('program').optional(),
        key: z.enum(LISTED_KEYS).default('ip'),
        sort: z.enum(VELOCITY_SORTS).default('clicks').meta({
          description:
            'What there is most of first; first_seen: those alone that were not seen in 24 hours before these minutes, the newest first.',
        }),
        clicks: atLeast.meta({ description: 'More clicks than this.' }),
        orders: atLeast.meta({ description: 'More orders than this.' }),
        minutes: wholeNumberOr(60, { min: 1, max: 1_440 }).meta({
          description: 'So many last minutes are counted; a day of a busy installation can take too long.',
        }),
        search: plain(MAX_VELOCITY_SEARCH).optional().meta({
          description: 'The beginning of an address or a number, a network, an id, or a part of a name.',
        }),
        limit: rowLimit({ max: MAX_FAST_KEYS, fallback: 100 }),
        cursor: z.string().max(500).optional().meta({ description: 'next_cursor of the page before.' }),
      }),
      response: {
        200: z.object({
          data: z.array(listedView),
          next_cursor: z.string().nullable(),
          complete_to: completeTo,
          orders_complete_to: ordersCompleteTo,
        }),
      },
    },
    handler: async (request) => {
      const { program_id, cursor, ...query } = request.query;
      const now = new Date();
      const program = await scopeOf(context, principalOf(request), program_id);
      const after = cursor === undefined ? undefined : readCursor(cursor, now);
      const watermark = await readWatermark(warehouse);
      const ordersTo = await mirroredTo(ledger);
      const { rows, next } = await listVelocity(warehouse, { ...query, program, after, now });
      return {
        data: await formatListed(ledger, query.key, rows),
        next_cursor: next ? writeCursor(next) : null,
        complete_to: optionalTime(watermark === undefined ? undefined : new Date(watermark)),
        orders_complete_to: formatTime(ordersTo),
      };
    },
  });
}

async function formatListed(
  ledger: ApiContext['ledger'],
  key: ListedKey,
  rows: readonly ListedVelocity[],
): Promise<z.output<typeof listedView>[]> {
  const ids = (wanted: ListedKey) => (key === wanted ? rows.map(({ value }) => Number(value)) : []);
  const [{ affiliates }, codes] = await Promise.all([
    namesById(ledger, { affiliates: ids('affiliate'), campaigns: [] }),
    readLinkCodes(ledger, ids('link')),
  ]);
  const names: Readonly<Partial<Record<ListedKey, (row: ListedVelocity) => string | undefined>>> = {
    affiliate: ({ value }) => affiliates.get(Number(value)),
    link: ({ value }) => codes.get(Number(value)),
    asn: ({ organisation }) => organisation,
  };
  return rows.map((row) => ({
    value: formatValue(key, row.value),
    name: names[key]?.(row) || null,
    clicks: row.clicks,
    orders: row.orders,
    ratio: row.clicks === 0 ? null : row.orders / row.clicks,
    campaigns: row.campaigns,
    user_agents: row.userAgents,
    first_seen: formatTime(row.firstSeen),
    last_seen: formatTime(row.lastSeen),
  }));
}

/** As the explorer takes it. */
function formatValue(key: ListedKey, value: string): string {
  if (key === 'subnet') return listedNetwork(value).text;
  if (key === 'asn') return `AS${value}`;
  return key === 'affiliate' || key === 'link' ? formatId(key, Number(value)) : value;
}

function addCountRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/velocity/:key/:value',
    config: { roles: REVIEWERS },
    schema: {
      operationId: 'getVelocity',
      tags: TAGS,
      summary: 'How fast one address, network or fingerprint clicks and converts; of a program, or of all',
      params: z.object({ key: z.enum(VELOCITY_KEYS), value: z.string().max(64) }),
      querystring: z.object({ program_id: integerId('program').optional() }),
      response: { 200: velocityView },
    },
    handler: async (request) => {
      const program = await scopeOf(context, principalOf(request), request.query.program_id);
      const ordersTo = await mirroredTo(context.ledger);
      const seen = await velocityOf(context.warehouse, { ...request.params, program, now: new Date() });
      return {
        clicks: seen.clicks,
        conversions: seen.conversions,
        campaigns: seen.campaigns,
        user_agents: seen.userAgents,
        first_seen: optionalTime(seen.firstSeen),
        last_seen: optionalTime(seen.lastSeen),
        complete_to: optionalTime(seen.completeTo),
        orders_complete_to: formatTime(ordersTo),
      };
    },
  });
}

function addTimeToConvertRoute(app: ApiServer, { ledger, warehouse }: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/affiliates/:id/time-to-convert',
    config: { roles: REVIEWERS, problems: ['not_found'] },
    schema: {
      operationId: 'getTimeToConvert',
      tags: TAGS,
      summary: 'How long an affiliate’s visitors take from click to order',
      params: z.object({ id: integerId('affiliate') }),
      querystring: z.object({ from: time, to: time }),
      response: {
        200: z.object({
          data: z.array(
            z.object({
              up_to_seconds: z.number().nullable().meta({ description: 'Null: all that took longer.' }),
              conversions: z.int(),
            }),
          ),
        }),
      },
    },
    handler: async (request) => {
      const affiliate = visibleAffiliate(principalOf(request), await getAffiliate(ledger, request.params.id));
      const classes = await timeToConvert(warehouse, { affiliateId: affiliate.id, ...request.query });
      return {
        data: classes.map(({ upToSeconds, conversions }) => ({
          up_to_seconds: upToSeconds ?? null,
          conversions,
        })),
      };
    },
  });
}

function addSharedAddressRoute(app: ApiServer, { warehouse }: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/shared-addresses',
    config: { roles: REVIEWERS },
    schema: {
      operationId: 'listSharedAddresses',
      tags: TAGS,
      summary: 'Pairs of affiliates whose clicks come from the same addresses, those with the most first',
      querystring: z
        .object({
          program_id: integerId('program').optional(),
          from: time,
          to: time,
          min_addresses: wholeNumberOr(2, { min: 1, max: 1_000_000 }),
          limit: rowLimit({ max: MAX_FAST_KEYS, fallback: 100 }),
        })
        .refine(({ from, to }) => to.getTime() > from.getTime(), {
          path: ['to'],
          message: 'must be later than from',
        })
        .refine(({ from, to }) => to.getTime() - from.getTime() <= WEEK_MS, {
          path: ['to'],
          message: 'must be within 7 days of from: raw clicks are read',
        }),
      response: {
        200: z.object({
          data: z.array(
            z.object({
              affiliate_ids: z.array(idText('affiliate')),
              addresses: z.int(),
              clicks: z.int(),
            }),
          ),
        }),
      },
    },
    handler: async (request) => {
      const { program_id, from, to, min_addresses, limit } = request.query;
      const programId = programRequired(principalOf(request), program_id);
      const pairs = await affiliatesSharingAddresses(warehouse, {
        programId,
        from,
        to,
        limit,
        minAddresses: min_addresses,
      });
      return {
        data: pairs.map(({ affiliates, addresses, clicks }) => ({
          affiliate_ids: affiliates.map((id) => formatId('affiliate', id)),
          addresses,
          clicks,
        })),
      };
    },
  });
}
