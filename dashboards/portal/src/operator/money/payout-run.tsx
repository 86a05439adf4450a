import { useEffect, useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { formatCount, formatMoney, providerName } from '../../text/format.ts';
import { Amount, Button, Card, Loading, Problem, Progress } from '../../ui/basics.tsx';
import { Table } from '../../ui/table.tsx';

const EVERY_MS = 15_000;
const LOOK_MS = 1_000;

/** What a run would pay now, and the run itself. */
export function PayoutRun({ names, onDone }: { names: ReadonlyMap<string, string>; onDone: () => void }) {
  const { program } = useSession();
  const [result, setResult] = useState<Schemas['PayoutRun']>();
  const [startedAt, setStartedAt] = useState('');
  const preview = useData(
    async (signal) =>
      await take(api.GET('/v1/payouts/preview', { params: { query: { program_id: program.id } }, signal })),
    [program.id],
    { everyMs: EVERY_MS },
  );
  const run = useAction(async () => {
    setResult(undefined);
    setStartedAt(new Date().toISOString());
    const params = { header: newAttempt() };
    setResult(await take(api.POST('/v1/payouts/run', { params, body: { program_id: program.id } })));
    preview.reload();
    onDone();
  });
  const { data } = preview;
  const nameOf = (id: string) => names.get(id) ?? id;
  return (
    <Card
      title="The next run"
      note={
        data &&
        `By ${providerName(data.provider).toLowerCase()}. Holds that have ended by then are part of it.`
      }
      actions={
        <Button kind="primary" busy={run.busy} disabled={!data} onClick={() => void run.run()}>
          {data && data.payouts > 0 ? `Pay ${formatMoney(data.total)}` : 'Run now'}
        </Button>
      }
    >
      <div class="stack">
        <Problem error={preview.error ?? run.error} onRetry={preview.reload} />
        {run.busy && <RunProgress total={data?.payouts ?? 0} startedAt={startedAt} />}
        {result && <RunResult result={result} />}
        {!data && preview.error === undefined && <Loading what="Working out what is due" />}
        {data && (
          <>
            {data.would_pay.length > 0 ? (
              <Table
                label="What the run would pay"
                rows={data.would_pay}
                rowKey={({ affiliate_id }) => affiliate_id}
                columns={[
                  { title: 'Would be paid', head: true, cell: ({ affiliate_id }) => nameOf(affiliate_id) },
                  { title: 'Amount', numeric: true, cell: ({ amount }) => <Amount money={amount} strong /> },
                ]}
              />
            ) : (
              <p class="muted">Nobody would be paid now.</p>
            )}
            {data.left_out.length > 0 && (
              <details>
                <summary>
                  {formatCount(data.left_out_total)} {data.left_out_total === 1 ? 'partner' : 'partners'}{' '}
                  would get nothing, and why
                </summary>
                <LeftOut rows={data.left_out} nameOf={nameOf} />
              </details>
            )}
          </>
        )}
      </div>
    </Card>
  );
}

function LeftOut(props: { rows: Schemas['PayoutPreview']['left_out']; nameOf: (id: string) => string }) {
  return (
    <Table
      label="Who would get nothing"
      rows={props.rows}
      rowKey={({ affiliate_id }) => affiliate_id}
      columns={[
        { title: 'Partner', head: true, cell: ({ affiliate_id }) => props.nameOf(affiliate_id) },
        { title: 'Because', cell: ({ detail }) => detail },
        { title: 'On hold', numeric: true, cell: ({ pending }) => <Amount money={pending} /> },
        { title: 'Available', numeric: true, cell: ({ available }) => <Amount money={available} /> },
        { title: 'Debt', numeric: true, cell: ({ debt }) => <Amount money={debt} /> },
      ]}
    />
  );
}

/** How many payouts of this run exist already, while it works. */
function RunProgress({ total, startedAt }: { total: number; startedAt: string }) {
  const { program } = useSession();
  const [made, setMade] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => {
      const query = { program_id: program.id, limit: '500' };
      take(api.GET('/v1/payouts', { params: { query } }))
        .then(({ data }) => setMade(data.filter(({ created_at }) => created_at >= startedAt).length))
        // The run itself tells what went wrong.
        .catch(() => undefined);
    }, LOOK_MS);
    return () => clearInterval(timer);
  }, [program.id, startedAt]);
  return (
    <Progress
      done={made}
      total={total}
      label={`${formatCount(made)} of ${formatCount(total)} payouts made`}
    />
  );
}

function RunResult({ result }: { result: Schemas['PayoutRun'] }) {
  const { vested, built, submitted, failed, unknown } = result;
  const isGood = failed === 0 && unknown === 0;
  return (
    <p class={isGood ? 'notice good' : 'notice warn'} role="status">
      <span>
        {formatCount(vested)} holds ended, {formatCount(built)} payouts made, {formatCount(submitted)} handed
        over
        {failed > 0 && `, ${formatCount(failed)} refused`}
        {unknown > 0 &&
          `, of ${formatCount(unknown)} nobody knows yet: the provider is asked again at the next run`}
        .
      </span>
    </p>
  );
}
