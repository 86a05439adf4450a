import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { MAX_CODE_LENGTH, MAX_NOTE_LENGTH } from '../../../core/text-limits.ts';
import { appendAuditLog } from '../../../ledger/access/audit-log.ts';
import { findUserByEmail } from '../../../ledger/access/users.ts';
import {
  APPLICATION_STATES,
  type Application,
  decideApplication,
  getApplication,
  listApplications,
  removeApplication,
} from '../../../ledger/partners/applications.ts';
import { getConditions } from '../../../ledger/partners/sign-up.ts';
import { similarAffiliates } from '../../../ledger/partners/similar.ts';
import type { DatabaseSql, DatabaseTransaction } from '../../../ledger/postgres/db.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { AFFILIATE_STATUSES, createAffiliate, getAffiliate } from '../../../ledger/programs/affiliates.ts';
import { freeRefCode } from '../../../ledger/programs/ref-codes.ts';
import { checkMayCreateUsers } from '../../auth/grants.ts';
import { invitationLinkText } from '../../auth/user-view.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { inProgram, principalOf, programFilter } from '../../http/principal.ts';
import { invalidField, wrongState } from '../../http/problems.ts';
import { queueProgramMail } from '../../mails/program-mails.ts';
import { affiliateView, formatAffiliate, visibleAffiliate } from '../../programs/affiliate-view.ts';
import { welcomePartner } from '../../programs/partner-logins.ts';
import { formatId, formatOptionalId, idText, integerId } from '../../schemas/ids.ts';
import {
  formatOptionalTime,
  formatPage,
  formatTime,
  lines,
  pageOf,
  pageQuery,
  pageRequest,
  plain,
  timeText,
} from '../../schemas/schemas.ts';
import { conditionsView } from './sign-up.ts';

/** Applications of partners, and what an operator decides about them. */

const WHAT = 'application with this id';
const TAGS = ['affiliates'];
const params = z.object({ id: integerId('application') });
/** As many as a page of the portal shows. */
const MAX_AT_ONCE = 100;
const note = lines(MAX_NOTE_LENGTH).meta({
  description:
    'Part of the mail, and kept with the application; that of an approval also with the new affiliate in the audit log.',
});

const applicationView = z
  .object({
    id: idText('application'),
    program_id: idText('program'),
    state: z.enum(APPLICATION_STATES),
    name: z.string(),
    email: z.string().meta({ description: 'Confirmed by the link of a mail.' }),
    country: z.string().nullable().meta({ description: 'As the applicant says.' }),
    answers: z.array(z.object({ label: z.string(), answer: z.string() })),
    conditions_version: z
      .int()
      .nullable()
      .meta({ description: 'Accepted at confirmed_at; null: there were none.' }),
    applied_at: timeText,
    confirmed_at: timeText,
    decided_at: timeText.nullable(),
    decided_by: z.string().nullable(),
    note: z.string().nullable(),
    affiliate_id: idText('affiliate').nullable(),
  })
  .meta({ id: 'Application' });

const similarView = z
  .array(
    z.object({
      affiliate_id: idText('affiliate'),
      name: z.string(),
      status: z.enum(AFFILIATE_STATUSES),
      same: z.array(z.enum(['mailbox', 'payout_account'])),
    }),
  )
  .meta({ description: 'Affiliates of the program that may be the same person.' });

const detailView = applicationView
  .extend({ conditions: conditionsView, similar: similarView })
  .meta({ id: 'ApplicationDetails' });

function formatApplication(application: Application): z.output<typeof applicationView> {
  return {
    id: formatId('application', application.id),
    program_id: formatId('program', application.programId),
    state: application.state,
    name: application.name,
    email: application.email,
    country: application.country,
    answers: application.answers.map(({ label, answer }) => ({ label, answer })),
    conditions_version: application.conditionsVersion,
    applied_at: formatTime(application.appliedAt),
    confirmed_at: formatTime(application.confirmedAt),
    decided_at: formatOptionalTime(application.decidedAt),
    decided_by: application.decidedBy,
    note: application.note,
    affiliate_id: formatOptionalId('affiliate', application.affiliateId),
  };
}

async function formatSimilar(
  sql: DatabaseSql,
  of: { programId: number; email: string; affiliateId: number | undefined },
): Promise<z.output<typeof similarView>> {
  const found = await similarAffiliates(sql, of);
  return found.map(({ id, same, ...rest }) => ({
    affiliate_id: formatId('affiliate', id),
    ...rest,
    same: [...same],
  }));
}

export function addApplicationRoutes(app: ApiServer, context: ApiContext): void {
  addReadRoutes(app, context);
  addApproveRoute(app, context);
  addEndRoutes(app, context);
  addBulkRoutes(app, context);
}

