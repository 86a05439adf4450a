import { api, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { words } from '../../text/format.ts';
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
      title="Audit"
      lead={<CompleteTo />}
      actions={
        <Button kind="primary" busy={isRunning} onClick={() => void audit.run()}>
          {isRunning ? 'Running' : 'Run an audit'}
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
  if (ok === true) return <p class="notice good">All five promises are kept; their checks are below.</p>;
  if (ok === null)
    return <p class="notice warn">Not every promise was audited yet. “Run an audit” takes some seconds.</p>;
  return (
    <p class="notice bad" role="alert">
      A promise is broken. The failed checks are red below; docs/operations.md has a runbook for each.
    </p>
  );
}

function PromiseCard({ promise }: { promise: AuditedPromise }) {
  const { title, ok, audited_at, checks } = promise;
  const tone = ok === null ? 'pending' : ok ? 'done' : 'failed';
  return (
    <Card
      title={title}
      class={`promise ${tone}`}
      note={
        <>
          Audited <When at={audited_at} none="not yet" />
        </>
      }
      actions={<Status of={tone} text={ok === null ? 'Not audited' : ok ? 'Kept' : 'Broken'} />}
    >
      {checks.length > 0 && (
        <Table
          label={`Checks: ${title}`}
          rows={checks}
          rowKey={({ name }) => name}
          columns={[
            { title: 'Check', head: true, cell: ({ name }) => words(name) },
            {
              title: 'Result',
              cell: (check) => (
                <Status of={check.ok ? 'done' : 'failed'} text={check.ok ? 'Passed' : 'Failed'} />
              ),
            },
            { title: 'Finding', cell: ({ detail }) => detail },
          ]}
        />
      )}
    </Card>
  );
}
