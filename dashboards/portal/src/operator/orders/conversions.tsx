import { useState } from 'preact/hooks';
import { mayRead, useSession } from '../../app/session.tsx';
import { api, type Schemas } from '../../data/api.ts';
import { useLinkedOrder } from '../../data/use-linked-order.ts';
import { type List, useList } from '../../data/use-list.ts';
import { useNames } from '../../data/use-names.ts';
import { words, ZONE_NAME } from '../../text/format.ts';
import { rich, t } from '../../text/t.ts';
import { whyText } from '../../text/why.ts';
import { Amount, Button, Card, Empty, Page, When } from '../../ui/basics.tsx';
import { TextField } from '../../ui/forms.tsx';
import { choicesOf, type Tools } from '../../ui/list-tools.tsx';
import { Status } from '../../ui/status.tsx';
import { ListTable } from '../../ui/table.tsx';
import { EraseCustomer } from './erase-customer.tsx';
import type { Conversion } from './order-act.tsx';
import { OrderDetails } from './order-details.tsx';

const EVERY_MS = 10_000;
const STATES = [
  'received',
  'awaiting_click',
  'attributed',
  'unattributed',
  'review',
  'rejected',
  'partially_refunded',
  'refunded',
] as const;
const STATE_CHOICES = STATES.map((value) => ({ value, text: words(value) }));
const FILTERS = ['affiliate_id', 'state', 'event_name', 'customer_id'];

export function ConversionsPage() {
  const { program, user } = useSession();
  const names = useNames();
  const [shown, setShown] = useState<Conversion>();
  useLinkedOrder(setShown);
  const list = useList((query, signal) => api.GET('/v1/conversions', { params: { query }, signal }), {
    query: { program_id: program.id },
    filters: FILTERS,
    everyMs: EVERY_MS,
  });
  const customer = list.selected.customer_id ?? '';
  return (
    <Page title={t('common.conversions')} lead={t('conversions.every_recorded_order_with_its')}>
      <Card>
        {customer.trim() !== '' && user.role === 'operator' && (
          <EraseCustomer key={customer} customer={customer} onErased={list.reload} />
        )}
        <ListTable
          label={t('common.conversions')}
          list={list}
          tools={toolsOf({ list, names, program, role: user.role })}
          rowKey={({ id }) => id}
          empty={
            <Empty title={t('conversions.no_conversions_found')}>
              {rich('conversions.conversions_appear_when_the_shop', {
                link: (text) => <a href="/docs">{text}</a>,
              })}
            </Empty>
          }
          columns={[
            {
              title: t('common.order'),
              head: true,
              sort: 'order_id',
              cell: ({ order_id, event_name, id }) => (
                <>
                  {order_id}
                  <span class="sub">{event_name === 'sale' ? id : `${words(event_name)}, ${id}`}</span>
                </>
              ),
            },
            {
              title: t('common.ordered_zone', { zone: ZONE_NAME }),
              sort: 'occurred_at',
              cell: ({ occurred_at }) => <When at={occurred_at} />,
            },
            ...(names.size > 0
              ? [
                  {
                    title: t('common.partner'),
                    sort: 'affiliate',
                    cell: ({ affiliate_id }: Conversion) =>
                      affiliate_id === null ? '–' : (names.get(affiliate_id) ?? affiliate_id),
                  },
                ]
              : []),
            { title: t('common.by'), cell: ({ source }) => words(source) },
            {
              title: t('common.order_value'),
              numeric: true,
              sort: 'amount',
              cell: ({ amount }) => <Amount money={amount} />,
            },
            {
              title: t('conversions.taken_off'),
              numeric: true,
              cell: ({ refunded }) => <Refunded money={refunded} />,
            },
            {
              title: t('common.status'),
              sort: 'status',
              cell: (conversion) => (
                <>
                  <Status of={conversion.state} />
                  <span class="sub">{whyText(conversion)}</span>
                </>
              ),
            },
            {
              title: '',
              cell: (conversion) => (
                <div class="actions">
                  <Button
                    onClick={() => setShown(conversion)}
                    label={t('conversions.open_order_orderid', { orderId: conversion.order_id })}
                  >
                    {t('common.open')}
                  </Button>
                </div>
              ),
            },
          ]}
        />
      </Card>
      {shown && (
        <OrderDetails
          conversion={shown}
          onClose={() => setShown(undefined)}
          onChanged={(conversion) => {
            setShown(conversion);
            list.reload();
          }}
        />
      )}
    </Page>
  );
}

function toolsOf(props: {
  list: List<Conversion>;
  names: ReadonlyMap<string, string>;
  program: Schemas['Program'];
  role: Schemas['User']['role'];
}): Tools {
  const { list, names, program, role } = props;
  const customer = list.selected.customer_id ?? '';
  return {
    search: t('list.order_or_click'),
    filters: [
      ...(names.size > 0
        ? [{ name: 'affiliate_id', label: t('common.partner'), choices: choicesOf(names) }]
        : []),
      { name: 'state', label: t('common.status'), choices: STATE_CHOICES },
      ...(program.events.length > 1
        ? [
            {
              name: 'event_name',
              label: t('common.event'),
              choices: program.events.map((value) => ({ value, text: words(value) })),
            },
          ]
        : []),
    ],
    days: true,
    file: '/v1/conversions.csv',
    more: mayRead('evidence', role) && (
      <TextField
        label={t('common.customer')}
        type="search"
        value={customer}
        onChange={(text) => list.select({ customer_id: text }, { replace: customer !== '' })}
        placeholder={t('list.whole_id')}
      />
    ),
  };
}

function Refunded({ money }: { money: Schemas['Money'] }) {
  return Number(money.amount) === 0 ? <span class="muted">–</span> : <Amount money={money} />;
}
