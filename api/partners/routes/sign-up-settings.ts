import { z } from 'zod';
import {
  changeSignUpPage,
  getSignUpPage,
  MAX_CONDITIONS_LENGTH,
  MAX_SLUG_LENGTH,
  type SignUpPage,
} from '../../../ledger/partners/sign-up.ts';
import type { DatabaseSql } from '../../../ledger/postgres/db.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { getProgram } from '../../../ledger/programs/programs.ts';
import { checkMatch, commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { inProgram, type Principal, principalOf } from '../../http/principal.ts';
import { formatId, idText, integerId } from '../../schemas/ids.ts';
import { lines, text } from '../../schemas/schemas.ts';
import { questionsInput, questionView } from '../question-input.ts';
import { conditionsView } from './sign-up.ts';

/** The sign-up page as the operator sets it. */

const params = z.object({ id: integerId('program') });

const settingsView = z
  .object({
    program_id: idText('program'),
    open: z.boolean().meta({ description: 'Whether the page takes applications.' }),
    slug: z.string().nullable().meta({ description: 'The end of its address; null: none was chosen yet.' }),
    url: z.string().nullable(),
    questions: z.array(questionView),
    conditions: conditionsView,
  })
  .meta({ id: 'SignUpSettings' });

const changes = z.strictObject({
  open: z.boolean().exactOptional(),
  slug: text(MAX_SLUG_LENGTH)
    .regex(/^[a-z0-9][a-z0-9-]{1,62}[a-z0-9]$/, 'must be 3 to 64 lower-case letters, digits and hyphens')
    .exactOptional()
    .meta({ examples: ['my-shop'] }),
  questions: questionsInput.exactOptional(),
  conditions: lines(MAX_CONDITIONS_LENGTH).nullable().exactOptional().meta({
    description: 'A text that differs from the one in force is a new version; null: none from now on.',
  }),
});

/** @throws Problem `not_found` for the program of another. */
export async function visibleProgram(sql: DatabaseSql, principal: Principal, id: number): Promise<number> {
  const program = await getProgram(sql, id);
  inProgram(principal, program && { programId: program.id }, 'program with this id');
  return id;
}

export function addSignUpSettingsRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger, portalUrl } = context;
  const tags = ['programs'];

  function format({ programId, slug, questions, ...page }: SignUpPage): z.output<typeof settingsView> {
    return {
      program_id: formatId('program', programId),
      open: page.open,
      slug,
      url: slug === null ? null : `${portalUrl}/portal/join/${slug}`,
      questions: questions.map((one) => ({ ...one, choices: [...one.choices] })),
      conditions: page.conditions,
    };
  }

  app.route({
    method: 'GET',
    url: '/v1/programs/:id/sign-up',
    config: { roles: ['operator'], problems: ['not_found'] },
    schema: {
      operationId: 'getSignUpSettings',
      tags,
      summary: 'The sign-up page of a program, as it is set',
      params,
      response: { 200: settingsView },
    },
    handler: async (request, reply) => {
      const id = await visibleProgram(ledger, principalOf(request), request.params.id);
      return withEtag(reply, format(await getSignUpPage(ledger, id)));
    },
  });

  app.route({
    method: 'PATCH',
    url: '/v1/programs/:id/sign-up',
    config: {
      roles: ['operator'],
      idempotent: true,
      ifMatch: true,
      problems: ['not_found'],
      example: { open: true, slug: 'my-shop' },
    },
    schema: {
      operationId: 'changeSignUpSettings',
      tags,
      summary: 'Open or close the sign-up page, and set its questions and conditions',
      params,
      body: changes,
      response: { 200: settingsView },
    },
    handler: async (request, reply) => {
      const { id: programId } = request.params;
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'programs', programId);
        await visibleProgram(tx, principalOf(request), programId);
        const before = format(await getSignUpPage(tx, programId));
        checkMatch(request, before);
        const body = format(await changeSignUpPage(tx, { programId, changes: request.body }));
        const audit = { action: 'sign_up.update', subject: body.program_id, before, after: body };
        return { body, audit };
      });
      return withEtag(reply, changed);
    },
  });
}
