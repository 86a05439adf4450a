import { useEffect, useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { formatCount, formatMoney, providerName } from '../../text/format.ts';
import { Amount, Button, Card, Loading, Problem, Progress } from '../../ui/basics.tsx';
import { Dialog, Form } from '../../ui/forms.tsx';
import { Destination } from '../../ui/payout-items.tsx';
import { Table } from '../../ui/table.tsx';

const EVERY_MS = 15_000;
const LOOK_MS = 1_000;

/** Preview of the next payout run, and the run itself. */
export function PayoutRun({ names, onDone }: { names: ReadonlyMap<string, string>; onDone: () => void }) {
  const { program } = useSession();
  const [result, setResult] = useState<Schemas['PayoutRunResult']>();
  const [asking, setAsking] = useState<Schemas['PayoutPreview']>();
  const [startedAt, setStartedAt] = useState('');
  const preview = useData(
    async (signal) =>
      await take(api.GET('/v1/payouts/preview', { params: { query: { program_id: program.id } }, signal })),
    [program.id],
    { everyMs: EVERY_MS },
  );
  const run = useAction(async (confirmed: Schemas['PayoutPreview']) => {
    setResult(undefined);
    setAsking(undefined);
    setStartedAt(new Date().toISOString());
    const params = { header: newAttempt() };
    const body = { program_id: program.id, preview: confirmed.preview };
    try {
      setResult(await take(api.POST('/v1/payouts/run', { params, body })));
    } finally {
      preview.reload();
      onDone();
    }
  });
  const { data } = preview;
  const nameOf = (id: string) => names.get(id) ?? id;
  return (
    <Card
      title="Next payout run"
      note={
        data &&
        `By ${providerName(data.provider).toLowerCase()}. Includes commissions whose hold ends before the run.`
      }
      actions={
        <Button kind="primary" busy={run.busy} disabled={!data} onClick={() => setAsking(data)}>
          {data && data.payouts > 0 ? `Pay ${formatMoney(data.total)}` : 'Run now'}
        </Button>
      }
    >
      <div class="stack">
        <Problem error={preview.error ?? run.error} onRetry={preview.reload} />
        {run.busy && <RunProgress total={data?.payouts ?? 0} startedAt={startedAt} />}
        {result && <RunResult result={result} />}
        {!data && preview.error === undefined && <Loading what="Calculating payouts" />}
        {data && (
          <>
            {data.would_pay.length > 0 ? (
              <Table
                label="Payouts of the run"
                rows={data.would_pay}
                rowKey={({ affiliate_id }) => affiliate_id}
                columns={[
                  { title: 'Partner', head: true, cell: ({ affiliate_id }) => nameOf(affiliate_id) },
                  { title: 'To', cell: ({ destination }) => <Destination to={destination} /> },
                  { title: 'Amount', numeric: true, cell: ({ amount }) => <Amount money={amount} strong /> },
                ]}
              />
            ) : (
              <p class="muted">No payouts due.</p>
            )}
            {data.left_out.length > 0 && (
              <details>
                <summary>
                  {formatCount(data.left_out_total)} {data.left_out_total === 1 ? 'partner' : 'partners'} not
                  paid, with the reason
                </summary>
                <LeftOut rows={data.left_out} nameOf={nameOf} />
              </details>
            )}
          </>
        )}
      </div>
      {asking && (
        <ConfirmRun
          preview={asking}
          onConfirm={() => void run.run(asking)}
          onClose={() => setAsking(undefined)}
        />
      )}
    </Card>
  );
}

/** The run pays what is confirmed here, or nothing: the preview of the page may have gone on meanwhile. */
function ConfirmRun(props: {
  preview: Schemas['PayoutPreview'];
  onConfirm: () => void;
  onClose: () => void;
}) {
  const { preview, onConfirm, onClose } = props;
  return (
    <Dialog title="Confirm the run" onClose={onClose}>
      <Form
        submit={preview.payouts > 0 ? `Confirm ${formatMoney(preview.total)}` : 'Confirm'}
        busy={false}
        error={undefined}
        onSubmit={onConfirm}
        onCancel={onClose}
      >
        <p>
          {formatCount(preview.payouts)} {preview.payouts === 1 ? 'payout' : 'payouts'} of{' '}
          <Amount money={preview.total} strong /> in total, by {providerName(preview.provider).toLowerCase()}.
          {preview.needs_approval && ' They wait for a second person, who approves them.'}
        </p>
      </Form>
    </Dialog>
  );
}

function LeftOut(props: { rows: Schemas['PayoutPreview']['left_out']; nameOf: (id: string) => string }) {
  return (
    <Table
      label="Partners not paid"
      rows={props.rows}
      rowKey={({ affiliate_id }) => affiliate_id}
      columns={[
        { title: 'Partner', head: true, cell: ({ affiliate_id }) => props.nameOf(affiliate_id) },
        { title: 'Reason', cell: ({ detail }) => detail },
        { title: 'On hold', numeric: true, cell: ({ pending }) => <Amount money={pending} /> },
        { title: 'Available', numeric: true, cell: ({ available }) => <Amount money={available} /> },
        { title: 'Debt', numeric: true, cell: ({ debt }) => <Amount money={debt} /> },
      ]}
    />
  );
}

/** Progress of a run: the number of payouts created so far. */
function RunProgress({ total, startedAt }: { total: number; startedAt: string }) {
  const { program } = useSession();
  const [made, setMade] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => {
      const query = { program_id: program.id, limit: 500 };
      take(api.GET('/v1/payouts', { params: { query } }))
        .then(({ data }) => setMade(data.filter(({ created_at }) => created_at >= startedAt).length))
        // The run itself reports errors.
        .catch(() => undefined);
    }, LOOK_MS);
    return () => clearInterval(timer);
  }, [program.id, startedAt]);
  return (
    <Progress
      done={made}
      total={total}
      label={`${formatCount(made)} of ${formatCount(total)} payouts created`}
    />
  );
}

function RunResult({ result }: { result: Schemas['PayoutRunResult'] }) {
  const { vested, built, awaiting_approval, submitted, failed, unknown, stopped } = result;
  const isGood = failed === 0 && unknown === 0 && stopped === null;
  return (
    <p class={isGood ? 'notice good' : 'notice warn'} role="status">
      <span>
        {formatCount(vested)} holds ended, {formatCount(built)} payouts created, {formatCount(submitted)}{' '}
        submitted
        {awaiting_approval > 0 && `, ${formatCount(awaiting_approval)} awaiting approval`}
        {failed > 0 && `, ${formatCount(failed)} refused`}
        {unknown > 0 &&
          `, ${formatCount(unknown)} with unknown outcome: the next reconciliation asks the provider again`}
        .
        {stopped !== null &&
          ` The provider has stopped the run; the other payouts wait for the next one: ${stopped}`}
      </span>
    </p>
  );
}
