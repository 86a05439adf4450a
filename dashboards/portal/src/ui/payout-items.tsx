import { Link } from '../app/router.tsx';
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
            {payout.provider_failure && <span class="sub">{payout.provider_failure}</span>}
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
            rowKey={({ commission_id, kind }) => `${kind} ${commission_id}`}
            columns={[
              {
                title: 'For',
                head: true,
                cell: ({ commission_id, conversion_id, order_id, kind }) => (
                  <>
                    {order_id === null ? (conversion_id ?? words(kind)) : `Order ${order_id}`}
                    {commission_id && (
                      <span class="sub">
                        {kind === 'commission' ? commission_id : `${words(kind)}, ${commission_id}`}
                      </span>
                    )}
                  </>
                ),
              },
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

/** Why no payouts are made to a partner's payout method now. */
export function BlockedNotice({ method }: { method: Schemas['PayoutMethod'] | undefined }) {
  if (!method?.blocked) return null;
  return (
    <p class="notice warn">
      <span>
        <WhyBlocked method={method} />
      </span>
    </p>
  );
}

function WhyBlocked({ method: { blocked, hold, refused_at } }: { method: Schemas['PayoutMethod'] }) {
  switch (blocked) {
    case 'no_tax_data':
      return (
        <>
          The program needs your tax data. <Link to="/profile">Enter your tax data</Link> to receive the next
          payout.
        </>
      );
    case 'no_payout_method':
      return (
        <>
          No payout method set. <Link to="/profile">Set a payout method</Link> to receive the next payout.
        </>
      );
    case 'method_does_not_fit_provider':
      return (
        <>
          The program does not pay to a payout method of this kind.{' '}
          <Link to="/profile">Set another payout method</Link> to receive the next payout.
        </>
      );
    case 'method_refused':
      return (
        <>
          A payment to this account was refused or came back on <When at={refused_at} />.{' '}
          <Link to="/profile">Set another payout method</Link> to receive the next payout, or write to the
          program.
        </>
      );
    case 'destination_on_hold':
      return (
        <>
          Payouts on hold until <When at={hold?.until ?? null} />, because the payout method was changed on{' '}
          <When at={hold?.changed_at ?? null} />. If you did not change it, write to the program at once.
        </>
      );
    case null:
      return null;
  }
}
