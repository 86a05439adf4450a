import { z } from 'zod';
import { getProgram } from '../../../ledger/programs/programs.ts';
import { SETUP_STEP_NAMES, setupSteps } from '../../../ledger/setup/steps.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf } from '../../http/principal.ts';
import { notFound } from '../../http/problems.ts';
import { formatId, idText, integerId } from '../../schemas/ids.ts';

const setupView = z
  .object({
    program_id: idText('program'),
    complete: z.boolean().meta({ description: 'Every required step is done.' }),
    steps: z.array(
      z.object({
        name: z.enum(SETUP_STEP_NAMES),
        text: z.string(),
        required: z.boolean().meta({ description: 'Without it nothing is credited or paid.' }),
        done: z.boolean(),
      }),
    ),
  })
  .meta({ id: 'ProgramSetup' });

/** What a program still needs, as `afflux programs show` prints it. */
export function addSetupStepsRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/programs/:id/setup',
    config: { roles: ['operator'], problems: ['not_found'] },
    schema: {
      operationId: 'getProgramSetup',
      tags: ['programs'],
      summary:
        'What a program has and lacks until its first partner is paid, in the order in which it is set up',
      params: z.object({ id: integerId('program') }),
      response: { 200: setupView },
    },
    handler: async (request) => {
      const { programId } = principalOf(request);
      const { id } = request.params;
      const program =
        programId === null || programId === id ? await getProgram(context.ledger, id) : undefined;
      if (!program) throw notFound('program with this id');
      const steps = await setupSteps(context.ledger, program, context);
      return {
        program_id: formatId('program', id),
        complete: steps.every(({ required, done }) => done || !required),
        steps,
      };
    },
  });
}
