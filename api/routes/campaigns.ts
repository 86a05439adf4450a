import { z } from 'zod';
import { ROLES } from '../../ledger/api-keys.ts';
import { appendAuditLog } from '../../ledger/audit-log.ts';
import {
  CAMPAIGN_STATUSES,
  type Campaign,
  createCampaign,
  getCampaign,
  listCampaigns,
  updateCampaign,
} from '../../ledger/campaigns.ts';
import { inTransaction } from '../../ledger/db.ts';
import { camelKeys } from '../camel-keys.ts';
import type { ApiContext, ApiServer } from '../context.ts';
import { formatId, idText, integerId } from '../ids.ts';
import { inProgram, principalOf, programFilter, programRequired } from '../principal.ts';
import {
  clickCap,
  formatOptionalTime,
  formatPage,
  formatTime,
  nameText,
  pageOf,
  pageQuery,
  pageRequest,
  time,
  timeText,
  urlText,
} from '../schemas.ts';

const MAX_COOKIE_DAYS = 365;

const campaignView = z
  .object({
    id: idText('campaign'),
    program_id: idText('program'),
    name: z.string(),
    status: z.enum(CAMPAIGN_STATUSES),
    starts_at: timeText.nullable(),
    ends_at: timeText.nullable(),
    fallback_url: z.string().nullable(),
    cookie_days: z.number().meta({ description: 'Life of the click cookie.' }),
    daily_click_cap: z.number().nullable(),
    created_at: timeText,
  })
  .meta({ id: 'Campaign' });

const settings = {
  starts_at: time.nullable().exactOptional(),
  ends_at: time.nullable().exactOptional(),
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
    fallback_url: campaign.fallbackUrl,
    cookie_days: campaign.cookieDays,
    daily_click_cap: campaign.dailyClickCap,
    created_at: formatTime(campaign.createdAt),
  };
}

export function addCampaignRoutes(app: ApiServer, { ledger }: ApiContext): void {
  const tags = ['campaigns'];

  app.route({
    method: 'GET',
    url: '/v1/campaigns',
    config: { roles: ROLES },
    schema: {
      operationId: 'listCampaigns',
      tags,
      summary: 'Campaigns, by id',
      querystring: z.object({ ...pageQuery('campaign'), program_id: integerId('program').optional() }),
      response: { 200: pageOf(campaignView) },
    },
    handler: async (request) => {
      const programId = programFilter(principalOf(request), request.query.program_id);
      const page = await listCampaigns(ledger, { ...pageRequest(request.query), programId });
      return formatPage('campaign', page, formatCampaign);
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/campaigns/:id',
    config: { roles: ROLES, problems: ['not_found'] },
    schema: {
      operationId: 'getCampaign',
      tags,
      summary: 'One campaign',
      params,
      response: { 200: campaignView },
    },
    handler: async (request) => {
      const campaign = await getCampaign(ledger, request.params.id);
      return formatCampaign(inProgram(principalOf(request), campaign, WHAT));
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/campaigns',
    config: { roles: ['operator'] },
    schema: {
      operationId: 'createCampaign',
      tags,
      summary: 'Create a campaign',
      body: z.strictObject({ program_id: integerId('program').optional(), name: nameText, ...settings }),
      response: { 201: campaignView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const programId = programRequired(principal, request.body.program_id);
      const created = await inTransaction(ledger, async (tx) => {
        const view = formatCampaign(await createCampaign(tx, { ...camelKeys(request.body), programId }));
        await appendAuditLog(tx, {
          actor: principal.actor,
          action: 'campaign.create',
          subject: view.id,
          after: view,
        });
        return view;
      });
      return reply.code(201).send(created);
    },
  });

  app.route({
    method: 'PATCH',
    url: '/v1/campaigns/:id',
    config: { roles: ['operator'], problems: ['not_found'] },
    schema: {
      operationId: 'updateCampaign',
      tags,
      summary: 'Change a campaign',
      params,
      body: z.strictObject({
        name: nameText.exactOptional(),
        status: z.enum(CAMPAIGN_STATUSES).exactOptional(),
        ...settings,
      }),
      response: { 200: campaignView },
    },
    handler: async (request) => {
      const principal = principalOf(request);
      const { id } = request.params;
      return await inTransaction(ledger, async (tx) => {
        const before = formatCampaign(inProgram(principal, await getCampaign(tx, id), WHAT));
        const changed = await updateCampaign(tx, { id, changes: camelKeys(request.body) });
        const after = formatCampaign(inProgram(principal, changed, WHAT));
        await appendAuditLog(tx, {
          actor: principal.actor,
          action: 'campaign.update',
          subject: after.id,
          before,
          after,
        });
        return after;
      });
    },
  });
}
