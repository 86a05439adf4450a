import { z } from 'zod';
import { ROLES } from '../../ledger/api-keys.ts';
import {
  CONVERSION_STATES,
  CONVERSION_STATUSES,
  getConversion,
  listConversions,
} from '../../ledger/conversions.ts';
import type { ApiContext, ApiServer } from '../context.ts';
import { conversionView, formatConversion } from '../conversion-view.ts';
import { bigintId, integerId } from '../ids.ts';
import { affiliateFilter, owned, principalOf, programFilter } from '../principal.ts';
import { bigintPageQuery, formatPage, pageOf, pageRequest } from '../schemas.ts';

export function addConversionRoutes(app: ApiServer, { ledger }: ApiContext): void {
  const tags = ['conversions'];

  app.route({
    method: 'GET',
    url: '/v1/conversions',
    config: { roles: ROLES },
    schema: {
      operationId: 'listConversions',
      tags,
      summary: 'Conversions, the newest first; an affiliate sees those of its own clicks',
      querystring: z.object({
        ...bigintPageQuery('conversion'),
        program_id: integerId('program').optional(),
        affiliate_id: integerId('affiliate').optional(),
        state: z.enum(CONVERSION_STATES).optional(),
        status: z.enum(CONVERSION_STATUSES).optional(),
      }),
      response: { 200: pageOf(conversionView) },
    },
    handler: async (request) => {
      const principal = principalOf(request);
      const { program_id, affiliate_id, state, status } = request.query;
      const page = await listConversions(ledger, {
        ...pageRequest(request.query),
        programId: programFilter(principal, program_id),
        affiliateId: affiliateFilter(principal, affiliate_id),
        state,
        status,
      });
      return formatPage('conversion', page, (conversion) => formatConversion(conversion, principal));
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/conversions/:id',
    config: { roles: ROLES, problems: ['not_found'] },
    schema: {
      operationId: 'getConversion',
      tags,
      summary: 'One conversion, with why it was decided so',
      params: z.object({ id: bigintId('conversion') }),
      response: { 200: conversionView },
    },
    handler: async (request) => {
      const principal = principalOf(request);
      const conversion = await getConversion(ledger, request.params.id);
      return formatConversion(owned(principal, conversion, 'conversion with this id'), principal);
    },
  });
}
