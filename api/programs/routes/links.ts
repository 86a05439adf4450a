import { z } from 'zod';
import { MAX_HOST_PATTERN_LENGTH } from '../../../core/links/destination.ts';
import { routingSchema } from '../../../core/links/routing.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import {
  createLink,
  getLink,
  LINK_LIST,
  LINK_STATUSES,
  listLinks,
  updateLink,
} from '../../../ledger/programs/links.ts';
import { auditJson, checkMatch, commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { addList, timeRange } from '../../http/lists.ts';
import { affiliateFilter, owned, principalOf, programFilter } from '../../http/principal.ts';
import { camelKeys } from '../../schemas/camel-keys.ts';
import { integerId } from '../../schemas/ids.ts';
import { clickCap, passParameters, text, time, urlText } from '../../schemas/schemas.ts';
import { checkParties, linkFormatter, linkView, newLink } from '../link-view.ts';

const params = z.object({ id: integerId('link') });
const WHAT = 'link with this id';

const TAGS = ['links'];

export function addLinkRoutes(app: ApiServer, context: ApiContext): void {
  addReadRoutes(app, context);
  addChangeRoutes(app, context);
}

function addReadRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger, collectorUrl } = context;
  const formatLink = linkFormatter(collectorUrl);

  addList(app, context, {
    url: '/v1/links',
    operationId: 'listLinks',
    tags: TAGS,
    summary: 'Links, by id',
    config: { roles: ['operator', 'finance', 'fraud', 'affiliate'] },
    kind: 'link',
    list: LINK_LIST,
    filters: {
      program_id: integerId('program').optional(),
      campaign_id: integerId('campaign').optional(),
      affiliate_id: integerId('affiliate').optional(),
      status: z.enum(LINK_STATUSES).optional(),
      host: text(MAX_HOST_PATTERN_LENGTH)
        .optional()
        .meta({ description: 'A host that the link leads to, as listLinkedHosts names it.' }),
      ...timeRange,
    },
    view: linkView,
    read: async (page, { sql, principal, query: { program_id, campaign_id, affiliate_id, ...filters } }) =>
      await listLinks(sql, {
        ...page,
        ...filters,
        programId: programFilter(principal, program_id),
        campaignId: campaign_id,
        affiliateId: affiliateFilter(principal, affiliate_id),
      }),
    format: (links) => links.map(formatLink),
  });

  app.route({
    method: 'GET',
    url: '/v1/links/:id',
    config: { roles: ['operator', 'finance', 'fraud', 'affiliate'], problems: ['not_found'] },
    schema: { operationId: 'getLink', tags: TAGS, summary: 'One link', params, response: { 200: linkView } },
    handler: async (request, reply) => {
      const link = owned(principalOf(request), await getLink(ledger, request.params.id), WHAT);
      return withEtag(reply, formatLink(link));
    },
  });
}

function addChangeRoutes(app: ApiServer, context: ApiContext): void {
  const formatLink = linkFormatter(context.collectorUrl);

  app.route({
    method: 'POST',
    url: '/v1/links',
    config: { roles: ['operator', 'affiliate'], idempotent: true },
    schema: {
      operationId: 'createLink',
      tags: TAGS,
      summary: 'Create a tracking link; the collector serves it within a second',
      body: newLink,
      response: { 201: linkView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      return await commit(context, request, reply, async (tx) => {
        const link = await createLink(tx, await checkParties(tx, principal, request.body));
        const body = formatLink(link);
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
    config: { roles: ['operator'], idempotent: true, ifMatch: true, problems: ['not_found'] },
    schema: {
      operationId: 'updateLink',
      tags: TAGS,
      summary: 'Change or pause a link',
      params,
      body: z.strictObject({
        landing_url: urlText.exactOptional(),
        routing: routingSchema.nullable().exactOptional(),
        daily_click_cap: clickCap,
        pass_parameters: passParameters.nullable().exactOptional(),
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
      return withEtag(reply, changed);
    },
  });
}
