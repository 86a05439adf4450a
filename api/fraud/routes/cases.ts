import { z } from 'zod';
import { MAX_NAME_LENGTH, MAX_NOTE_LENGTH } from '../../../core/text-limits.ts';
import { getUser } from '../../../ledger/access/users.ts';
import {
  addCaseOrders,
  MAX_CASE_ORDERS,
  openCaseOf,
  relatedOrders,
  SHARED_KINDS,
  type SharedKind,
} from '../../../ledger/cases/case-orders.ts';
import {
  addCaseNote,
  CASE_LIST,
  CASE_STATES,
  getCase,
  listCases,
  openCase,
  updateCase,
} from '../../../ledger/cases/cases.ts';
import { getConversion } from '../../../ledger/conversions/conversions.ts';
import type { DatabaseTransaction } from '../../../ledger/postgres/db.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { checkMatch, commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { addList } from '../../http/lists.ts';
import { inProgram, principalOf, programFilter, programRequired } from '../../http/principal.ts';
import { invalidField } from '../../http/problems.ts';
import { bigintId, formatId, integerId } from '../../schemas/ids.ts';
import { lines, text, time } from '../../schemas/schemas.ts';
import {
  caseDetailsView,
  caseOpenedView,
  caseView,
  conversionIds,
  formatCase,
  formatRelated,
  readCase,
  relatedView,
  sharedKind,
  subjectInput,
  WHAT_CASE,
} from '../case-view.ts';
import { addCaseActRoutes } from './case-acts.ts';

/** Orders that are reviewed as one: the list of cases, one of them, and how it begins. */

const TAGS = ['fraud'];
const REVIEWERS = ['operator', 'fraud'] as const;
const params = z.object({ id: integerId('case') });
const title = text(MAX_NAME_LENGTH).meta({ description: 'Name no customer in it.' });
const sharedKinds = z.array(sharedKind).min(1).max(SHARED_KINDS.length);

export function addCaseRoutes(app: ApiServer, context: ApiContext): void {
  addReadRoutes(app, context);
  addRelatedRoute(app, context);
  addOpenRoute(app, context);
  addUpdateRoute(app, context);
  addCaseActRoutes(app, context);
}

function addReadRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;
  addList(app, context, {
    url: '/v1/cases',
    operationId: 'listCases',
    tags: TAGS,
    summary: 'Cases, the newest first',
    config: { roles: REVIEWERS },
    kind: 'case',
    list: CASE_LIST,
    filters: {
      program_id: integerId('program').optional(),
      state: z.enum(CASE_STATES).optional(),
      assigned_to: integerId('user').optional(),
      conversion_id: bigintId('conversion').optional().meta({ description: 'With this order in them.' }),
      from: time.optional().meta({ description: 'Opened from here on.' }),
      to: time.optional().meta({ description: 'Opened before this.' }),
    },
    view: caseView,
    read: async (page, { sql, principal, query }) => {
      const { program_id, assigned_to, conversion_id, ...filters } = query;
      return await listCases(sql, {
        ...page,
        ...filters,
        programId: programFilter(principal, program_id),
        assignedTo: assigned_to,
        conversionId: conversion_id,
      });
    },
    format: (cases) => cases.map(formatCase),
  });

  app.route({
    method: 'GET',
    url: '/v1/cases/:id',
    config: { roles: REVIEWERS, problems: ['not_found'] },
    schema: {
      operationId: 'getCase',
      tags: TAGS,
      summary: 'One case with its orders, what they share, and its notes',
      params,
      response: { 200: caseDetailsView },
    },
    handler: async (request, reply) =>
      withEtag(reply, await readCase(ledger, principalOf(request), request.params.id)),
  });
}

function addRelatedRoute(app: ApiServer, { ledger }: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/conversions/:id/related',
    config: { roles: REVIEWERS, problems: ['not_found'] },
    schema: {
      operationId: 'listRelatedOrders',
      tags: TAGS,
      summary:
        'This order and those in review that share something with it, without those of open cases: what a case of them would hold',
      params: z.object({ id: bigintId('conversion') }),
      querystring: z.object({
        shared: z
          .string()
          .default('ip,fingerprint,customer')
          .transform((value) => value.split(',').filter((kind) => kind !== ''))
          .pipe(sharedKinds)
          .meta({ description: `Of ${SHARED_KINDS.join(', ')}; several with commas.` }),
      }),
      response: { 200: relatedView },
    },
    handler: async (request) => {
      const found = await getConversion(ledger, request.params.id);
      const { id, programId } = inProgram(principalOf(request), found, 'conversion with this id');
      const kinds = request.query.shared;
      const { orders, hasMore } = await relatedOrders(ledger, {
        ...{ programId, conversionId: id, kinds, limit: MAX_CASE_ORDERS },
      });
      return { data: orders.map(formatRelated), has_more: hasMore };
    },
  });
}

