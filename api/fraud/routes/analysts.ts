import { z } from 'zod';
import { analystAddress } from '../../../core/config/analysts.ts';
import { analystUserStatements } from '../../../warehouse/analysts/statements.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf, programFilter } from '../../http/principal.ts';
import { formatId, idText, integerId } from '../../schemas/ids.ts';

const PASSWORD_OF_YOUR_OWN = 'a password of your own';

/**
 * How analysts reach ClickHouse. The password is one for all who analyse, so the API does not give it out: `afflux analyst`
 * prints it on the platform's machine.
 */
export function addAnalystRoute(app: ApiServer, { clickhouse }: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/analyst-access',
    config: { roles: ['operator', 'fraud'] },
    schema: {
      operationId: 'getAnalystAccess',
      tags: ['fraud'],
      summary: 'What to enter in Grafana, Metabase or a notebook to read ClickHouse; without the password',
      querystring: z.object({ program_id: integerId('program').optional() }),
      response: {
        200: z
          .object({
            program_id: idText('program').nullable().meta({ description: 'Null: every program.' }),
            url: z.string().meta({ description: 'The HTTP interface as the platform reaches it.' }),
            embedded: z.boolean().meta({
              description:
                'Whether it is the embedded one, which listens on the loopback interface of its machine only.',
            }),
            database: z.string(),
            user: z.string(),
            command: z.string().meta({ description: 'Prints the password, on the machine of the platform.' }),
            statements: z.array(z.string()).meta({
              description: 'Make the user in a ClickHouse server of your own; empty for the embedded one.',
            }),
          })
          .meta({ id: 'AnalystAccess' }),
      },
    },
    handler: async (request) => {
      const programId = programFilter(principalOf(request), request.query.program_id);
      const address = analystAddress(clickhouse, programId);
      const program = programId === undefined ? null : formatId('program', programId);
      return {
        ...address,
        program_id: program,
        embedded: clickhouse.isEmbedded,
        command: program === null ? 'npx afflux analyst' : `npx afflux analyst --program ${program}`,
        statements: clickhouse.isEmbedded
          ? []
          : analystUserStatements({
              ...address,
              programId,
              password: PASSWORD_OF_YOUR_OWN,
            }),
      };
    },
  });
}