function addReadRoutes(app: ApiServer, { ledger }: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/applications',
    config: { roles: ['operator'] },
    schema: {
      operationId: 'listApplications',
      tags: TAGS,
      summary: 'Applications of partners whose address is confirmed, by id',
      querystring: z.object({
        ...pageQuery('application'),
        program_id: integerId('program').optional(),
        state: z.enum(APPLICATION_STATES).optional(),
      }),
      response: { 200: pageOf(applicationView) },
    },
    handler: async (request) => {
      const { program_id, state } = request.query;
      const programId = programFilter(principalOf(request), program_id);
      const page = await listApplications(ledger, { ...pageRequest(request.query), programId, state });
      return formatPage('application', page, formatApplication);
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/applications/:id',
    config: { roles: ['operator'], problems: ['not_found'] },
    schema: {
      operationId: 'getApplication',
      tags: TAGS,
      summary:
        'One application, with the conditions that were accepted and affiliates that may be the same person',
      params,
      response: { 200: detailView },
    },
    handler: async (request) => {
      const found = await getApplication(ledger, request.params.id);
      const application = inProgram(principalOf(request), found, WHAT);
      const { programId, conditionsVersion: version } = application;
      const conditions = version === null ? undefined : await getConditions(ledger, { programId, version });
      return {
        ...formatApplication(application),
        conditions: conditions ?? null,
        similar: await formatSimilar(ledger, {
          programId,
          email: application.email,
          affiliateId: application.affiliateId ?? undefined,
        }),
      };
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/affiliates/:id/similar',
    config: { roles: ['operator', 'finance', 'fraud'], problems: ['not_found'] },
    schema: {
      operationId: 'listSimilarAffiliates',
      tags: TAGS,
      summary:
        'Affiliates of the program with the same mailbox or payout account: a reason to look, no proof',
      params: z.object({ id: integerId('affiliate') }),
      response: { 200: z.object({ data: similarView }) },
    },
    handler: async (request) => {
      const found = await getAffiliate(ledger, request.params.id);
      const { id, programId, email } = visibleAffiliate(principalOf(request), found);
      return { data: await formatSimilar(ledger, { programId, email, affiliateId: id }) };
    },
  });
}

const config = { roles: ['operator'], idempotent: true } as const;

function addApproveRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/applications/:id/approve',
    config: { ...config, problems: ['not_found', 'wrong_state', 'reauthentication_required'], example: {} },
    schema: {
      operationId: 'approveApplication',
      tags: TAGS,
      summary: 'Make the applicant an active affiliate with a login, and mail the link to set its password',
      params,
      body: z.strictObject({
        ref_code: plain(MAX_CODE_LENGTH).optional().meta({ description: 'Default: made of the name.' }),
        parent_id: integerId('affiliate').optional(),
        note: note.optional(),
      }),
      response: {
        201: z.object({
          application: applicationView,
          affiliate: affiliateView,
          invitation_link: invitationLinkText,
        }),
      },
    },
    handler: async (request, reply) => {
      const { ref_code: refCode, parent_id: parentId, note: given } = request.body;
      checkMayCreateUsers(principalOf(request));
      return await commit(context, request, reply, async (tx) => {
        const { id, programId, name, email } = await pendingApplication(tx, request, request.params.id);
        if (await findUserByEmail(tx, email)) {
          throw invalidField(
            'email',
            'belongs to another user by now: reject the application, or invite another address',
          );
        }
        const affiliate = await createAffiliate(tx, {
          programId,
          refCode: refCode ?? (await freeRefCode(tx, { programId, name })),
          name,
          email,
          parentId,
          status: 'active',
        });
        const decided = await decideApplication(tx, {
          id,
          state: 'approved',
          affiliateId: affiliate.id,
          actor: principalOf(request).actor,
          note: given ?? null,
        });
        if (!decided) throw wrongState('application', 'decided already');
        const made = formatAffiliate(affiliate);
        const after = given === undefined ? made : { ...made, note: given };
        const { actor } = principalOf(request);
        await appendAuditLog(tx, { actor, action: 'affiliate.create', subject: made.id, after });
        const link = await welcomePartner(tx, context, request, { affiliate, note: given ?? '' });
        const body = {
          application: formatApplication(decided),
          affiliate: made,
          invitation_link: link,
        };
        const audit = {
          action: 'application.approve',
          subject: body.application.id,
          after: { affiliate_id: body.affiliate.id },
        };
        return { status: 201, body, audit };
      });
    },
  });
}

