import { createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { MAX_EMAIL_LENGTH } from '../../../core/text-limits.ts';
import { appendAuditLog } from '../../../ledger/access/audit-log.ts';
import { normalEmail } from '../../../ledger/access/users.ts';
import {
  confirmApplication,
  getUnconfirmed,
  isKnownAddress,
  keepApplication,
} from '../../../ledger/partners/applications.ts';
import {
  findOpenPage,
  getConditions,
  MAX_SLUG_LENGTH,
  type SignUpPage,
} from '../../../ledger/partners/sign-up.ts';
import { inTransaction } from '../../../ledger/postgres/db.ts';
import { checkEmail } from '../../../ledger/postgres/input-faults.ts';
import { getProgram } from '../../../ledger/programs/programs.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { invalidField, notFound, Problem } from '../../http/problems.ts';
import { queueProgramMail } from '../../mails/program-mails.ts';
import { formatId } from '../../schemas/ids.ts';
import { nameText, plain, text } from '../../schemas/schemas.ts';
import { limitApplications } from '../limits.ts';
import { answersInput, questionView, readAnswers } from '../question-input.ts';

/** The sign-up page as applicants see it: what it asks, an application, and the confirmation of its address. */

const TOKEN_BYTES = 32;
const MAX_TOKEN_LENGTH = 100;
const MAX_VERSION = 1_000_000;

const params = z.object({ slug: text(MAX_SLUG_LENGTH) });

export const conditionsView = z
  .object({ version: z.int(), text: z.string() })
  .nullable()
  .meta({ description: 'Of participation; null: there are none.' });

const pageView = z
  .object({
    program: z.string(),
    questions: z.array(questionView),
    conditions: conditionsView,
  })
  .meta({ id: 'SignUpPage' });

const unconfirmedView = z
  .object({
    program: z.string(),
    name: z.string(),
    email: z.string(),
    country: z.string().nullable(),
    answers: z.array(z.object({ label: z.string(), answer: z.string() })),
    conditions: conditionsView,
  })
  .meta({ id: 'UnconfirmedApplication' });

const application = z.strictObject({
  name: nameText,
  email: plain(MAX_EMAIL_LENGTH)
    .regex(/^[^\s@]+@[^\s@]+$/, 'must be an e-mail address')
    .meta({ examples: ['ann@example.com'] }),
  country: z
    .string()
    .regex(/^[A-Z]{2}$/, 'must be an ISO 3166 code such as DE')
    .optional()
    .meta({ examples: ['DE'] }),
  answers: answersInput,
  conditions_version: z.int().min(1).max(MAX_VERSION).optional().meta({
    description:
      'The version that the applicant has read: that in force. It is accepted with the confirmation. Left out where there are none.',
  }),
});

export function hashOfToken(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

export function addSignUpRoutes(app: ApiServer, context: ApiContext): void {
  const tags = ['affiliates'];

  app.route({
    method: 'GET',
    url: '/v1/sign-up/:slug',
    config: { roles: 'public', problems: ['not_found'] },
    schema: {
      operationId: 'getSignUpPage',
      tags,
      summary: 'What the sign-up page of a program asks',
      params,
      response: { 200: pageView },
    },
    handler: async (request) => {
      const { programName, questions, conditions } = await openPage(context, request.params.slug);
      const asked = questions.map((one) => ({ ...one, choices: [...one.choices] }));
      return { program: programName, questions: asked, conditions };
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/sign-up/:slug',
    config: { roles: 'public', problems: ['not_found'], example: { name: 'Ann', email: 'ann@example.com' } },
    schema: {
      operationId: 'applyToProgram',
      tags,
      summary: 'Apply as a partner: a mail has the link that confirms the address',
      description:
        'The answer is the same for every address. One that has an account or an application gets a mail that says so. An address that is applied with several times gets further mails later, one in six hours.',
      params,
      body: application,
      response: { 202: z.object({ requested: z.literal(true) }) },
    },
    handler: async (request, reply) => {
      const page = await openPage(context, request.params.slug);
      await apply(context, { page, ip: request.visitorIp, given: request.body });
      return reply.code(202).send({ requested: true as const });
    },
  });

  addConfirmRoutes(app, context);
}

function addConfirmRoutes(app: ApiServer, context: ApiContext): void {
  const tags = ['affiliates'];
  const body = z.strictObject({ token: text(MAX_TOKEN_LENGTH) });

  app.route({
    method: 'POST',
    url: '/v1/applications/unconfirmed',
    config: { roles: 'public' },
    schema: {
      operationId: 'readUnconfirmedApplication',
      tags,
      summary: 'What the application says that the token of a mail would confirm; nothing is done',
      description: 'Anybody can apply with the address of another: its owner reads it before confirming it.',
      body,
      response: { 200: unconfirmedView },
    },
    handler: async (request) => await readUnconfirmed(context, request.body.token),
  });

  app.route({
    method: 'POST',
    url: '/v1/applications/confirm',
    config: { roles: 'public', problems: ['limit_reached'] },
    schema: {
      operationId: 'confirmApplication',
      tags,
      summary: 'Confirm an application by the token of its mail, once; its conditions are accepted by it',
      body,
      response: { 200: z.object({ program: z.string() }) },
    },
    handler: async (request) => await confirm(context, request.body.token),
  });
}

async function openPage({ ledger }: ApiContext, slug: string) {
  const page = await findOpenPage(ledger, slug);
  if (!page) throw notFound('sign-up page with this address, or it is closed');
  return page;
}

/** @throws Problem `rate_limited`, `invalid_input`; InputError. */
async function apply(
  context: ApiContext,
  applied: { page: SignUpPage; ip: string | null; given: z.output<typeof application> },
): Promise<void> {
  const { page, ip, given } = applied;
  const { programId, conditions } = page;
  const version = conditions?.version ?? null;
  if ((given.conditions_version ?? null) !== version) {
    const wanted = version === null ? 'there are no conditions' : `must be ${version}, which is in force`;
    throw invalidField('conditions_version', `${wanted}: read the page again`);
  }
  const answers = readAnswers(page.questions, given.answers);
  const email = normalEmail(given.email);
  // Lower case can be longer.
  checkEmail(email, 'email');
  await inTransaction(context.ledger, async (tx) => {
    const waitSeconds = await limitApplications(tx, { programId, ip, email });
    // What the mail says shows in no answer.
    if (await isKnownAddress(tx, { programId, email })) {
      const values = { link: `${context.portalUrl}/portal/forgotten` };
      await queueProgramMail(tx, context, {
        programId,
        kind: 'known_address',
        to: email,
        values,
        waitSeconds,
      });
      return;
    }
    const token = randomBytes(TOKEN_BYTES).toString('base64url');
    const { name, country = null } = given;
    const tokenHash = hashOfToken(token);
    await keepApplication(tx, {
      programId,
      name,
      email,
      country,
      answers,
      conditionsVersion: version,
      tokenHash,
      mailedAt: new Date(Date.now() + waitSeconds * 1_000),
    });
    const link = `${context.portalUrl}/portal/confirm?token=${token}`;
    await queueProgramMail(tx, context, {
      programId,
      kind: 'confirm_application',
      to: email,
      values: { link },
      waitSeconds,
    });
  });
}

const badToken = () => invalidField('token', 'is invalid, expired or already used');

/** @throws Problem `invalid_input` naming `token`. */
async function readUnconfirmed(
  { ledger }: ApiContext,
  token: string,
): Promise<z.output<typeof unconfirmedView>> {
  const found = await getUnconfirmed(ledger, { tokenHash: hashOfToken(token), now: new Date() });
  if (!found) throw badToken();
  const { programId, name, email, country, answers, conditionsVersion: version } = found;
  const program = await getProgram(ledger, programId);
  const conditions = version === null ? undefined : await getConditions(ledger, { programId, version });
  return {
    program: program?.name ?? '',
    name,
    email,
    country,
    answers: answers.map(({ label, answer }) => ({ label, answer })),
    conditions: conditions ?? null,
  };
}

/** @throws Problem `invalid_input` naming `token`, `limit_reached`; InputError. */
async function confirm({ ledger }: ApiContext, token: string): Promise<{ program: string }> {
  return await inTransaction(ledger, async (tx) => {
    const confirmed = await confirmApplication(tx, { tokenHash: hashOfToken(token), now: new Date() });
    if (!confirmed) throw badToken();
    if (confirmed === 'full') {
      throw new Problem('limit_reached', {
        detail: 'more applications than can wait are here already: try again later, the link stays valid',
      });
    }
    const subject = formatId('application', confirmed.id);
    await appendAuditLog(tx, { actor: 'applicant', action: 'application.confirm', subject });
    const program = await getProgram(tx, confirmed.programId);
    return { program: program?.name ?? '' };
  });
}
