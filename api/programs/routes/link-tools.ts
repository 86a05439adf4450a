import { renderSVG } from 'uqr';
import { z } from 'zod';
import { InputError } from '../../../core/errors.ts';
import { getCampaign } from '../../../ledger/programs/campaigns.ts';
import {
  createLinkTemplate,
  deleteLinkTemplate,
  getLinkTemplate,
  type LinkTemplate,
  listLinkTemplates,
} from '../../../ledger/programs/link-templates.ts';
import { createLink, getLink } from '../../../ledger/programs/links.ts';
import { auditJson, commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { inProgram, owned, principalOf, programFilter } from '../../http/principal.ts';
import { formatId, idText, integerId } from '../../schemas/ids.ts';
import {
  formatPage,
  formatTime,
  nameText,
  pageOf,
  pageQuery,
  pageRequest,
  timeText,
  urlText,
} from '../../schemas/schemas.ts';
import { checkParties, linkFormatter, linkView, newLink } from '../link-view.ts';

/** Links of one transaction. */
const MAX_BATCH_LINKS = 1_000;
const MAX_BATCH_BYTES = 4 * 1024 * 1024;
const LINK_READERS = ['operator', 'finance', 'fraud', 'affiliate'] as const;

const templateView = z
  .object({
    id: idText('linkTemplate'),
    program_id: idText('program'),
    campaign_id: idText('campaign'),
    name: z.string(),
    landing_url: z.string(),
    created_at: timeText,
  })
  .meta({ id: 'LinkTemplate' });

function formatTemplate(template: LinkTemplate): z.output<typeof templateView> {
  return {
    id: formatId('linkTemplate', template.id),
    program_id: formatId('program', template.programId),
    campaign_id: formatId('campaign', template.campaignId),
    name: template.name,
    landing_url: template.landingUrl,
    created_at: formatTime(template.createdAt),
  };
}

const TAGS = ['links'];
const TEMPLATE = 'link template with this id';

/** Many links at once, landing pages to make links of, and a link as a picture. */
export function addLinkToolRoutes(app: ApiServer, context: ApiContext): void {
  addBatchRoute(app, context);
  addQrCodeRoute(app, context);
  addTemplateListRoute(app, context);
  addTemplateChangeRoutes(app, context);
}

function addBatchRoute(app: ApiServer, context: ApiContext): void {
  const formatLink = linkFormatter(context.collectorUrl);

  app.route({
    method: 'POST',
    url: '/v1/links/batch',
    config: { roles: ['operator', 'affiliate'], idempotent: true },
    bodyLimit: MAX_BATCH_BYTES,
    schema: {
      operationId: 'createLinks',
      tags: TAGS,
      summary: 'Create up to 1,000 links: all of them, or none and the field at fault',
      body: z.strictObject({ links: z.array(newLink).min(1).max(MAX_BATCH_LINKS) }),
      response: { 201: z.object({ links: z.array(linkView) }) },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      return await commit(context, request, reply, async (tx) => {
        const links: z.output<typeof linkView>[] = [];
        for (const [i, link] of request.body.links.entries()) {
          try {
            links.push(formatLink(await createLink(tx, await checkParties(tx, principal, link))));
          } catch (error) {
            if (!(error instanceof InputError)) throw error;
            throw new InputError(`links.${i}.${error.field}`, error.reason);
          }
        }
        const first = links[0]?.id ?? '';
        const audit = { action: 'link.create_many', subject: first, after: auditJson(links) };
        return { status: 201, body: { links }, audit };
      });
    },
  });
}

function addQrCodeRoute(app: ApiServer, { ledger, collectorUrl }: ApiContext): void {
  const formatLink = linkFormatter(collectorUrl);

  app.route({
    method: 'GET',
    url: '/v1/links/:id/qr.svg',
    config: { roles: LINK_READERS, problems: ['not_found'] },
    schema: {
      operationId: 'getLinkQrCode',
      tags: TAGS,
      summary: 'The link as a QR code',
      params: z.object({ id: integerId('link') }),
      response: { 200: { description: 'SVG.', content: { 'image/svg+xml': { schema: z.string() } } } },
    },
    handler: async (request, reply) => {
      const link = owned(principalOf(request), await getLink(ledger, request.params.id), 'link with this id');
      return reply.type('image/svg+xml').send(renderSVG(formatLink(link).url) as never);
    },
  });
}

function addTemplateListRoute(app: ApiServer, { ledger }: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/link-templates',
    config: { roles: LINK_READERS },
    schema: {
      operationId: 'listLinkTemplates',
      tags: TAGS,
      summary: 'Landing pages to make links of, by id',
      querystring: z.object({
        ...pageQuery('linkTemplate'),
        program_id: integerId('program').optional(),
        campaign_id: integerId('campaign').optional(),
      }),
      response: { 200: pageOf(templateView) },
    },
    handler: async (request) => {
      const programId = programFilter(principalOf(request), request.query.program_id);
      const campaignId = request.query.campaign_id;
      const page = await listLinkTemplates(ledger, { ...pageRequest(request.query), programId, campaignId });
      return formatPage('linkTemplate', page, formatTemplate);
    },
  });
}

function addTemplateChangeRoutes(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/link-templates',
    config: { roles: ['operator'], idempotent: true },
    schema: {
      operationId: 'createLinkTemplate',
      tags: TAGS,
      summary: 'Create a landing page to make links of',
      body: z.strictObject({
        campaign_id: integerId('campaign'),
        name: nameText,
        landing_url: urlText.meta({ examples: ['https://shop.example/summer?ref={click_id}'] }),
      }),
      response: { 201: templateView },
    },
    handler: async (request, reply) => {
      const { campaign_id: campaignId, name, landing_url: landingUrl } = request.body;
      return await commit(context, request, reply, async (tx) => {
        const campaign = await getCampaign(tx, campaignId);
        const { programId } = principalOf(request);
        if (!campaign || (programId !== null && campaign.programId !== programId)) {
          throw new InputError('campaign_id', 'there is no such campaign');
        }
        const body = formatTemplate(await createLinkTemplate(tx, { campaignId, name, landingUrl }));
        return {
          status: 201,
          body,
          audit: { action: 'link_template.create', subject: body.id, after: body },
        };
      });
    },
  });

  app.route({
    method: 'DELETE',
    url: '/v1/link-templates/:id',
    config: { roles: ['operator'], idempotent: true, problems: ['not_found'] },
    schema: {
      operationId: 'deleteLinkTemplate',
      tags: TAGS,
      summary: 'Remove a landing page; links made of it stay',
      params: z.object({ id: integerId('linkTemplate') }),
      response: { 204: z.undefined().describe('It is removed.') },
    },
    handler: async (request, reply) => {
      const { id } = request.params;
      return await commit(context, request, reply, async (tx) => {
        const before = formatTemplate(
          inProgram(principalOf(request), await getLinkTemplate(tx, id), TEMPLATE),
        );
        await deleteLinkTemplate(tx, id);
        const audit = { action: 'link_template.delete', subject: before.program_id, before };
        return { status: 204, body: undefined, audit };
      });
    },
  });
}
