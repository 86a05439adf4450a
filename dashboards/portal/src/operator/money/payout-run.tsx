import { useEffect, useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { byProvider, formatMoney } from '../../text/format.ts';
import { rich, t } from '../../text/t.ts';
import { Amount, Button, Card, Loading, Problem, Progress } from '../../ui/basics.tsx';
import { Dialog, Form } from '../../ui/forms.tsx';
import { Destination } from '../../ui/money/payout-items.tsx';
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
      title={t('payoutRun.next_payout_run')}
      note={data && t('payoutRun.by_provider', { provider: byProvider(data.provider) })}
      actions={
        <Button kind="primary" busy={run.busy} disabled={!data} onClick={() => setAsking(data)}>
          {data && data.payouts > 0
            ? t('common.pay_total', { total: formatMoney(data.total) })
            : t('payoutRun.run_now')}
        </Button>
      }
    >
      <div class="stack">
        <Problem error={preview.error ?? run.error} onRetry={preview.reload} />
        {run.busy && <RunProgress total={data?.payouts ?? 0} startedAt={startedAt} />}
        {result && <RunResult result={result} />}
        {!data && preview.error === undefined && <Loading what={t('payoutRun.calculating_payouts')} />}
        {data && (
          <>
            {data.would_pay.length > 0 ? (
              <Table
                label={t('payoutRun.payouts_of_the_run')}
                rows={data.would_pay}
                rowKey={({ affiliate_id }) => affiliate_id}
                columns={[
                  {
                    title: t('common.partner'),
                    head: true,
                    cell: ({ affiliate_id }) => nameOf(affiliate_id),
                  },
                  { title: t('common.to'), cell: ({ destination }) => <Destination to={destination} /> },
                  {
                    title: t('common.amount'),
                    numeric: true,
                    cell: ({ amount }) => <Amount money={amount} strong />,
                  },
                ]}
              />
            ) : (
              <p class="muted">{t('payoutRun.no_payouts_due')}</p>
            )}
            {data.left_out.length > 0 && (
              <details>
                <summary>{t('payoutRun.left_out', { count: data.left_out_total })}</summary>
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
    <Dialog title={t('payoutRun.confirm_the_run')} onClose={onClose}>
      <Form
        submit={
          preview.payouts > 0
            ? t('payoutRun.confirm_total', { total: formatMoney(preview.total) })
            : t('common.confirm')
        }
        busy={false}
        error={undefined}
        onSubmit={onConfirm}
        onCancel={onClose}
      >
        <p>
          {rich('payoutRun.confirm_what', {
            count: preview.payouts,
            total: <Amount money={preview.total} strong />,
            provider: byProvider(preview.provider),
          })}
          {preview.needs_approval && ` ${t('payoutRun.wait_for_approval')}`}
        </p>
      </Form>
    </Dialog>
  );
}

function LeftOut(props: { rows: Schemas['PayoutPreview']['left_out']; nameOf: (id: string) => string }) {
  return (
    <Table
      label={t('payoutRun.partners_not_paid')}
      rows={props.rows}
      rowKey={({ affiliate_id }) => affiliate_id}
      columns={[
        { title: t('common.partner'), head: true, cell: ({ affiliate_id }) => props.nameOf(affiliate_id) },
        { title: t('common.reason'), cell: ({ detail }) => detail },
        { title: t('payoutRun.on_hold'), numeric: true, cell: ({ pending }) => <Amount money={pending} /> },
        {
          title: t('common.available'),
          numeric: true,
          cell: ({ available }) => <Amount money={available} />,
        },
        { title: t('common.debt'), numeric: true, cell: ({ debt }) => <Amount money={debt} /> },
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
  return <Progress done={made} total={total} label={t('payoutRun.progress', { made, count: total })} />;
}

function RunResult({ result }: { result: Schemas['PayoutRunResult'] }) {
  const { vested, built, awaiting_approval, submitted, failed, unknown, stopped } = result;
  const parts = [
    t('payoutRun.holds_ended', { count: vested }),
    t('payoutRun.payouts_created', { count: built }),
    t('payoutRun.submitted', { count: submitted }),
    ...(awaiting_approval > 0 ? [t('payoutRun.awaiting_approval', { count: awaiting_approval })] : []),
    ...(failed > 0 ? [t('payoutRun.refused', { count: failed })] : []),
    ...(unknown > 0 ? [t('payoutRun.unknown', { count: unknown })] : []),
  ];
  const isGood = failed === 0 && unknown === 0 && stopped === null;
  return (
    <p class={isGood ? 'notice good' : 'notice warn'} role="status">
      <span>
        {parts.join(', ')}.{stopped !== null && ` ${t('payoutRun.stopped', { reason: stopped })}`}
      </span>
    </p>
  );
}
