import { z } from 'zod';
import { WEEK_MS } from '../../../core/time.ts';
import { getAffiliate } from '../../../ledger/programs/affiliates.ts';
import {
  affiliatesSharingAddresses,
  MAX_FAST_KEYS,
  timeToConvert,
  velocityOf,
  whoExceeds,
} from '../../../warehouse/lookups/velocity.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { everyProgram, principalOf, programRequired } from '../../http/principal.ts';
import { visibleAffiliate } from '../../programs/affiliate-view.ts';
import { formatId, idText, integerId } from '../../schemas/ids.ts';
import { formatTime, rowLimit, time, timeText, wholeNumberOr } from '../../schemas/schemas.ts';

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
    complete_to: timeText.nullable(),
  })
  .meta({ id: 'Velocity' });

function optionalTime(at: Date | undefined): string | null {
  return at === undefined ? null : formatTime(at);
}

const TAGS = ['fraud'];
const REVIEWERS = ['operator', 'fraud'] as const;

/** What the fraud team looks at. */
export function addVelocityRoutes(app: ApiServer, context: ApiContext): void {
  addCountRoutes(app, context);
  addTimeToConvertRoute(app, context);
  addSharedAddressRoute(app, context);
}

/** Addresses are seen across programs, so velocity is for who may see all of them. */
function addCountRoutes(app: ApiServer, { warehouse }: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/velocity',
    config: { roles: REVIEWERS },
    schema: {
      operationId: 'listVelocity',
      tags: TAGS,
      summary: 'Who clicks faster than a threshold, the fastest first; for keys of no single program',
      querystring: z.object({
        key: z.enum(VELOCITY_KEYS).default('ip'),
        clicks: wholeNumberOr(100, { min: 0, max: 1_000_000_000 }),
        minutes: wholeNumberOr(60, { min: 1, max: 1_440 }),
        limit: rowLimit({ max: MAX_FAST_KEYS, fallback: 100 }),
      }),
      response: {
        200: z.object({
          data: z.array(
            z.object({
              value: z.string(),
              clicks: z.int(),
              campaigns: z.int(),
              user_agents: z.int(),
              last_seen: timeText,
            }),
          ),
        }),
      },
    },
    handler: async (request) => {
      everyProgram(principalOf(request));
      const fast = await whoExceeds(warehouse, { ...request.query, now: new Date() });
      return {
        data: fast.map(({ value, clicks, campaigns, userAgents, lastSeen }) => ({
          value,
          clicks,
          campaigns,
          user_agents: userAgents,
          last_seen: formatTime(lastSeen),
        })),
      };
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/velocity/:key/:value',
    config: { roles: REVIEWERS },
    schema: {
      operationId: 'getVelocity',
      tags: TAGS,
      summary:
        'How fast one address, network or fingerprint clicks and converts; for keys of no single program',
      params: z.object({ key: z.enum(VELOCITY_KEYS), value: z.string().max(64) }),
      response: { 200: velocityView },
    },
    handler: async (request) => {
      everyProgram(principalOf(request));
      const seen = await velocityOf(warehouse, { ...request.params, now: new Date() });
      return {
        clicks: seen.clicks,
        conversions: seen.conversions,
        campaigns: seen.campaigns,
        user_agents: seen.userAgents,
        first_seen: optionalTime(seen.firstSeen),
        last_seen: optionalTime(seen.lastSeen),
        complete_to: optionalTime(seen.completeTo),
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
