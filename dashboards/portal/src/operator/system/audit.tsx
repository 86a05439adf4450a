import { api, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { words } from '../../text/format.ts';
import { rich, t } from '../../text/t.ts';
import { Button, Card, Loading, Page, Problem, When } from '../../ui/basics.tsx';
import { CompleteTo } from '../../ui/freshness.tsx';
import { Status } from '../../ui/status.tsx';
import { Table } from '../../ui/table.tsx';

const EVERY_MS = 5_000;

type AuditedPromise = Schemas['Audit']['promises'][number];

/** The five promises, each with the checks of its latest audit. */
export function AuditPage() {
  const { data, error, reload } = useData(
    async (signal) => await take(api.GET('/v1/audit', { signal })),
    [],
    { everyMs: EVERY_MS },
  );
  const audit = useAction(async () => {
    await take(api.POST('/v1/audit'));
    reload();
  });
  const isRunning = audit.busy || (data?.job_id ?? null) !== null;
  return (
    <Page
      title={t('common.audit')}
      lead={<CompleteTo at={data?.complete_to} />}
      actions={
        <Button kind="primary" busy={isRunning} onClick={() => void audit.run()}>
          {isRunning ? t('audit.running') : t('audit.run_an_audit')}
        </Button>
      }
    >
      <Problem error={error ?? audit.error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && <Conclusion ok={data.ok} />}
      {data?.promises.map((promise) => (
        <PromiseCard key={promise.promise} promise={promise} />
      ))}
    </Page>
  );
}

function Conclusion({ ok }: { ok: boolean | null }) {
  if (ok === true) return <p class="notice good">{t('audit.all_five_promises_are_kept')}</p>;
  if (ok === null) return <p class="notice warn">{t('audit.not_every_promise_was_audited')}</p>;
  return (
    <p class="notice bad" role="alert">
      {t('audit.a_promise_is_broken_the')}
    </p>
  );
}

function PromiseCard({ promise }: { promise: AuditedPromise }) {
  const { ok, audited_at, checks } = promise;
  const title = t(`promise.${promise.promise}`);
  const tone = ok === null ? 'pending' : ok ? 'done' : 'failed';
  return (
    <Card
      title={title}
      class={`promise ${tone}`}
      note={rich('audit.audited_auditedat', {
        auditedAt: <When at={audited_at} none={t('common.not_yet')} />,
      })}
      actions={
        <Status
          of={tone}
          text={ok === null ? t('audit.not_audited') : ok ? t('audit.kept') : t('audit.broken')}
        />
      }
    >
      {checks.length > 0 && (
        <Table
          label={t('audit.checks_title', { title })}
          rows={checks}
          rowKey={({ name }) => name}
          columns={[
            { title: t('audit.check'), head: true, cell: ({ name }) => words(name) },
            {
              title: t('common.result'),
              cell: (check) => (
                <Status
                  of={check.ok ? 'done' : 'failed'}
                  text={check.ok ? t('common.passed') : t('common.failed')}
                />
              ),
            },
            { title: t('audit.finding'), cell: ({ detail }) => detail },
          ]}
        />
      )}
    </Card>
  );
}
