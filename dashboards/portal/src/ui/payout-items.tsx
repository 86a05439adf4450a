import { api, type Schemas, take } from '../data/api.ts';
import { useData } from '../data/use-data.ts';
import { providerName, words } from '../text/format.ts';
import { Amount, Loading, Problem, When } from './basics.tsx';
import { Dialog } from './forms.tsx';
import { Status } from './status.tsx';
import { Table } from './table.tsx';

/** The commissions of a payout. */
export function PayoutItems({ payout, onClose }: { payout: Schemas['Payout']; onClose: () => void }) {
  const { data, error } = useData(
    async (signal) =>
      (await take(api.GET('/v1/payouts/{id}/items', { params: { path: { id: payout.id } }, signal }))).data,
    [payout.id],
  );
  return (
    <Dialog title={`Payout ${payout.id}`} onClose={onClose}>
      <div class="stack">
        <dl class="facts">
          <dt>Amount</dt>
          <dd>
            <Amount money={payout.amount} strong />
          </dd>
          <dt>Status</dt>
          <dd>
            <Status of={payout.state} /> {payout.failure}
          </dd>
          <dt>By</dt>
          <dd>{providerName(payout.provider)}</dd>
          <dt>To</dt>
          <dd>
            <Destination to={payout.destination} />
          </dd>
          <dt>Submitted</dt>
          <dd>
            <When at={payout.submitted_at} none="not yet" />
          </dd>
          <dt>Closed</dt>
          <dd>
            <When at={payout.closed_at} none="not yet" />
          </dd>
        </dl>
        <Problem error={error} />
        {data === undefined && error === undefined && <Loading />}
        {data && (
          <Table
            label="Commissions"
            rows={data}
            rowKey={({ commission_id, kind }) => commission_id ?? kind}
            columns={[
              { title: 'For', head: true, cell: ({ commission_id, kind }) => commission_id ?? words(kind) },
              { title: 'Amount', numeric: true, cell: ({ amount }) => <Amount money={amount} /> },
            ]}
          />
        )}
      </div>
    </Dialog>
  );
}

/** Where a payout goes, by its hint. */
export function Destination({ to }: { to: Schemas['PayoutDestination'] | null }) {
  if (to === null) return <span class="muted">No account</span>;
  return (
    <>
      {to.hint}
      <span class="sub">{to.kind === 'email' ? 'E-mail address' : words(to.kind)}</span>
    </>
  );
}

/** Payouts wait after a change of where they go. */
export function HoldNotice({ hold }: { hold: Schemas['PayoutMethod']['hold'] }) {
  if (hold === null) return null;
  return (
    <p class="notice warn">
      <span>
        Payouts on hold until <When at={hold.until} />, because{' '}
        {hold.changed === 'email' ? 'the e-mail address' : 'the payout method'} was changed on{' '}
        <When at={hold.changed_at} />. If you did not change it, write to the program at once.
      </span>
    </p>
  );
}
