import { z } from 'zod';
import { type Conversion, getConversion } from '../../../ledger/conversions/conversions.ts';
import {
  approveConversion,
  confirmConversion,
  rejectConversion,
  type Verdict,
} from '../../../ledger/decisions/reviews.ts';
import { inTransaction, type LedgerTransaction } from '../../../ledger/postgres/db.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { inProgram, type Principal, principalOf } from '../../http/principal.ts';
import { notFound, Problem } from '../../http/problems.ts';
import { conversionView, formatConversion } from '../../orders/conversion-view.ts';
import { bigintId } from '../../schemas/ids.ts';
import { text } from '../../schemas/schemas.ts';

const MAX_NOTE_CHARS = 2_000;
const WHAT = 'conversion with this id';

const params = z.object({ id: bigintId('conversion') });
const note = z.strictObject({
  note: text(MAX_NOTE_CHARS).meta({ description: 'Why; it stays in the audit log.' }),
});

/** What people decide about conversions. */
export function addReviewRoutes(app: ApiServer, { ledger }: ApiContext): void {
  const tags = ['conversions'];
  const response = { 200: conversionView };

  async function decide(
    principal: Principal,
    id: bigint,
    work: (tx: LedgerTransaction) => Promise<Verdict>,
  ): Promise<Conversion> {
    return await inTransaction(ledger, async (tx) => {
      inProgram(principal, await getConversion(tx, id), WHAT);
      const verdict = await work(tx);
      if (verdict.outcome === 'not_found') throw notFound(WHAT);
      if (verdict.outcome === 'wrong_state') {
        throw new Problem('wrong_state', {
          detail: `the conversion is ${verdict.state}`,
          members: { state: verdict.state },
        });
      }
      return inProgram(principal, await getConversion(tx, id), WHAT);
    });
  }

  app.route({
    method: 'POST',
    url: '/v1/conversions/:id/approve',
    config: { roles: ['operator', 'fraud'], problems: ['not_found', 'wrong_state'] },
    schema: {
      operationId: 'approveConversion',
      tags,
      summary: 'Credit a conversion in review',
      params,
      body: note,
      response,
    },
    handler: async (request) => {
      const principal = principalOf(request);
      const { id } = request.params;
      const conversion = await decide(principal, id, (tx) =>
        approveConversion(tx, { conversionId: id, reviewer: principal.actor, note: request.body.note }),
      );
      return formatConversion(conversion, principal);
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/conversions/:id/reject',
    config: { roles: ['operator', 'fraud'], problems: ['not_found', 'wrong_state'] },
    schema: {
      operationId: 'rejectConversion',
      tags,
      summary: 'Reject a conversion in review',
      params,
      body: note,
      response,
    },
    handler: async (request) => {
      const principal = principalOf(request);
      const { id } = request.params;
      const conversion = await decide(principal, id, (tx) =>
        rejectConversion(tx, { conversionId: id, reviewer: principal.actor, note: request.body.note }),
      );
      return formatConversion(conversion, principal);
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/conversions/:id/confirm',
    config: { roles: ['operator'], problems: ['not_found', 'wrong_state'] },
    schema: {
      operationId: 'confirmConversion',
      tags,
      summary: 'End the hold of an attributed conversion: its commissions are available now',
      params,
      response,
    },
    handler: async (request) => {
      const principal = principalOf(request);
      const { id } = request.params;
      const conversion = await decide(principal, id, (tx) =>
        confirmConversion(tx, { conversionId: id, actor: principal.actor, now: new Date() }),
      );
      return formatConversion(conversion, principal);
    },
  });
}
