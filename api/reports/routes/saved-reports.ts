import { z } from 'zod';
import { canonicalTimeZone } from '../../../core/time.ts';
import { ROLES } from '../../../ledger/access/api-keys.ts';
import {
  countSavedReports,
  createSavedReport,
  databaseTime,
  deleteSavedReport,
  getSavedReport,
  listSavedReports,
  type ReportSettings,
  rangeAt,
  SAVED_REPORT_LIST,
  type SavedReport,
  updateSavedReport,
} from '../../../ledger/integrations/saved-reports.ts';
import { getWebhookEndpoint } from '../../../ledger/integrations/webhook-endpoints.ts';
import type { DatabaseSql, DatabaseTransaction } from '../../../ledger/postgres/db.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { checkMatch, commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { addList, timeRange } from '../../http/lists.ts';
import { requireRoom } from '../../http/party-limits.ts';
import {
  type Principal,
  partyOf,
  principalOf,
  programFilter,
  programRequired,
} from '../../http/principal.ts';
import { invalidField, notFound, Problem } from '../../http/problems.ts';
import { integerId } from '../../schemas/ids.ts';
import { formatTime, timeText } from '../../schemas/schemas.ts';
import { mayUseWebhook } from '../report-webhook.ts';
import {
  changeSchema,
  createSchema,
  formatSavedReport,
  isVisible,
  mayDelete,
  savedOptions,
  savedReportView,
  seesOrphans,
  seesShared,
} from '../saved-report.ts';

const TAGS = ['reports'];
const WHAT = 'saved report with this id';
/** Of one party, whose owners have access: more than a person looks at. */
const MAX_SAVED_REPORTS = 100;
const presentRangeView = {
  from: timeText.meta({ description: 'What the range is now.' }),
  to: timeText,
};
const params = z.object({ id: integerId('savedReport') });

/** Reports that are kept by name and, with a schedule, made by the clock with the rights that their owner has then. */
export function addSavedReportRoutes(app: ApiServer, context: ApiContext): void {
  addReadRoutes(app, context);
  addCreateRoute(app, context);
  addChangeRoute(app, context);
  addDeleteRoute(app, context);
}

function visible(principal: Principal, report: SavedReport | undefined): SavedReport {
  if (!report || !isVisible(principal, report)) throw notFound(WHAT);
  return report;
}

/** @throws Problem `forbidden` for what somebody else shares. */
function ownReport(principal: Principal, report: SavedReport | undefined): SavedReport {
  const seen = visible(principal, report);
  if (seen.owner === principal.actor) return seen;
  throw new Problem('forbidden', { detail: 'only its owner changes a saved report' });
}

/** @throws Problem `forbidden` for what somebody else shares. */
function removable(principal: Principal, report: SavedReport | undefined): SavedReport {
  const seen = visible(principal, report);
  if (mayDelete(principal, seen)) return seen;
  throw new Problem('forbidden', { detail: 'only its owner and the same party remove a saved report' });
}

function addReadRoutes(app: ApiServer, context: ApiContext): void {
  addList(app, context, {
    url: '/v1/saved-reports',
    operationId: 'listSavedReports',
    tags: TAGS,
    summary: 'Saved reports, the newest first: those of the party, and of the team what is shared',
    config: { roles: ROLES },
    kind: 'savedReport',
    list: SAVED_REPORT_LIST,
    filters: { program_id: integerId('program').optional(), ...timeRange },
    view: savedReportView,
    read: async (page, { sql, principal, query: { program_id, ...filters } }) =>
      await listSavedReports(sql, {
        ...page,
        ...filters,
        programId: programFilter(principal, program_id),
        owner: principal.actor,
        party: partyOf(principal),
        withShared: seesShared(principal),
        withOrphans: seesOrphans(principal),
      }),
    format: (reports, principal) => reports.map((report) => formatSavedReport(report, principal)),
  });

  app.route({
    method: 'GET',
    url: '/v1/saved-reports/:id',
    config: { roles: ROLES, problems: ['not_found'] },
    schema: {
      operationId: 'getSavedReport',
      tags: TAGS,
      summary: 'One saved report with its last and next run',
      params,
      response: { 200: savedReportView.extend(presentRangeView) },
    },
    handler: async (request, reply) => {
      const { ledger } = context;
      const principal = principalOf(request);
      const report = visible(principal, await getSavedReport(ledger, request.params.id));
      const { from, to } = await presentRange(ledger, report);
      withEtag(reply, formatSavedReport(report, principal));
      return { ...formatSavedReport(report, principal), from: formatTime(from), to: formatTime(to) };
    },
  });
}

function addCreateRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/saved-reports',
    config: {
      roles: ROLES,
      idempotent: true,
      problems: ['limit_reached'],
      example: {
        name: 'Last week by day',
        query: { group_by: 'day', metrics: 'clicks' },
        range: 'last_7_days',
      },
    },
    schema: {
      operationId: 'createSavedReport',
      tags: TAGS,
      summary: 'Keep a report by name; with a schedule it is made by the clock',
      description:
        'A run waits until every click of its range is counted, 12 hours at most, then its job has the file. It has the rights that the owner has then; when these do not suffice any more, the schedule stops and says why. Of several runs that were missed the last one is made up.',
      body: createSchema,
      response: { 201: savedReportView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { program_id, ...body } = request.body;
      const programId = programRequired(principal, program_id);
      const [owner, party] = [principal.actor, partyOf(principal)];
      return await commit(context, request, reply, async (tx) => {
        await requireRoom(tx, {
          what: 'saved reports',
          owner: principal,
          most: MAX_SAVED_REPORTS,
          count: (sql) => countSavedReports(sql, party),
        });
        const settings = settingsOf(body);
        await checkSettings(tx, principal, { ...settings, programId });
        const created = await createSavedReport(tx, {
          ...settings,
          programId,
          owner,
          party,
        });
        const view = formatSavedReport(created, principal);
        const audit = { action: 'saved_report.create', subject: view.id, after: audited(view) };
        return { status: 201, body: view, audit };
      });
    },
  });
}

function addChangeRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'PATCH',
    url: '/v1/saved-reports/:id',
    config: { roles: ROLES, idempotent: true, ifMatch: true, problems: ['not_found'] },
    schema: {
      operationId: 'updateSavedReport',
      tags: TAGS,
      summary: 'Change a saved report; one that has stopped goes on',
      params,
      body: changeSchema,
      response: { 200: savedReportView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'saved_reports', id);
        const report = ownReport(principal, await getSavedReport(tx, id));
        const before = formatSavedReport(report, principal);
        checkMatch(request, before);
        const given = Object.entries(request.body).filter(([, value]) => value !== undefined);
        const shown = { ...before, webhook_id: report.webhookId };
        const settings = settingsOf({ ...shown, ...Object.fromEntries(given) });
        await checkSettings(tx, principal, { ...settings, programId: report.programId });
        const updated = await updateSavedReport(tx, { ...settings, before: report });
        const after = formatSavedReport(updated, principal);
        const audit = { action: 'saved_report.update', subject: after.id };
        return { body: after, audit: { ...audit, before: audited(before), after: audited(after) } };
      });
      return withEtag(reply, changed);
    },
  });
}

function addDeleteRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'DELETE',
    url: '/v1/saved-reports/:id',
    config: { roles: ROLES, idempotent: true, problems: ['not_found'] },
    schema: {
      operationId: 'deleteSavedReport',
      tags: TAGS,
      summary: 'Delete a saved report; files that were made stay until their links end',
      params,
      response: { 204: z.null() },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      return await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'saved_reports', id);
        const before = formatSavedReport(removable(principal, await getSavedReport(tx, id)), principal);
        await deleteSavedReport(tx, id);
        const audit = { action: 'saved_report.delete', subject: before.id, before: audited(before) };
        return { status: 204, body: null, audit };
      });
    },
  });
}

/** The range as it would be counted now. */
async function presentRange(
  sql: DatabaseSql,
  { range, timeZone }: Pick<ReportSettings, 'range' | 'timeZone'>,
): Promise<{ from: Date; to: Date }> {
  return await rangeAt(sql, { range, timeZone, at: await databaseTime(sql) });
}

/** What changes by itself is not what somebody has changed. */
function audited({ last_run: _run, next_run_at: _next, ...view }: z.output<typeof savedReportView>) {
  return view;
}

function settingsOf(body: Omit<z.output<typeof createSchema>, 'program_id'>): ReportSettings {
  const { name, shared, query, range, format, schedule, mail } = body;
  return {
    ...{ name, shared, query, range, format, mail },
    timeZone: canonicalTimeZone(body.time_zone) ?? 'UTC',
    schedule: schedule && { every: schedule.every, onDay: schedule.day, atHour: schedule.hour },
    webhookId: body.webhook_id,
  };
}

/** @throws Problem or InputError naming the field that the principal cannot have. */
async function checkSettings(
  tx: DatabaseTransaction,
  principal: Principal,
  settings: ReportSettings & { programId: number },
): Promise<void> {
  const { shared, mail, webhookId } = settings;
  if (shared && !seesShared(principal)) {
    throw invalidField('shared', 'must be false: partners and shops have reports of their own alone');
  }
  if (mail && principal.userBehind === null) {
    throw invalidField('mail', 'must be false: no user is behind this key');
  }
  if (webhookId !== null) {
    const endpoint = await getWebhookEndpoint(tx, webhookId);
    if (!endpoint || endpoint.programId !== settings.programId || !mayUseWebhook(principal, endpoint)) {
      throw invalidField('webhook_id', 'there is no such webhook of your role in the program');
    }
  }
  await savedOptions(principal, settings, await presentRange(tx, settings));
}
