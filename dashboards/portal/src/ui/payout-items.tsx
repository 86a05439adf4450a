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
