import { useState } from 'preact/hooks';
import { useParameter } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas } from '../../data/api.ts';
import { usePages } from '../../data/use-pages.ts';
import { words, ZONE_NAME } from '../../text/format.ts';
import { rich, t } from '../../text/t.ts';
import { whyText } from '../../text/why.ts';
import { Amount, Button, Card, Empty, Page, When } from '../../ui/basics.tsx';
import { Select, TextField } from '../../ui/forms.tsx';
import { Status } from '../../ui/status.tsx';
import { ListTable } from '../../ui/table.tsx';
import { EraseCustomer } from './erase-customer.tsx';
import type { Conversion } from './order-act.tsx';
import { OrderDetails } from './order-details.tsx';

const EVERY_MS = 10_000;
const PAGE_ROWS = 25;
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
const STATE_CHOICES = [
  { value: '', text: t('conversions.all_statuses') },
  ...STATES.map((value) => ({ value, text: words(value) })),
];
const FIELDS = {
  order_id: t('common.order'),
  click_id: t('conversions.click_id'),
  customer_id: t('common.customer'),
  affiliate_id: t('conversions.partners_id'),
  event_name: t('common.event'),
} as const;
type FieldName = keyof typeof FIELDS;

export function ConversionsPage() {
  const { program, user } = useSession();
  const [state, setState] = useParameter('state');
  const [field, setField] = useParameter('field', 'order_id');
  const [text, setText] = useParameter('text');
  const [shown, setShown] = useState<Conversion>();
  const list = usePages(
    (cursor, signal) => {
      const query = {
        program_id: program.id,
        limit: PAGE_ROWS,
        cursor,
        ...(state !== '' && { state: state as Conversion['state'] }),
        ...(text !== '' && { [field]: text }),
      };
      return api.GET('/v1/conversions', { params: { query }, signal });
    },
    [program.id, state, field, text],
    EVERY_MS,
  );
  return (
    <Page title={t('common.conversions')} lead={t('conversions.every_recorded_order_with_its')}>
      <Card>
        <div class="filters above">
          <Select label={t('common.status')} value={state} onChange={setState} choices={STATE_CHOICES} />
          <Select
            label={t('conversions.search_in')}
            value={field}
            onChange={setField}
            choices={(Object.keys(FIELDS) as FieldName[]).map((value) => ({ value, text: FIELDS[value] }))}
          />
          <TextField
            label={FIELDS[field as FieldName] ?? t('conversions.text')}
            type="search"
            value={text}
            onChange={setText}
            placeholder={t('conversions.exact_value')}
          />
        </div>
        {field === 'customer_id' && text.trim() !== '' && user.role === 'operator' && (
          <EraseCustomer key={text} customer={text} onErased={list.reload} />
        )}
        <ListTable
          label={t('common.conversions')}
          list={list}
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
              cell: ({ order_id, event_name, id }) => (
                <>
                  {order_id}
                  <span class="sub">{event_name === 'sale' ? id : `${words(event_name)}, ${id}`}</span>
                </>
              ),
            },
            {
              title: t('common.ordered_zone', { zone: ZONE_NAME }),
              cell: ({ occurred_at }) => <When at={occurred_at} />,
            },
            { title: t('common.by'), cell: ({ source }) => words(source) },
            {
              title: t('common.order_value'),
              numeric: true,
              cell: ({ amount }) => <Amount money={amount} />,
            },
            {
              title: t('conversions.taken_off'),
              numeric: true,
              cell: ({ refunded }) => <Refunded money={refunded} />,
            },
            {
              title: t('common.status'),
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

function Refunded({ money }: { money: Schemas['Money'] }) {
  return Number(money.amount) === 0 ? <span class="muted">–</span> : <Amount money={money} />;
}
