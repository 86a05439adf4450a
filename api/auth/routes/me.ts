import { z } from 'zod';
import { ROLES } from '../../../ledger/access/api-keys.ts';
import type { ApiServer } from '../../http/context.ts';
import { principalOf } from '../../http/principal.ts';
import { formatOptionalId, idText } from '../../schemas/ids.ts';

/** Tells a key what it is. */
export function addMeRoute(app: ApiServer): void {
  app.route({
    method: 'GET',
    url: '/v1/me',
    config: { roles: ROLES },
    schema: {
      operationId: 'getMe',
      tags: ['keys'],
      summary: 'Who is asking: a key or a signed-in user',
      response: {
        200: z.object({
          key_id: idText('apiKey').nullable().meta({ description: 'Null for a user of the portal.' }),
          user_id: idText('user').nullable(),
          scopes: z.array(z.string()).nullable().meta({ description: 'Null: all that the role may do.' }),
          name: z.string(),
          role: z.enum(ROLES),
          program_id: idText('program').nullable().meta({ description: 'Null: every program.' }),
          affiliate_id: idText('affiliate').nullable(),
        }),
      },
    },
    handler: async (request) => {
      const principal = principalOf(request);
      return {
        key_id: formatOptionalId('apiKey', principal.keyId),
        user_id: formatOptionalId('user', principal.userId),
        scopes: principal.scopes === null ? null : [...principal.scopes],
        name: principal.name,
        role: principal.role,
        program_id: formatOptionalId('program', principal.programId),
        affiliate_id: formatOptionalId('affiliate', principal.affiliateId),
      };
    },
  });
}