/** @throws Problem `invalid_input` unless the user reviews orders of the program. */
async function checkAssigned(
  tx: DatabaseTransaction,
  { userId, programId }: { userId: number | null | undefined; programId: number },
): Promise<void> {
  if (userId === undefined || userId === null) return;
  const user = await getUser(tx, userId);
  const isReviewer = REVIEWERS.some((role) => role === user?.role) && user?.status === 'active';
  const sees = user?.programId === null || user?.programId === programId;
  if (!isReviewer || !sees) {
    throw invalidField('assigned_to', 'must be an active operator, or of the fraud team, of the program');
  }
}

/** The order and what it is related to, as many as have room beside the chosen ones. @throws Problem `invalid_input`. */
async function findRelated(
  tx: DatabaseTransaction,
  options: { programId: number; chosen: readonly bigint[]; to: bigint; shared: readonly SharedKind[] },
): Promise<{ ids: bigint[]; hasMore: boolean }> {
  const { programId, chosen, to, shared } = options;
  const name = formatId('conversion', to);
  if ((await getConversion(tx, to))?.programId !== programId)
    throw invalidField('related.to', `there is no order ${name} in the program of the case`);
  const other = await openCaseOf(tx, to);
  if (other !== undefined)
    throw invalidField('related.to', `${name} is in the open case ${formatId('case', other)}`);
  const room = MAX_CASE_ORDERS - chosen.length;
  // The order itself comes first: where the chosen ones leave no room for it, it is refused as one too many.
  const limit = chosen.includes(to) ? room : Math.max(1, room);
  const kinds = shared;
  const found = await relatedOrders(tx, { programId, conversionId: to, kinds, limit, except: chosen });
  return { ids: found.orders.map(({ conversionId }) => conversionId), hasMore: found.hasMore };
}

function addOpenRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/cases',
    config: {
      roles: REVIEWERS,
      idempotent: true,
      example: { program_id: 'prg_1', title: 'One address, five partners', conversion_ids: [] },
    },
    schema: {
      operationId: 'openCase',
      tags: TAGS,
      summary: 'Open a case, with orders or empty; an order is in one open case at the most',
      body: z.strictObject({
        program_id: integerId('program')
          .exactOptional()
          .meta({ description: 'May be left out by those who see one program.' }),
        title,
        subject: subjectInput.exactOptional(),
        assigned_to: integerId('user').exactOptional(),
        note: lines(MAX_NOTE_LENGTH).exactOptional(),
        conversion_ids: conversionIds.default([]),
        related: z
          .strictObject({ to: bigintId('conversion'), shared: sharedKinds })
          .exactOptional()
          .meta({
            description:
              'This order, and those in review that share one of these with it, as listRelatedOrders shows them: as many as the case has room for.',
          }),
      }),
      response: { 201: caseOpenedView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { title: name, subject, assigned_to: assignedTo, note, related } = request.body;
      const programId = programRequired(principal, request.body.program_id);
      return await commit(context, request, reply, async (tx) => {
        const { actor } = principal;
        await checkAssigned(tx, { userId: assignedTo, programId });
        const caseId = await openCase(tx, { programId, title: name, subject, assignedTo, actor });
        if (note !== undefined) await addCaseNote(tx, { caseId, act: 'note', author: actor, text: note });
        const chosen = [...new Set(request.body.conversion_ids)];
        const found = related
          ? await findRelated(tx, { programId, chosen, ...related })
          : { ids: [], hasMore: false };
        await addCaseOrders(tx, { caseId, programId, conversionIds: [...chosen, ...found.ids], actor });
        const body = { ...(await readCase(tx, principal, caseId)), has_more: found.hasMore };
        // Its texts may name persons, and the audit log forgets nothing.
        const after = { orders: body.orders, subject: subject?.kind ?? null };
        return { status: 201, body, audit: { action: 'case.open', subject: body.id, after } };
      });
    },
  });
}

function addUpdateRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'PATCH',
    url: '/v1/cases/:id',
    config: { roles: REVIEWERS, idempotent: true, ifMatch: true, problems: ['not_found'] },
    schema: {
      operationId: 'updateCase',
      tags: TAGS,
      summary: 'Change the title of a case, or whose it is',
      params,
      body: z.strictObject({
        title: title.exactOptional(),
        assigned_to: integerId('user')
          .nullable()
          .exactOptional()
          .meta({ description: 'null: not assigned.' }),
      }),
      response: { 200: caseDetailsView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      const { title: name, assigned_to: assignedTo } = request.body;
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'cases', id);
        const { programId } = inProgram(principal, await getCase(tx, id), WHAT_CASE);
        const before = await readCase(tx, principal, id);
        checkMatch(request, before);
        await checkAssigned(tx, { userId: assignedTo, programId });
        const changes = {
          ...(name !== undefined && { title: name }),
          ...(assignedTo !== undefined && { assignedTo }),
        };
        await updateCase(tx, { id, changes });
        const body = await readCase(tx, principal, id);
        const audit = {
          before: { assigned_to: before.assigned_to },
          after: { assigned_to: body.assigned_to, retitled: name !== undefined },
        };
        return { body, audit: { action: 'case.update', subject: formatId('case', id), ...audit } };
      });
      return withEtag(reply, changed);
    },
  });
}
