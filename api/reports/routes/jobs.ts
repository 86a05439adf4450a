import { z } from 'zod';
import type { Logger } from '../../../core/service/log.ts';
import {
  createJob,
  getJob,
  JOB_KINDS,
  JOB_LIST,
  JOB_STATES,
  type Job,
  listJobs,
} from '../../../ledger/integrations/jobs.ts';
import { getProgram } from '../../../ledger/programs/programs.ts';
import { installTextBodies } from '../../http/bodies.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { addList, timeRange } from '../../http/lists.ts';
import { type Principal, principalOf, programFilter, programRequired } from '../../http/principal.ts';
import { invalidField, notFound, Problem } from '../../http/problems.ts';
import { IMPORT_KINDS, MAX_IMPORT_ROWS, runImport } from '../../orders/imports.ts';
import { readCsv } from '../../schemas/csv.ts';
import { bigintId, integerId } from '../../schemas/ids.ts';
import { booleanParameter } from '../../schemas/schemas.ts';
import { formatJob, jobView } from '../job-view.ts';

const MAX_CSV_BYTES = 20 * 1024 * 1024;
const IMPORT_EXAMPLE = 'ref_code,name,email,status\nann,Ann,ann@example.com,active\n';

/** The job, if the principal's: an operator sees those of the program, anybody else their own. */
export function visibleJob(principal: Principal, job: Job | undefined): Job {
  const foreign = principal.programId !== null && job?.programId !== principal.programId;
  const others = principal.role !== 'operator' && job?.actor !== principal.actor;
  if (!job || foreign || others) throw notFound('job with this id');
  return job;
}

/** Imports from CSV, and the progress of jobs. */
export function addJobRoutes(app: ApiServer, context: ApiContext & { log: Logger }): void {
  const { ledger, log } = context;
  const tags = ['imports'];
  const roles = ['operator', 'finance', 'affiliate', 'advertiser', 'fraud'] as const;

  addList(app, context, {
    url: '/v1/jobs',
    operationId: 'listJobs',
    tags,
    summary: 'Imports and report jobs, the newest first',
    config: { roles },
    kind: 'job',
    list: JOB_LIST,
    filters: {
      program_id: integerId('program').optional(),
      kind: z.enum(JOB_KINDS).optional(),
      state: z.enum(JOB_STATES).optional(),
      ...timeRange,
    },
    view: jobView,
    read: async (page, { sql, principal, query: { program_id, ...filters } }) =>
      await listJobs(sql, {
        ...page,
        ...filters,
        programId: programFilter(principal, program_id),
        actor: principal.role === 'operator' ? undefined : principal.actor,
      }),
    format: (jobs, principal) => jobs.map((job) => formatJob(job, principal)),
  });

  app.route({
    method: 'GET',
    url: '/v1/jobs/:id',
    config: { roles, problems: ['not_found'] },
    schema: {
      operationId: 'getJob',
      tags,
      summary: 'The progress and the result of a job',
      params: z.object({ id: bigintId('job') }),
      response: { 200: jobView },
    },
    handler: async (request) => {
      const principal = principalOf(request);
      return formatJob(visibleJob(principal, await getJob(ledger, request.params.id)), principal);
    },
  });

  app.register(async (scope: ApiServer) => {
    installTextBodies(scope, 'text/csv');
    scope.route({
      method: 'POST',
      url: '/v1/imports',
      config: { roles: ['operator', 'fraud'], idempotent: true, example: IMPORT_EXAMPLE },
      bodyLimit: MAX_CSV_BYTES,
      schema: {
        operationId: 'startImport',
        tags,
        summary:
          'Import affiliates, links, coupons, orders or entries of the block list from CSV; a dry run by default',
        description: `At most ${MAX_IMPORT_ROWS} rows with a header. affiliates: ref_code, name, email, customer_ref, status, parent_ref_code. links: affiliate_ref_code, campaign_id, landing_url, code, expires_at. conversions: as POST /v1/conversions; with link_code instead of click_id an order of the past is credited to that link at once, by the terms in force when it occurred, and commission_paid (true or false) says whether that was paid before. blocks, also for the fraud team: kind, value, affiliate_ref_code and sub (of a sub_id), action, reason, ends_at; entries of every program are not imported. The job lists the refused rows with their lines. Cells may be separated by comma, semicolon or tab.`,
        consumes: ['text/csv'],
        querystring: z.object({
          kind: z.enum(IMPORT_KINDS),
          program_id: integerId('program').optional(),
          dry_run: booleanParameter({ fallback: true }),
        }),
        body: z.string(),
        response: { 202: jobView },
      },
      handler: async (request, reply) => {
        const { kind, dry_run: dryRun, program_id } = request.query;
        const principal = principalOf(request);
        if (principal.role === 'fraud' && kind !== 'blocks')
          throw new Problem('forbidden', {
            detail: 'the fraud team imports entries of the block lists alone',
          });
        const programId = programRequired(principal, program_id);
        if (!(await getProgram(ledger, programId)))
          throw invalidField('program_id', 'there is no such program');
        const file = await readCsv(request.body, { maxRows: MAX_IMPORT_ROWS });
        return await commit(context, request, reply, async (tx) => {
          const job = await createJob(tx, {
            kind: 'import',
            programId,
            actor: principal.actor,
            request: { kind, dry_run: dryRun },
            rowsTotal: file.rows.length,
          });
          const after = () => runImport({ ledger, log, job, kind, programId, dryRun, file });
          return { status: 202, body: formatJob(job, principal), after };
        });
      },
    });
  });
}
