import { z } from 'zod';
import { MAX_EMAIL_LENGTH } from '../../../core/text-limits.ts';
import { eraseCustomer, findCustomer } from '../../../ledger/audit/erase.ts';
import { inTransaction } from '../../../ledger/postgres/db.ts';
import { eraseAddress } from '../../../warehouse/audit/erase.ts';
import { requireRecentSignIn } from '../../auth/recent-sign-in.ts';
import { answerOnce } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf, programRequired } from '../../http/principal.ts';
import { formatId, idText, integerId } from '../../schemas/ids.ts';
import { plain } from '../../schemas/schemas.ts';

const body = z.strictObject({
  program_id: integerId('program').optional(),
  customer: plain(MAX_EMAIL_LENGTH).meta({
    description: "The shop's id of the customer, the e-mail address, or its hash as `sha256:` and 64 digits.",
  }),
});

const erasureView = z
  .object({
    program_id: idText('program'),
    conversions: z.int().meta({ description: 'Orders that say no longer whose they are.' }),
    addresses: z.int().meta({ description: 'IP addresses whose clicks were erased.' }),
  })
  .meta({ id: 'CustomerErasure' });

/** Removes who a customer was. */
export function addCustomerRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger, warehouse } = context;
  app.route({
    method: 'POST',
    url: '/v1/customers/erase',
    config: {
      roles: ['operator'],
      // As for erasing an affiliate: a key that reports orders erases no one.
      scopes: ['affiliates:write'],
      idempotent: true,
      problems: ['wrong_state', 'reauthentication_required'],
      example: { customer: 'cus_1' },
    },
    schema: {
      operationId: 'eraseCustomer',
      tags: ['conversions'],
      summary: 'Remove who a customer was; the orders and the books stay',
      description:
        'Ids, addresses, user agents and the evidence of the orders go, for good, with the clicks of the IP addresses found there and what was reported in calls. Repeating it erases what is left, which may be nothing. Refused while one of the orders is not decided. A key with scopes needs `affiliates:write` beside `conversions:write`.',
      body,
      response: { 200: erasureView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      requireRecentSignIn(request);
      const programId = programRequired(principal, request.body.program_id);
      return await answerOnce(context, request, reply, async () => {
        const customer = await findCustomer(ledger, { programId, named: request.body.customer });
        const { conversionIds, addresses } = customer;
        // Before the orders, which alone say what they are: what a crash leaves is found again.
        for (const address of addresses) await eraseAddress(warehouse, address);
        await inTransaction(ledger, (tx) => eraseCustomer(tx, { customer, actor: principal.actor }));
        return {
          body: {
            program_id: formatId('program', programId),
            conversions: conversionIds.length,
            addresses: addresses.length,
          },
        };
      });
    },
  });
}
