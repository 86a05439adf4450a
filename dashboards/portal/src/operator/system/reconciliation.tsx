import { api, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { words } from '../../text/format.ts';
import { Button, Card, Loading, Page, Problem, When } from '../../ui/basics.tsx';
import { CompleteTo } from '../../ui/freshness.tsx';
import { Status } from '../../ui/status.tsx';
import { Table } from '../../ui/table.tsx';

const EVERY_MS = 5_000;

type PromiseProof = Schemas['Reconciliation']['promises'][number];

/** The five promises, each with its latest audit checks. */
export function ReconciliationPage() {
  const { data, error, reload } = useData(
    async (signal) => await take(api.GET('/v1/reconciliation', { signal })),
    [],
    { everyMs: EVERY_MS },
  );
  const prove = useAction(async () => {
    await take(api.POST('/v1/reconciliation'));
    reload();
  });
  const isProving = prove.busy || (data?.job_id ?? null) !== null;
  return (
    <Page
      title="Promises"
      lead={<CompleteTo />}
      actions={
        <Button kind="primary" busy={isProving} onClick={() => void prove.run()}>
          {isProving ? 'Audit running' : 'Run the audit'}
        </Button>
      }
    >
      <Problem error={error ?? prove.error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && <Summary ok={data.ok} />}
      {data?.promises.map((promise) => (
        <Proof key={promise.promise} proof={promise} />
      ))}
    </Page>
  );
}

function Summary({ ok }: { ok: boolean | null }) {
  if (ok === true)
    return <p class="notice good">All five promises hold. The audit checks are listed below.</p>;
  if (ok === null)
    return <p class="notice warn">Some promises have not been audited yet. An audit takes some seconds.</p>;
  return (
    <p class="notice bad" role="alert">
      A promise is broken. The failed checks below show where; docs/operations.md has the runbook of each.
    </p>
  );
}

function Proof({ proof }: { proof: PromiseProof }) {
  const { title, ok, proved_at, checks } = proof;
  const tone = ok === null ? 'pending' : ok ? 'done' : 'failed';
  return (
    <Card
      title={title}
      class={`promise ${tone}`}
      note={
        <>
          Audited <When at={proved_at} none="never" />
        </>
      }
      actions={<Status of={tone} text={ok === null ? 'Not audited' : ok ? 'Kept' : 'Broken'} />}
    >
      {checks.length > 0 && (
        <Table
          label={`Audit checks: ${title}`}
          rows={checks}
          rowKey={({ name }) => name}
          columns={[
            { title: 'Check', head: true, cell: ({ name }) => words(name) },
            {
              title: 'Result',
              cell: (check) => (
                <Status of={check.ok ? 'done' : 'failed'} text={check.ok ? 'Holds' : 'Violated'} />
              ),
            },
            { title: 'Finding', cell: ({ detail }) => detail },
          ]}
        />
      )}
    </Card>
  );
}