function addEndRoutes(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'DELETE',
    url: '/v1/applications/:id',
    config: { ...config, problems: ['not_found', 'wrong_state'] },
    schema: {
      operationId: 'deleteApplication',
      tags: TAGS,
      summary: 'Forget an applicant; one who was approved is erased as an affiliate',
      params,
      response: { 204: z.undefined().describe('It is deleted.') },
    },
    handler: async (request, reply) =>
      await commit(context, request, reply, async (tx) => {
        await remove(tx, request, request.params.id);
        return { status: 204, body: undefined };
      }),
  });

  app.route({
    method: 'POST',
    url: '/v1/applications/:id/reject',
    config: { ...config, problems: ['not_found', 'wrong_state'] },
    schema: {
      operationId: 'rejectApplication',
      tags: TAGS,
      summary: 'Reject an application, and mail the note; it is deleted half a year later',
      params,
      body: z.strictObject({ note }),
      response: { 200: applicationView },
    },
    handler: async (request, reply) =>
      await commit(context, request, reply, async (tx) => ({
        body: formatApplication(await reject(tx, context, request, { ...request.params, ...request.body })),
      })),
  });
}

/** Of a flood: all of them are done, or none. */
function addBulkRoutes(app: ApiServer, context: ApiContext): void {
  const ids = z
    .array(integerId('application'))
    .min(1)
    .max(MAX_AT_ONCE)
    .refine((given) => new Set(given).size === given.length, { message: 'must be different' });

  app.route({
    method: 'POST',
    url: '/v1/applications/reject',
    config: { ...config, problems: ['not_found', 'wrong_state'] },
    schema: {
      operationId: 'rejectApplications',
      tags: TAGS,
      summary: 'Reject several applications with one note, which each applicant gets by mail: all, or none',
      body: z.strictObject({ ids, note }),
      response: { 200: z.object({ data: z.array(applicationView) }) },
    },
    handler: async (request, reply) =>
      await commit(context, request, reply, async (tx) => {
        const data: z.output<typeof applicationView>[] = [];
        for (const id of inOrder(request.body.ids)) {
          data.push(formatApplication(await reject(tx, context, request, { id, note: request.body.note })));
        }
        return { body: { data } };
      }),
  });

  app.route({
    method: 'POST',
    url: '/v1/applications/delete',
    config: { ...config, problems: ['not_found', 'wrong_state'] },
    schema: {
      operationId: 'deleteApplications',
      tags: TAGS,
      summary: 'Forget several applicants without a mail, such as a flood of them: all, or none',
      body: z.strictObject({ ids }),
      response: { 204: z.undefined().describe('They are deleted.') },
    },
    handler: async (request, reply) =>
      await commit(context, request, reply, async (tx) => {
        for (const id of inOrder(request.body.ids)) await remove(tx, request, id);
        return { status: 204, body: undefined };
      }),
  });
}

/** Locked in another order, two callers could wait for each other. */
const inOrder = (ids: readonly number[]) => ids.toSorted((a, b) => a - b);

/** @throws Problem `not_found`, `wrong_state`. */
async function remove(tx: DatabaseTransaction, request: FastifyRequest, id: number): Promise<void> {
  await lockRow(tx, 'applications', id);
  const { state } = inProgram(principalOf(request), await getApplication(tx, id), WHAT);
  const subject = formatId('application', id);
  // While it is known of which program it was.
  await appendAuditLog(tx, { actor: principalOf(request).actor, action: 'application.delete', subject });
  if (!(await removeApplication(tx, id))) throw wrongState('application', state);
}

/** @throws Problem `not_found`, `wrong_state`. */
async function reject(
  tx: DatabaseTransaction,
  context: ApiContext,
  request: FastifyRequest,
  decision: { id: number; note: string },
): Promise<Application> {
  const { programId, name, email } = await pendingApplication(tx, request, decision.id);
  const { actor } = principalOf(request);
  const decided = await decideApplication(tx, { ...decision, state: 'rejected', affiliateId: null, actor });
  if (!decided) throw wrongState('application', 'decided already');
  const values = { name, note: decision.note };
  await queueProgramMail(tx, context, { programId, kind: 'application_rejected', to: email, values });
  const subject = formatId('application', decided.id);
  await appendAuditLog(tx, { actor, action: 'application.reject', subject });
  return decided;
}

/** Locked, so that of two decisions at once the second finds the first. @throws Problem `not_found`, `wrong_state`. */
async function pendingApplication(
  tx: DatabaseTransaction,
  request: FastifyRequest,
  id: number,
): Promise<Application> {
  await lockRow(tx, 'applications', id);
  const application = inProgram(principalOf(request), await getApplication(tx, id), WHAT);
  if (application.state !== 'pending') throw wrongState('application', application.state);
  return application;
}
