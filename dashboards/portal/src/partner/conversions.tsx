import { useState } from 'preact/hooks';
import { usePartner } from '../app/session.tsx';
import { api, type Schemas, take } from '../data/api.ts';
import { useData } from '../data/use-data.ts';
import { useLinkedOrder } from '../data/use-linked-order.ts';
import { useList } from '../data/use-list.ts';
import { words, ZONE_NAME } from '../text/format.ts';
import { rich, t } from '../text/t.ts';
import { whyText } from '../text/why.ts';
import { Amount, Button, Card, Empty, Loading, Page, Problem, When } from '../ui/basics.tsx';
import { Dialog } from '../ui/forms.tsx';
import { OrderThread } from '../ui/orders/order-thread.tsx';
import { Status } from '../ui/status.tsx';
import { ListTable, Table } from '../ui/table.tsx';

const EVERY_MS = 10_000;
const STATUSES = [
  { value: 'pending', text: t('common.pending') },
  { value: 'confirmed', text: t('partnerConversions.confirmed') },
  { value: 'paid', text: t('common.paid') },
  { value: 'rejected', text: t('common.rejected') },
];

const TOOLS = {
  search: t('list.order_or_click'),
  filters: [{ name: 'status', label: t('common.payment'), choices: STATUSES }],
  days: true,
  file: '/v1/conversions.csv',
};

const SUBS = ['sub1', 'sub2', 'sub3', 'sub4', 'sub5'] as const;

/** Its event, and by which of its partner's own labels it came. */
function aboutOf(conversion: Schemas['Conversion']): string {
  const subs = SUBS.flatMap((name) => (conversion[name] ? [`${name} ${conversion[name]}`] : []));
  return [...(conversion.event_name === 'sale' ? [] : [words(conversion.event_name)]), ...subs].join(', ');
}

export function ConversionsPage() {
  const { affiliateId } = usePartner();
  const [shown, setShown] = useState<Schemas['ReadConversion']>();
  useLinkedOrder(setShown);
  const list = useList((query, signal) => api.GET('/v1/conversions', { params: { query }, signal }), {
    query: { affiliate_id: affiliateId },
    filters: ['status'],
    everyMs: EVERY_MS,
  });
  return (
    <Page title={t('common.conversions')} lead={t('partnerConversions.orders_of_your_visitors_with')}>
      <Card>
        <ListTable
          label={t('common.conversions')}
          list={list}
          tools={TOOLS}
          rowKey={({ id }) => id}
          empty={
            <Empty title={t('common.no_conversions_yet')}>
              {t('partnerConversions.a_conversion_appears_seconds_after')}
            </Empty>
          }
          columns={[
            {
              title: t('common.order'),
              head: true,
              sort: 'order_id',
              cell: (conversion) => (
                <>
                  {conversion.order_id}
                  <span class="sub">{aboutOf(conversion)}</span>
                </>
              ),
            },
            {
              title: t('common.ordered_zone', { zone: ZONE_NAME }),
              sort: 'occurred_at',
              cell: ({ occurred_at }) => <When at={occurred_at} />,
            },
            {
              title: t('common.order_value'),
              numeric: true,
              sort: 'amount',
              cell: ({ amount }) => <Amount money={amount} />,
            },
            {
              title: t('common.your_commission'),
              numeric: true,
              cell: ({ own_commission }) => own_commission && <Amount money={own_commission} strong />,
            },
            { title: t('common.status'), cell: ({ state }) => <Status of={state} /> },
            { title: t('common.payment'), sort: 'status', cell: ({ status: paid }) => <Status of={paid} /> },
            { title: t('common.why'), cell: whyText },
            {
              title: '',
              cell: (conversion) => (
                <div class="actions">
                  <Button
                    onClick={() => setShown(conversion)}
                    label={t('partnerConversions.details_of_order_orderid', { orderId: conversion.order_id })}
                  >
                    {t('common.details')}
                  </Button>
                </div>
              ),
            },
          ]}
        />
      </Card>
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
    <Dialog title={t('common.order_orderid', { orderId: conversion.order_id })} onClose={onClose}>
      <div class="stack">
        <dl class="facts">
          <dt>{t('partnerConversions.ordered')}</dt>
          <dd>
            <When at={conversion.occurred_at} />
          </dd>
          <dt>{t('partnerConversions.decided')}</dt>
          <dd>
            <When at={conversion.decided_at} none={t('common.not_yet')} />
          </dd>
          <dt>{t('common.order_value')}</dt>
          <dd>
            <Amount money={conversion.amount} />
            {Number(conversion.refunded.amount) > 0 && (
              <>, {rich('partnerConversions.refunded', { amount: <Amount money={conversion.refunded} /> })}</>
            )}
          </dd>
          <dt>{t('common.decision')}</dt>
          <dd>
            <Status of={conversion.state} /> {whyText(conversion)}
          </dd>
          <dt>{t('partnerConversions.click')}</dt>
          <dd>
            {conversion.click_id === null ? t('common.none_given') : <code>{conversion.click_id}</code>}
          </dd>
          {SUBS.flatMap((name) => {
            const sub = conversion[name];
            return sub ? [<dt key={name}>{words(name)}</dt>, <dd key={`${name} value`}>{sub}</dd>] : [];
          })}
        </dl>
        <OrderThread orderId={conversion.id} />
        <h3>{t('common.your_commission')}</h3>
        <Problem error={error} />
        {data === undefined && error === undefined && <Loading />}
        {data?.length === 0 && <p class="muted">{t('partnerConversions.none_only_credited_orders_earn')}</p>}
        {data && data.length > 0 && <Commissions rows={data} />}
      </div>
    </Dialog>
  );
}

function Commissions({ rows }: { rows: readonly Schemas['Commission'][] }) {
  return (
    <Table
      label={t('common.commissions')}
      rows={rows}
      rowKey={({ id }) => id}
      columns={[
        { title: t('common.status'), cell: ({ state }) => <Status of={state} /> },
        {
          title: t('partnerConversions.on_hold_until'),
          cell: ({ state, available_at }) => (state === 'pending' ? <When at={available_at} /> : '–'),
        },
        { title: t('common.earned'), numeric: true, cell: ({ amount }) => <Amount money={amount} /> },
        {
          title: t('partnerConversions.reversed'),
          numeric: true,
          cell: ({ reversed }) => <Amount money={reversed} />,
        },
      ]}
    />
  );
}
