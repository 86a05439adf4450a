import { useState } from 'preact/hooks';
import { useParameter } from '../app/router.tsx';
import { usePartner } from '../app/session.tsx';
import { api, type Schemas, take } from '../data/api.ts';
import { useData } from '../data/use-data.ts';
import { useLinkedOrder } from '../data/use-linked-order.ts';
import { usePages } from '../data/use-pages.ts';
import { words, ZONE_NAME } from '../text/format.ts';
import { whyText } from '../text/why.ts';
import { Amount, Button, Card, Empty, Loading, Page, Problem, When } from '../ui/basics.tsx';
import { Dialog, Segments } from '../ui/forms.tsx';
import { CompleteTo } from '../ui/freshness.tsx';
import { OrderThread } from '../ui/order-thread.tsx';
import { Status } from '../ui/status.tsx';
import { ListTable, Table } from '../ui/table.tsx';

const EVERY_MS = 10_000;
const PAGE_ROWS = 25;
const STATUSES = [
  { value: '', text: 'All' },
  { value: 'pending', text: 'Pending' },
  { value: 'confirmed', text: 'Confirmed' },
  { value: 'paid', text: 'Paid' },
  { value: 'rejected', text: 'Rejected' },
];

const SUBS = ['sub1', 'sub2', 'sub3', 'sub4', 'sub5'] as const;

/** Its event, and by which of its partner's own labels it came. */
function aboutOf(conversion: Schemas['Conversion']): string {
  const subs = SUBS.flatMap((name) => (conversion[name] ? [`${name} ${conversion[name]}`] : []));
  return [...(conversion.event_name === 'sale' ? [] : [words(conversion.event_name)]), ...subs].join(', ');
}

export function ConversionsPage() {
  const { affiliateId } = usePartner();
  const [status, setStatus] = useParameter('status');
  const [shown, setShown] = useState<Schemas['ReadConversion']>();
  useLinkedOrder(setShown);
  const list = usePages(
    (cursor, signal) => {
      const query = {
        limit: PAGE_ROWS,
        cursor,
        ...(status !== '' && { status: status as Schemas['Conversion']['status'] }),
      };
      return api.GET('/v1/conversions', { params: { query }, signal });
    },
    [affiliateId, status],
    EVERY_MS,
  );
  return (
    <Page
      title="Conversions"
      lead="Orders of your visitors, with the decision and the reason."
      actions={<Segments label="Status" value={status} onChange={setStatus} choices={STATUSES} />}
    >
      <Card>
        <ListTable
          label="Conversions"
          list={list}
          rowKey={({ id }) => id}
          empty={
            <Empty title={status === '' ? 'No conversions yet' : 'No conversions with this status'}>
              A conversion appears seconds after the shop reports the order. If orders are missing, ask the
              program whether the shop passes the click ID on.
            </Empty>
          }
          columns={[
            {
              title: 'Order',
              head: true,
              cell: (conversion) => (
                <>
                  {conversion.order_id}
                  <span class="sub">{aboutOf(conversion)}</span>
                </>
              ),
            },
            { title: `Ordered (${ZONE_NAME})`, cell: ({ occurred_at }) => <When at={occurred_at} /> },
            { title: 'Order value', numeric: true, cell: ({ amount }) => <Amount money={amount} /> },
            {
              title: 'Your commission',
              numeric: true,
              cell: ({ own_commission }) => own_commission && <Amount money={own_commission} strong />,
            },
            { title: 'Status', cell: ({ state }) => <Status of={state} /> },
            { title: 'Payment', cell: ({ status: paid }) => <Status of={paid} /> },
            { title: 'Why', cell: whyText },
            {
              title: '',
              cell: (conversion) => (
                <div class="actions">
                  <Button
                    onClick={() => setShown(conversion)}
                    label={`Details of order ${conversion.order_id}`}
                  >
                    Details
                  </Button>
                </div>
              ),
            },
          ]}
        />
      </Card>
      <p class="note">
        <CompleteTo />
      </p>
      {shown && <Details conversion={shown} onClose={() => setShown(undefined)} />}
    </Page>
  );
}

function Details({ conversion, onClose }: { conversion: Schemas['ReadConversion']; onClose: () => void }) {
  const { affiliateId } = usePartner();
  const { data, error } = useData(
    async (signal) => {
      const query = { conversion_id: conversion.id, affiliate_id: affiliateId };
      return (await take(api.GET('/v1/commissions', { params: { query }, signal }))).data;
    },
    [conversion.id],
  );
  return (
    <Dialog title={`Order ${conversion.order_id}`} onClose={onClose}>
      <div class="stack">
        <dl class="facts">
          <dt>Ordered</dt>
          <dd>
            <When at={conversion.occurred_at} />
          </dd>
          <dt>Decided</dt>
          <dd>
            <When at={conversion.decided_at} none="not yet" />
          </dd>
          <dt>Order value</dt>
          <dd>
            <Amount money={conversion.amount} />
            {Number(conversion.refunded.amount) > 0 && (
              <>
                , <Amount money={conversion.refunded} /> refunded
              </>
            )}
          </dd>
          <dt>Decision</dt>
          <dd>
            <Status of={conversion.state} /> {whyText(conversion)}
          </dd>
          <dt>Click</dt>
          <dd>{conversion.click_id === null ? 'none' : <code>{conversion.click_id}</code>}</dd>
          {SUBS.flatMap((name) => {
            const sub = conversion[name];
            return sub ? [<dt key={name}>{words(name)}</dt>, <dd key={`${name} value`}>{sub}</dd>] : [];
          })}
        </dl>
        <OrderThread orderId={conversion.id} />
        <h3>Your commission</h3>
        <Problem error={error} />
        {data === undefined && error === undefined && <Loading />}
        {data?.length === 0 && <p class="muted">None: only credited orders earn a commission.</p>}
        {data && data.length > 0 && <Commissions rows={data} />}
      </div>
    </Dialog>
  );
}

function Commissions({ rows }: { rows: readonly Schemas['Commission'][] }) {
  return (
    <Table
      label="Commissions"
      rows={rows}
      rowKey={({ id }) => id}
      columns={[
        { title: 'Status', cell: ({ state }) => <Status of={state} /> },
        {
          title: 'On hold until',
          cell: ({ state, available_at }) => (state === 'pending' ? <When at={available_at} /> : '–'),
        },
        { title: 'Earned', numeric: true, cell: ({ amount }) => <Amount money={amount} /> },
        { title: 'Reversed', numeric: true, cell: ({ reversed }) => <Amount money={reversed} /> },
      ]}
    />
  );
}
