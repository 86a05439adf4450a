import { z } from 'zod';
import { MAX_REFERENCE_LENGTH } from '../../../core/text-limits.ts';
import { ROLES } from '../../../ledger/access/api-keys.ts';
import { ownEarnings } from '../../../ledger/books/earnings.ts';
import {
  CONVERSION_LIST,
  CONVERSION_REASONS,
  CONVERSION_STATES,
  CONVERSION_STATUSES,
  getConversion,
  listConversions,
} from '../../../ledger/conversions/conversions.ts';
import { withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { addList, timeRange } from '../../http/lists.ts';
import { affiliateFilter, owned, principalOf, programFilter } from '../../http/principal.ts';
import { Problem } from '../../http/problems.ts';
import { conversionView, formatConversion, SEE_EVIDENCE } from '../../orders/conversion-view.ts';
import { eventName, orderId } from '../../orders/order.ts';
import { partnerReasonView, readConversion, viewPartnerReasons } from '../../orders/order-reasons.ts';
import { bigintId, integerId } from '../../schemas/ids.ts';
import { formatMoney, moneyText, plain } from '../../schemas/schemas.ts';

const listedConversionView = conversionView
  .extend({
    own_commission: moneyText.nullable().meta({
      description:
        'What the affiliate of its click has earned by it: not what a review or the shop’s approval holds. For the affiliate, the operator, finance and the fraud team.',
    }),
    partner_reason: partnerReasonView,
  })
  .meta({ id: 'ListedConversion' });

const readConversionView = conversionView
  .extend({ partner_reason: partnerReasonView })
  .meta({ id: 'ReadConversion' });

const filters = {
  program_id: integerId('program').optional(),
  affiliate_id: integerId('affiliate').optional(),
  state: z.enum(CONVERSION_STATES).optional(),
  status: z.enum(CONVERSION_STATUSES).optional(),
  campaign_id: integerId('campaign').optional(),
  order_id: orderId.optional(),
  event_name: eventName.meta({ description: 'Of the events of the program; default: all.' }),
  click_id: plain(MAX_REFERENCE_LENGTH).optional().meta({ description: 'As the shop reported it.' }),
  reason: z.enum(CONVERSION_REASONS).optional().meta({ description: 'For the operator and the fraud team.' }),
  customer_id: plain(MAX_REFERENCE_LENGTH)
    .optional()
    .meta({ description: 'For the operator and the fraud team.' }),
  ...timeRange,
};

const tags = ['conversions'];

export function addConversionRoutes(app: ApiServer, context: ApiContext): void {
  addListRoute(app, context);
  addReadRoute(app, context);
}

function addListRoute(app: ApiServer, context: ApiContext): void {
  addList(app, context, {
    url: '/v1/conversions',
    operationId: 'listConversions',
    tags,
    summary: 'Conversions by any of their facts, the newest first; an affiliate sees those of its own clicks',
    config: { roles: ROLES },
    kind: 'conversion',
    list: CONVERSION_LIST,
    filters,
    view: listedConversionView,
    read: async (page, { sql, principal, query }) => {
      const { program_id, affiliate_id, campaign_id, order_id, click_id, customer_id, event_name, ...rest } =
        query;
      // A role that does not see these fields must not learn them by filtering either.
      if (!SEE_EVIDENCE.has(principal.role) && (rest.reason ?? customer_id) !== undefined) {
        throw new Problem('forbidden', {
          detail: `the role ${principal.role} is not permitted to search by reason or customer`,
        });
      }
      return await listConversions(sql, {
        ...page,
        ...rest,
        programId: programFilter(principal, program_id),
        affiliateId: affiliateFilter(principal, affiliate_id),
        campaignId: campaign_id,
        orderId: order_id,
        eventName: event_name,
        clickId: click_id,
        customerId: customer_id,
      });
    },
    format: async (conversions, principal, sql) => {
      const earned = await ownEarnings(
        sql,
        conversions.map(({ id }) => id),
      );
      const reasonOf = await viewPartnerReasons(sql, conversions);
      return conversions.map((conversion) => ({
        ...formatConversion(conversion, principal),
        partner_reason: reasonOf(conversion),
        own_commission:
          principal.role === 'advertiser' ? null : formatMoney(earned(conversion.id), conversion.currency),
      }));
    },
  });
}

function addReadRoute(app: ApiServer, { ledger }: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/conversions/:id',
    config: { roles: ROLES, problems: ['not_found'] },
    schema: {
      operationId: 'getConversion',
      tags,
      summary: 'One conversion, with why it was decided so',
      params: z.object({ id: bigintId('conversion') }),
      response: { 200: readConversionView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const found = await getConversion(ledger, request.params.id);
      const conversion = owned(principal, found, 'conversion with this id');
      return withEtag(reply, await readConversion(ledger, conversion, principal));
    },
  });
}
