import { useState } from 'preact/hooks';
import { useParameter } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { useNames } from '../../data/use-names.ts';
import { usePages } from '../../data/use-pages.ts';
import { ZONE_NAME } from '../../text/format.ts';
import { Amount, Button, Card, Empty, Page, Problem, When } from '../../ui/basics.tsx';
import { Dialog, Form, Segments, TextField } from '../../ui/forms.tsx';
import { PayoutItems } from '../../ui/payout-items.tsx';
import { StatementDocuments } from '../../ui/statements.tsx';
import { Status } from '../../ui/status.tsx';
import { ListTable } from '../../ui/table.tsx';
import { PaymentFiles } from './payment-files.tsx';
import { PaymentResults } from './payment-results.tsx';
import { PayoutApprovals } from './payout-approvals.tsx';
import { PayoutProtection } from './payout-protection.tsx';
import { PayoutRun } from './payout-run.tsx';
import { TaxSettings } from './tax-settings.tsx';

type Payout = Schemas['Payout'];

const EVERY_MS = 5_000;
const PAGE_ROWS = 50;
const STATES = [
  { value: '', text: 'All' },
  { value: 'awaiting_approval', text: 'Awaiting approval' },
  { value: 'submitted', text: 'In transit' },
  { value: 'unknown', text: 'Unknown' },
  { value: 'paid', text: 'Paid' },
  { value: 'failed', text: 'Failed' },
  { value: 'returned', text: 'Returned' },
];

export function PayoutsPage() {
  const { program } = useSession();
  const [state, setState] = useParameter('state');
  const [shown, setShown] = useState<Payout>();
  /** Counts the changes of the settings, after which the preview is another. */
  const [saved, setSaved] = useState(0);
  const names = useNames();
  const list = usePages(
    (cursor, signal) => {
      const query = {
        program_id: program.id,
        limit: PAGE_ROWS,
        cursor,
        ...(state !== '' && { state: state as Payout['state'] }),
      };
      return api.GET('/v1/payouts', { params: { query }, signal });
    },
    [program.id, state],
    EVERY_MS,
  );
  return (
    <Page title="Payouts" lead="Preview of the next run, the run itself, and the outcome of each payout.">
      <PayoutApprovals onDecided={list.reload} />
      <PayoutRun key={saved} names={names} onDone={list.reload} />
      <Card
        title="All payouts"
        actions={<Segments label="Status" value={state} onChange={setState} choices={STATES} />}
      >
        <ListTable
          label="Payouts"
          list={list}
          rowKey={({ id }) => id}
          empty={
            <Empty title="No payouts">
              A run pays available balances that reach the minimum payout of the terms.
            </Empty>
          }
          columns={[
            {
              title: 'Partner',
              head: true,
              cell: ({ affiliate_id, id, destination }) => (
                <>
                  {names.get(affiliate_id) ?? affiliate_id}
                  <span class="sub">
                    {id}
                    {destination && `, to ${destination.hint}`}
                  </span>
                </>
              ),
            },
            { title: `Created (${ZONE_NAME})`, cell: ({ created_at }) => <When at={created_at} /> },
            {
              title: 'Status',
              cell: ({ state: one, failure }) => (
                <>
                  <Status of={one} />
                  {failure && <span class="sub">{failure}</span>}
                </>
              ),
            },
            { title: `Closed (${ZONE_NAME})`, cell: ({ closed_at }) => <When at={closed_at} /> },
            { title: 'Amount', numeric: true, cell: ({ amount }) => <Amount money={amount} strong /> },
            {
              title: '',
              cell: (payout) => (
                <Endings payout={payout} onShow={() => setShown(payout)} onChanged={list.reload} />
              ),
            },
          ]}
        />
      </Card>
      <PaymentFiles />
      <PaymentResults onRecorded={list.reload} />
      <StatementDocuments programId={program.id} names={names} />
      <TaxSettings onSaved={() => setSaved(saved + 1)} />
      <PayoutProtection onSaved={() => setSaved(saved + 1)} />
      {shown && <PayoutItems payout={shown} onClose={() => setShown(undefined)} />}
    </Page>
  );
}

/** Outcomes of a payout that an operator can record, by its state. */
const ENDINGS = {
  markPaid: { path: '/v1/payouts/{id}/mark-paid', text: 'Mark paid', from: ['submitted', 'unknown'] },
  fail: { path: '/v1/payouts/{id}/fail', text: 'Mark failed', from: ['submitted', 'unknown'] },
  return: { path: '/v1/payouts/{id}/return', text: 'Mark returned', from: ['paid'] },
} as const;
type Ending = keyof typeof ENDINGS;

function Endings(props: { payout: Payout; onShow: () => void; onChanged: () => void }) {
  const { payout, onShow, onChanged } = props;
  const [asking, setAsking] = useState<'fail' | 'return'>();
  const markPaid = useAction(async () => {
    await take(api.POST('/v1/payouts/{id}/mark-paid', { params: { path: { id: payout.id } } }));
    onChanged();
  });
  const endings = (Object.keys(ENDINGS) as Ending[]).filter((ending) =>
    (ENDINGS[ending].from as readonly string[]).includes(payout.state),
  );
  return (
    <>
      <div class="actions">
        {endings.map((ending) => (
          <Button
            key={ending}
            label={`${ENDINGS[ending].text}: ${payout.id}`}
            busy={ending === 'markPaid' && markPaid.busy}
            onClick={() => (ending === 'markPaid' ? void markPaid.run() : setAsking(ending))}
          >
            {ENDINGS[ending].text}
          </Button>
        ))}
        <Button onClick={onShow} label={`Open ${payout.id}`}>
          Open
        </Button>
      </div>
      <Problem error={markPaid.error} />
      {asking && (
        <Failing
          payout={payout}
          ending={asking}
          onClose={() => setAsking(undefined)}
          onDone={() => {
            setAsking(undefined);
            onChanged();
          }}
        />
      )}
    </>
  );
}

function Failing(props: {
  payout: Payout;
  ending: 'fail' | 'return';
  onClose: () => void;
  onDone: () => void;
}) {
  const { payout, ending } = props;
  const [failure, setFailure] = useState('');
  const { run, busy, error } = useAction(async () => {
    await take(api.POST(ENDINGS[ending].path, { params: { path: { id: payout.id } }, body: { failure } }));
    props.onDone();
  });
  return (
    <Dialog title={`${ENDINGS[ending].text}: ${payout.id}`} onClose={props.onClose}>
      <Form
        submit="Record it"
        kind="danger"
        busy={busy}
        error={error}
        onSubmit={() => void run()}
        onCancel={props.onClose}
      >
        <p>
          <Amount money={payout.amount} strong /> become available to the partner again and are part of the
          next run.
        </p>
        <TextField
          label="Reason given by the provider"
          value={failure}
          onChange={setFailure}
          max={200}
          required
        />
      </Form>
    </Dialog>
  );
}
