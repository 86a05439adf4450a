import { z } from 'zod';
import { routingSchema } from '../../core/routing.ts';
import { getAffiliate } from '../../ledger/affiliates.ts';
import { getCampaign } from '../../ledger/campaigns.ts';
import { createLink, getLink, LINK_STATUSES, type Link, listLinks, updateLink } from '../../ledger/links.ts';
import { lockRow } from '../../ledger/lock.ts';
import { camelKeys } from '../camel-keys.ts';
import { auditJson, checkMatch, commit, tagged } from '../commit.ts';
import type { ApiContext, ApiServer } from '../context.ts';
import { formatId, idText, integerId } from '../ids.ts';
import { affiliateFilter, owned, principalOf, programFilter } from '../principal.ts';
import { invalidField } from '../problems.ts';
import {
  clickCap,
  formatOptionalTime,
  formatPage,
  formatTime,
  pageOf,
  pageQuery,
  pageRequest,
  text,
  time,
  timeText,
  urlText,
} from '../schemas.ts';

const MAX_CODE_CHARS = 64;

const linkView = z
  .object({
    id: idText('link'),
    code: z.string(),
    url: z.string().meta({ description: 'What the affiliate publishes.' }),
    program_id: idText('program'),
    campaign_id: idText('campaign'),
    affiliate_id: idText('affiliate'),
    landing_url: z.string(),
    routing: routingSchema.nullable(),
    daily_click_cap: z.number().nullable(),
    status: z.enum(LINK_STATUSES),
    expires_at: timeText.nullable(),
    created_at: timeText,
  })
  .meta({ id: 'Link' });

const params = z.object({ id: integerId('link') });
const WHAT = 'link with this id';

export function addLinkRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger, collectorUrl } = context;
  const tags = ['links'];

  function formatLink(link: Link): z.output<typeof linkView> {
    return {
      id: formatId('link', link.id),
      code: link.code,
      url: `${collectorUrl}/c/${link.code}`,
      program_id: formatId('program', link.programId),
      campaign_id: formatId('campaign', link.campaignId),
      affiliate_id: formatId('affiliate', link.affiliateId),
      landing_url: link.landingUrl,
      routing: link.routing,
      daily_click_cap: link.dailyClickCap,
      status: link.status,
      expires_at: formatOptionalTime(link.expiresAt),
      created_at: formatTime(link.createdAt),
    };
  }

  app.route({
    method: 'GET',
    url: '/v1/links',
    config: { roles: ['operator', 'finance', 'fraud', 'affiliate'] },
    schema: {
      operationId: 'listLinks',
      tags,
      summary: 'Links, by id',
      querystring: z.object({
        ...pageQuery('link'),
        program_id: integerId('program').optional(),
        campaign_id: integerId('campaign').optional(),
        affiliate_id: integerId('affiliate').optional(),
      }),
      response: { 200: pageOf(linkView) },
    },
    handler: async (request) => {
      const principal = principalOf(request);
      const { program_id, campaign_id, affiliate_id } = request.query;
      const page = await listLinks(ledger, {
        ...pageRequest(request.query),
        programId: programFilter(principal, program_id),
        campaignId: campaign_id,
        affiliateId: affiliateFilter(principal, affiliate_id),
      });
      return formatPage('link', page, formatLink);
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/links/:id',
    config: { roles: ['operator', 'finance', 'fraud', 'affiliate'], problems: ['not_found'] },
    schema: { operationId: 'getLink', tags, summary: 'One link', params, response: { 200: linkView } },
    handler: async (request, reply) => {
      const link = owned(principalOf(request), await getLink(ledger, request.params.id), WHAT);
      return tagged(reply, formatLink(link));
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/links',
    config: { roles: ['operator', 'affiliate'], idempotent: true },
    schema: {
      operationId: 'createLink',
      tags,
      summary: 'Create a tracking link; the collector serves it within a second',
      body: z.strictObject({
        campaign_id: integerId('campaign'),
        affiliate_id: integerId('affiliate')
          .optional()
          .meta({ description: 'An affiliate may leave it out.' }),
        landing_url: urlText.meta({ examples: ['https://shop.example/?ref={click_id}'] }),
        routing: routingSchema.nullable().exactOptional(),
        daily_click_cap: clickCap,
        code: text(MAX_CODE_CHARS).exactOptional(),
        expires_at: time.nullable().exactOptional(),
      }),
      response: { 201: linkView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const affiliateId = affiliateFilter(principal, request.body.affiliate_id);
      if (affiliateId === undefined) throw invalidField('affiliate_id', 'is required');
      return await commit(context, request, reply, async (tx) => {
        const campaign = await getCampaign(tx, request.body.campaign_id);
        const affiliate = await getAffiliate(tx, affiliateId);
        // A foreign campaign and one that does not exist must look alike, so both are the field's fault.
        const foreign = (row: { programId: number } | undefined): boolean =>
          row === undefined || (principal.programId !== null && row.programId !== principal.programId);
        if (foreign(campaign)) throw invalidField('campaign_id', 'there is no such campaign');
        if (foreign(affiliate)) throw invalidField('affiliate_id', 'there is no such affiliate');
        const body = formatLink(await createLink(tx, { ...camelKeys(request.body), affiliateId }));
        return {
          status: 201,
          body,
          audit: { action: 'link.create', subject: body.id, after: auditJson(body) },
        };
      });
    },
  });

  app.route({
    method: 'PATCH',
    url: '/v1/links/:id',
    config: { roles: ['operator'], ifMatch: true, problems: ['not_found'] },
    schema: {
      operationId: 'updateLink',
      tags,
      summary: 'Change or pause a link',
      params,
      body: z.strictObject({
        landing_url: urlText.exactOptional(),
        routing: routingSchema.nullable().exactOptional(),
        daily_click_cap: clickCap,
        status: z.enum(LINK_STATUSES).exactOptional(),
        expires_at: time.nullable().exactOptional(),
      }),
      response: { 200: linkView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'links', id);
        const before = formatLink(owned(principal, await getLink(tx, id), WHAT));
        checkMatch(request, before);
        const updated = await updateLink(tx, { id, changes: camelKeys(request.body) });
        const after = formatLink(owned(principal, updated, WHAT));
        const audit = { before: auditJson(before), after: auditJson(after) };
        return { body: after, audit: { action: 'link.update', subject: after.id, ...audit } };
      });
      return tagged(reply, changed);
    },
  });
}
