import { z } from 'zod';
import { AUDITED_PROMISES, auditStores, promiseOf } from '../../../attribution/tools/audit.ts';
import { errorText } from '../../../core/errors.ts';
import type { Logger } from '../../../core/service/log.ts';
import { HOUR_MS } from '../../../core/time.ts';
import { readLatestAudit, recordAuditChecks } from '../../../ledger/audit/checks.ts';
import { createJob, failJob, findRunning, finishJob, type Job } from '../../../ledger/integrations/jobs.ts';
import { outboxLag } from '../../../ledger/postgres/outbox.ts';
import { readWatermark } from '../../../warehouse/watermark/watermark.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { everyProgram, principalOf } from '../../http/principal.ts';
import { formatJob, jobView } from '../../reports/job-view.ts';
import { formatOptionalId, idText } from '../../schemas/ids.ts';
import { formatOptionalTime, timeText } from '../../schemas/schemas.ts';

const PROMISES = [...AUDITED_PROMISES, 'freshness'] as const;
type PromiseName = (typeof PROMISES)[number];

const TITLES: Readonly<Record<PromiseName, string>> = {
  clicks_kept: 'No redirected click is lost',
  clicks_once: 'No click counts twice',
  books: 'Every cent reconciles',
  decisions: 'Every decision can be explained and recomputed',
  freshness: 'Every figure states how fresh it is',
};

/** Clicks and conversions that reports lack for longer than this are late: ordinarily it is seconds. */
const FRESH_MS = 120_000;
/** An audit that has run for longer ended with its process. */
const ABANDONED_MS = HOUR_MS;
/** Longest wait for NATS during an audit, which reads it once for each lease. */
const AUDIT_TIMEOUT_MS = 1_800_000;

const checkView = z.object({ name: z.string(), ok: z.boolean(), detail: z.string() });

const auditView = z
  .object({
    ok: z.boolean().nullable().meta({ description: 'Null: a promise was not audited yet.' }),
    complete_to: timeText.nullable(),
    job_id: idText('job').nullable().meta({ description: 'Of the audit that is running.' }),
    promises: z.array(
      z.object({
        promise: z.enum(PROMISES),
        title: z.string(),
        ok: z.boolean().nullable(),
        audited_at: timeText.nullable().meta({ description: 'Null: not yet.' }),
        checks: z.array(checkView),
      }),
    ),
  })
  .meta({ id: 'Audit' });

type PromiseView = z.output<typeof auditView>['promises'][number];

/** The five promises with the checks of their latest audit, and running an audit. */
export function addAuditRoutes(app: ApiServer, context: ApiContext & { log: Logger }): void {
  const { ledger, warehouse, streams, clickIds, countKey, paymentFolder, log } = context;
  const tags = ['money'];
  const roles = ['operator', 'finance'] as const;

  async function running(sql: Parameters<typeof findRunning>[0]): Promise<Job | undefined> {
    return await findRunning(sql, { kind: 'audit', since: new Date(Date.now() - ABANDONED_MS) });
  }

  app.route({
    method: 'GET',
    url: '/v1/audit',
    config: { roles },
    schema: {
      operationId: 'getAudit',
      tags,
      summary: 'The five promises, each with the checks of its latest audit; for keys of no single program',
      response: { 200: auditView },
    },
    handler: async (request) => {
      everyProgram(principalOf(request));
      const [audit, now, completeTo, { waiting, oldestAt }] = await Promise.all([
        readLatestAudit(ledger),
        running(ledger),
        readWatermark(warehouse),
        outboxLag(ledger),
      ]);
      const promises = [...auditedPromises(audit), freshness(completeTo, { waiting, oldestAt })];
      const known = promises.every(({ ok }) => ok !== null);
      const off = promises.some(({ ok }) => ok === false);
      return {
        ok: off ? false : known ? true : null,
        complete_to: completeTo === undefined ? null : new Date(completeTo).toISOString(),
        job_id: formatOptionalId('job', now?.id ?? null),
        promises,
      };
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/audit',
    config: { roles, idempotent: true },
    schema: {
      operationId: 'runAudit',
      tags,
      summary: 'Run an audit now; one runs at a time, and requests meanwhile get its job',
      response: { 202: jobView },
    },
    handler: async (request, reply) => {
      const principal = everyProgram(principalOf(request));
      const { actor } = principal;
      // Without NATS the request fails, not the job.
      await streams.use(async ({ manager }) => await manager.getAccountInfo());
      return await commit(context, request, reply, async (tx) => {
        await tx`select pg_advisory_xact_lock(hashtextextended('jobs.audit', 0))`;
        const earlier = await running(tx);
        if (earlier) return { status: 202, body: formatJob(earlier, principal) };
        const job = await createJob(tx, { kind: 'audit', programId: null, actor, request: {} });
        return { status: 202, body: formatJob(job, principal), after: () => runAuditJob(job) };
      });
    },
  });

  async function runAuditJob(job: Job): Promise<void> {
    try {
      const options = { warehouse, ledger, clickIds, countKey, paymentFolder };
      const audit = await streams.use(({ nc }) => auditStores({ ...options, nc }), AUDIT_TIMEOUT_MS);
      await recordAuditChecks(ledger, new Date(), audit.checks);
      await finishJob(ledger, { id: job.id, rowsDone: audit.checks.length, result: { ok: audit.ok } });
    } catch (error) {
      log.warn({ job: String(job.id), reason: errorText(error) }, 'audit failed');
      await failJob(ledger, { id: job.id, failure: 'a store did not answer; try again' }).catch(
        (again: unknown) =>
          log.warn({ reason: errorText(again) }, 'the failure of the job could not be recorded'),
      );
    }
  }
}

function auditedPromises(audit: Awaited<ReturnType<typeof readLatestAudit>>): PromiseView[] {
  return AUDITED_PROMISES.map((promise) => {
    const checks = (audit?.checks ?? [])
      .filter((check) => promiseOf(check) === promise)
      .map(({ name, ok, detail }) => ({ name, ok, detail }));
    return {
      promise,
      title: TITLES[promise],
      ok: checks.length === 0 ? null : checks.every(({ ok }) => ok),
      audited_at: checks.length === 0 ? null : formatOptionalTime(audit?.at ?? null),
      checks,
    };
  });
}

function freshness(
  completeTo: number | undefined,
  mirror: { waiting: number; oldestAt: Date | null },
): PromiseView {
  const now = Date.now();
  const age = completeTo === undefined ? undefined : now - completeTo;
  const late = mirror.oldestAt === null ? 0 : now - mirror.oldestAt.getTime();
  const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
  const checks = [
    {
      name: 'clicks',
      ok: age !== undefined && age <= FRESH_MS,
      detail: age === undefined ? 'nothing is loaded yet' : `complete to ${seconds(age)} ago`,
    },
    {
      name: 'conversions',
      ok: late <= FRESH_MS,
      detail: `${mirror.waiting} changes are not in reports yet${mirror.waiting > 0 ? `, the oldest for ${seconds(late)}` : ''}`,
    },
  ];
  const promise = 'freshness';
  const ok = checks.every((check) => check.ok);
  return { promise, title: TITLES[promise], ok, audited_at: new Date(now).toISOString(), checks };
}
