import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { useList } from '../../data/use-list.ts';
import { useNames } from '../../data/use-names.ts';
import { words, ZONE_NAME } from '../../text/format.ts';
import { rich, t } from '../../text/t.ts';
import { Amount, Button, Card, Empty, Page, Problem, When } from '../../ui/basics.tsx';
import { Dialog, Form, TextField } from '../../ui/forms.tsx';
import { choicesOf } from '../../ui/list-tools.tsx';
import { PayoutItems } from '../../ui/money/payout-items.tsx';
import { StatementDocuments } from '../../ui/money/statements.tsx';
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
const FILTERS = ['affiliate_id', 'state'];
const STATES = [
  { value: 'awaiting_approval', text: t('payouts.awaiting_approval') },
  { value: 'submitted', text: words('submitted') },
  { value: 'unknown', text: t('payouts.unknown') },
  { value: 'paid', text: t('common.paid') },
  { value: 'failed', text: t('common.failed') },
  { value: 'returned', text: t('payouts.returned') },
];

export function PayoutsPage() {
  const { program } = useSession();
  const [shown, setShown] = useState<Payout>();
  /** Counts the changes of the settings, after which the preview is another. */
  const [saved, setSaved] = useState(0);
  const names = useNames();
  const list = useList((query, signal) => api.GET('/v1/payouts', { params: { query }, signal }), {
    query: { program_id: program.id },
    filters: FILTERS,
    everyMs: EVERY_MS,
  });
  const tools = {
    search: t('list.partner_or_payout'),
    filters: [
      { name: 'affiliate_id', label: t('common.partner'), choices: choicesOf(names) },
      { name: 'state', label: t('common.status'), choices: STATES },
    ],
    days: true,
    file: '/v1/payouts.csv',
  };
  return (
    <Page title={t('common.payouts')} lead={t('payouts.preview_of_the_next_run')}>
      <PayoutApprovals onDecided={list.reload} />
      <PayoutRun key={saved} names={names} onDone={list.reload} />
      <Card title={t('payouts.all_payouts')}>
        <ListTable
          label={t('common.payouts')}
          list={list}
          tools={tools}
          rowKey={({ id }) => id}
          empty={<Empty title={t('payouts.no_payouts')}>{t('payouts.a_run_pays_available_balances')}</Empty>}
          columns={[
            {
              title: t('common.partner'),
              head: true,
              sort: 'affiliate',
              cell: ({ affiliate_id, id, destination }) => (
                <>
                  {names.get(affiliate_id) ?? affiliate_id}
                  <span class="sub">
                    {id}
                    {destination && `, ${t('payouts.to', { hint: destination.hint })}`}
                  </span>
                </>
              ),
            },
            {
              title: t('common.created_zone', { zone: ZONE_NAME }),
              sort: 'created_at',
              cell: ({ created_at }) => <When at={created_at} />,
            },
            {
              title: t('common.status'),
              sort: 'state',
              cell: ({ state: one, failure }) => (
                <>
                  <Status of={one} />
                  {failure && <span class="sub">{failure}</span>}
                </>
              ),
            },
            {
              title: t('common.closed_zone', { zone: ZONE_NAME }),
              cell: ({ closed_at }) => <When at={closed_at} />,
            },
            {
              title: t('common.amount'),
              numeric: true,
              sort: 'amount',
              cell: ({ amount }) => <Amount money={amount} strong />,
            },
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
  markPaid: {
    path: '/v1/payouts/{id}/mark-paid',
    text: t('payouts.mark_paid'),
    from: ['submitted', 'unknown'],
  },
  fail: { path: '/v1/payouts/{id}/fail', text: t('payouts.mark_failed'), from: ['submitted', 'unknown'] },
  return: { path: '/v1/payouts/{id}/return', text: t('payouts.mark_returned'), from: ['paid'] },
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
        <Button onClick={onShow} label={t('payouts.open_payout', { payout: payout.id })}>
          {t('common.open')}
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
        submit={t('payouts.record_it')}
        kind="danger"
        busy={busy}
        error={error}
        onSubmit={() => void run()}
        onCancel={props.onClose}
      >
        <p>
          {rich('payouts.amount_become_available_to_the', {
            amount: <Amount money={payout.amount} strong />,
          })}
        </p>
        <TextField
          label={t('payouts.reason_given_by_the_provider')}
          value={failure}
          onChange={setFailure}
          max={200}
          required
        />
      </Form>
    </Dialog>
  );
}
