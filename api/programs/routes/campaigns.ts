import { z } from 'zod';
import { MAX_ALLOWED_HOSTS, MAX_HOST_PATTERN_LENGTH } from '../../../core/links/destination.ts';
import { ROLES } from '../../../ledger/access/api-keys.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import {
  CAMPAIGN_LIST,
  CAMPAIGN_STATUSES,
  type Campaign,
  createCampaign,
  getCampaign,
  listCampaigns,
  updateCampaign,
} from '../../../ledger/programs/campaigns.ts';
import { hostsOfLinks } from '../../../ledger/programs/links.ts';
import { checkMatch, commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { addList, timeRange } from '../../http/lists.ts';
import { inProgram, principalOf, programFilter, programRequired } from '../../http/principal.ts';
import { camelKeys } from '../../schemas/camel-keys.ts';
import { formatId, idText, integerId } from '../../schemas/ids.ts';
import {
  clickCap,
  formatOptionalTime,
  formatTime,
  nameText,
  text,
  time,
  timeText,
  urlText,
} from '../../schemas/schemas.ts';

const MAX_COOKIE_DAYS = 365;

const campaignView = z
  .object({
    id: idText('campaign'),
    program_id: idText('program'),
    name: z.string(),
    status: z.enum(CAMPAIGN_STATUSES),
    starts_at: timeText.nullable(),
    ends_at: timeText.nullable(),
    landing_url: z.string().nullable(),
    allowed_hosts: z.array(z.string()),
    fallback_url: z.string().nullable(),
    cookie_days: z.int().meta({ description: 'Life of the click cookie.' }),
    daily_click_cap: z.int().nullable(),
    created_at: timeText,
  })
  .meta({ id: 'Campaign' });

const settings = {
  starts_at: time.nullable().exactOptional(),
  ends_at: time.nullable().exactOptional(),
  landing_url: urlText
    .nullable()
    .exactOptional()
    .meta({ description: 'The page that is advertised: links may lead to its host.' }),
  allowed_hosts: z
    .array(text(MAX_HOST_PATTERN_LENGTH))
    .max(MAX_ALLOWED_HOSTS)
    .exactOptional()
    .meta({
      description:
        'Further hosts to which links may lead: `shop.example`, `*.shop.example` for all names below it, `*` for every host.',
      examples: [['*.shop.example']],
    }),
  fallback_url: urlText.nullable().exactOptional(),
  cookie_days: z.int().min(1).max(MAX_COOKIE_DAYS).exactOptional(),
  daily_click_cap: clickCap,
};

const params = z.object({ id: integerId('campaign') });
const WHAT = 'campaign with this id';

function formatCampaign(campaign: Campaign): z.output<typeof campaignView> {
  return {
    id: formatId('campaign', campaign.id),
    program_id: formatId('program', campaign.programId),
    name: campaign.name,
    status: campaign.status,
    starts_at: formatOptionalTime(campaign.startsAt),
    ends_at: formatOptionalTime(campaign.endsAt),
    landing_url: campaign.landingUrl,
    allowed_hosts: [...campaign.allowedHosts],
    fallback_url: campaign.fallbackUrl,
    cookie_days: campaign.cookieDays,
    daily_click_cap: campaign.dailyClickCap,
    created_at: formatTime(campaign.createdAt),
  };
}

const TAGS = ['campaigns'];

const linkedHosts = z
  .object({
    hosts: z.array(
      z.object({
        host: z.string().meta({ description: '`?`: none can be read from the URL of an old link.' }),
        links: z.int(),
        allowed: z.boolean(),
      }),
    ),
  })
  .meta({ id: 'LinkedHosts' });

export function addCampaignRoutes(app: ApiServer, context: ApiContext): void {
  addReadRoutes(app, context);
  addChangeRoutes(app, context);
}

function addReadRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;
  addList(app, context, {
    url: '/v1/campaigns',
    operationId: 'listCampaigns',
    tags: TAGS,
    summary: 'Campaigns, by id',
    config: { roles: ROLES },
    kind: 'campaign',
    list: CAMPAIGN_LIST,
    filters: {
      program_id: integerId('program').optional(),
      status: z.enum(CAMPAIGN_STATUSES).optional(),
      ...timeRange,
    },
    view: campaignView,
    read: async (page, { sql, principal, query: { program_id, ...filters } }) =>
      await listCampaigns(sql, { ...page, ...filters, programId: programFilter(principal, program_id) }),
    format: (campaigns) => campaigns.map(formatCampaign),
  });

  app.route({
    method: 'GET',
    url: '/v1/campaigns/:id',
    config: { roles: ROLES, problems: ['not_found'] },
    schema: {
      operationId: 'getCampaign',
      tags: TAGS,
      summary: 'One campaign',
      params,
      response: { 200: campaignView },
    },
    handler: async (request, reply) => {
      const campaign = await getCampaign(ledger, request.params.id);
      return withEtag(reply, formatCampaign(inProgram(principalOf(request), campaign, WHAT)));
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/campaigns/:id/hosts',
    config: { roles: ['operator'], problems: ['not_found'] },
    schema: {
      operationId: 'listLinkedHosts',
      tags: TAGS,
      summary: 'The hosts that the links of a campaign lead to; first those that it does not allow',
      params,
      response: { 200: linkedHosts },
    },
    handler: async (request) => {
      const campaign = inProgram(principalOf(request), await getCampaign(ledger, request.params.id), WHAT);
      const hosts = await hostsOfLinks(ledger, campaign);
      return { hosts: hosts.map(({ isAllowed, ...rest }) => ({ ...rest, allowed: isAllowed })) };
    },
  });
}

function addChangeRoutes(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/campaigns',
    config: { roles: ['operator'], idempotent: true },
    schema: {
      operationId: 'createCampaign',
      tags: TAGS,
      summary: 'Create a campaign',
      body: z.strictObject({ program_id: integerId('program').optional(), name: nameText, ...settings }),
      response: { 201: campaignView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const programId = programRequired(principal, request.body.program_id);
      return await commit(context, request, reply, async (tx) => {
        const body = formatCampaign(await createCampaign(tx, { ...camelKeys(request.body), programId }));
        return { status: 201, body, audit: { action: 'campaign.create', subject: body.id, after: body } };
      });
    },
  });

  app.route({
    method: 'PATCH',
    url: '/v1/campaigns/:id',
    config: { roles: ['operator'], idempotent: true, ifMatch: true, problems: ['not_found'] },
    schema: {
      operationId: 'updateCampaign',
      tags: TAGS,
      summary: 'Change a campaign',
      params,
      body: z.strictObject({
        name: nameText.exactOptional(),
        status: z.enum(CAMPAIGN_STATUSES).exactOptional(),
        ...settings,
      }),
      response: { 200: campaignView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'campaigns', id);
        const before = formatCampaign(inProgram(principal, await getCampaign(tx, id), WHAT));
        checkMatch(request, before);
        const updated = await updateCampaign(tx, { id, changes: camelKeys(request.body) });
        const after = formatCampaign(inProgram(principal, updated, WHAT));
        return { body: after, audit: { action: 'campaign.update', subject: after.id, before, after } };
      });
      return withEtag(reply, changed);
    },
  });
}
