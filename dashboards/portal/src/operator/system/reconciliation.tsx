import { api, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { words } from '../../text/format.ts';
import { Button, Card, Loading, Page, Problem, When } from '../../ui/basics.tsx';
import { CompleteTo } from '../../ui/freshness.tsx';
import { Status } from '../../ui/status.tsx';
import { Table } from '../../ui/table.tsx';

const EVERY_MS = 5_000;

type PromiseProof = Schemas['Reconciliation']['promises'][number];

/** The five promises, each with its latest proof. */
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
      title="Reconciliation"
      lead={<CompleteTo />}
      actions={
        <Button kind="primary" busy={isProving} onClick={() => void prove.run()}>
          {isProving ? 'Proving' : 'Prove them now'}
        </Button>
      }
    >
      <Problem error={error ?? prove.error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && <Verdict ok={data.ok} />}
      {data?.promises.map((promise) => (
        <Proof key={promise.promise} proof={promise} />
      ))}
    </Page>
  );
}

function Verdict({ ok }: { ok: boolean | null }) {
  if (ok === true)
    return <p class="notice good">All five promises are kept, and each has its proof below.</p>;
  if (ok === null)
    return <p class="notice warn">Not everything was proved yet. “Prove them now” takes some seconds.</p>;
  return (
    <p class="notice bad" role="alert">
      A promise is broken. What is red below says where; docs/operations.md says what to do about each.
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
          Proved <When at={proved_at} none="never yet" />
        </>
      }
      actions={<Status of={tone} text={ok === null ? 'Not proved' : ok ? 'Kept' : 'Broken'} />}
    >
      {checks.length > 0 && (
        <Table
          label={`Proof: ${title}`}
          rows={checks}
          rowKey={({ name }) => name}
          columns={[
            { title: 'Check', head: true, cell: ({ name }) => words(name) },
            {
              title: 'Result',
              cell: (check) => <Status of={check.ok ? 'done' : 'failed'} text={check.ok ? 'Holds' : 'Off'} />,
            },
            { title: 'What was found', cell: ({ detail }) => detail },
          ]}
        />
      )}
    </Card>
  );
}
