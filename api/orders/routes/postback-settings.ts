import { z } from 'zod';
import { isNetwork } from '../../../core/ip.ts';
import {
  getPostbackSettings,
  type PostbackSettings,
  setPostbackSettings,
} from '../../../ledger/integrations/postback-settings.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { getProgram } from '../../../ledger/programs/programs.ts';
import { checkMatch, commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { type Principal, principalOf } from '../../http/principal.ts';
import { notFound } from '../../http/problems.ts';
import { formatId, idText, integerId } from '../../schemas/ids.ts';
import { text } from '../../schemas/schemas.ts';
import { MAX_PARAMETER_NAME_LENGTH } from '../call-log.ts';
import { parameterMapping, type ShopWords } from '../shop-settings.ts';

const MAX_PARAMETERS = 50;
const MAX_NETWORKS = 200;

/** An address, or a network by any address in it. */
const network = z
  .string()
  .max(64)
  .refine(isNetwork, 'must be an address or a network such as 192.0.2.0/24')
  .meta({ examples: ['192.0.2.0/24'] });

const shape = {
  parameters: z
    .record(text(MAX_PARAMETER_NAME_LENGTH), parameterMapping)
    .refine((names) => Object.keys(names).length <= MAX_PARAMETERS, `must not exceed ${MAX_PARAMETERS} names`)
    .meta({
      description:
        'Your name of a parameter to ours, so that other trackers’ names work; or to ours as field with how its values are written, as mappings of sources say it: then JSON numbers and Unix times are read too.',
      examples: [{ transaction_id: 'order_id', sum: { field: 'amount', decimal: ',' }, aff_sub: 'click_id' }],
    }),
  allowed_ips: z
    .array(network)
    .max(MAX_NETWORKS)
    .meta({ description: 'Empty: calls may come from anywhere.' }),
  require_signature: z.boolean().meta({ description: 'Only calls that are signed are taken.' }),
  pixel: z.boolean().meta({
    description: 'Whether browsers may report orders by /pixel. Anybody who sees the page can imitate that.',
  }),
};

const view = z
  .object({
    program_id: idText('program'),
    ...shape,
    parameters: z.record(z.string(), parameterMapping),
  })
  .meta({ id: 'PostbackSettings' });
const params = z.object({ id: integerId('program') });

function format(settings: PostbackSettings): z.output<typeof view> {
  return {
    program_id: formatId('program', settings.programId),
    // They were read by the same schema when they were set.
    parameters: { ...(settings.parameters as ShopWords['parameters']) },
    allowed_ips: [...settings.allowedIps],
    require_signature: settings.requireSignature,
    pixel: settings.pixel,
  };
}

/** How a program's shop may report orders. */
export function addPostbackSettingsRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;
  const tags = ['shops'];
  const url = '/v1/programs/:id/postback-settings';
  const roles = ['operator', 'advertiser'] as const;

  async function checkVisible(principal: Principal, id: number): Promise<void> {
    const foreign = principal.programId !== null && principal.programId !== id;
    if (foreign || !(await getProgram(ledger, id))) throw notFound('program with this id');
  }

  app.route({
    method: 'GET',
    url,
    config: { roles, problems: ['not_found'] },
    schema: {
      operationId: 'getPostbackSettings',
      tags,
      summary: 'How a program’s shop reports orders',
      params,
      response: { 200: view },
    },
    handler: async (request, reply) => {
      const { id } = request.params;
      await checkVisible(principalOf(request), id);
      return withEtag(reply, format(await getPostbackSettings(ledger, id)));
    },
  });

  app.route({
    method: 'PUT',
    url,
    config: { roles, idempotent: true, ifMatch: true, problems: ['not_found'] },
    schema: {
      operationId: 'setPostbackSettings',
      tags,
      summary: 'Set how a program’s shop reports orders; in force within a second',
      params,
      body: z.strictObject({
        parameters: shape.parameters.default({}),
        allowed_ips: shape.allowed_ips.default([]),
        require_signature: shape.require_signature.default(false),
        pixel: shape.pixel.default(false),
      }),
      response: { 200: view },
    },
    handler: async (request, reply) => {
      const { id: programId } = request.params;
      await checkVisible(principalOf(request), programId);
      const { parameters, allowed_ips, require_signature, pixel } = request.body;
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'programs', programId);
        const before = format(await getPostbackSettings(tx, programId));
        checkMatch(request, before);
        await setPostbackSettings(tx, {
          programId,
          parameters,
          allowedIps: allowed_ips,
          requireSignature: require_signature,
          pixel,
        });
        const after = format(await getPostbackSettings(tx, programId));
        const audit = { action: 'postback_settings.set', subject: after.program_id, before, after };
        return { body: after, audit };
      });
      return withEtag(reply, changed);
    },
  });
}
