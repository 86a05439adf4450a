import { useState } from 'preact/hooks';
import { useParameter } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas } from '../../data/api.ts';
import { useLinkedOrder } from '../../data/use-linked-order.ts';
import { usePages } from '../../data/use-pages.ts';
import { words, ZONE_NAME } from '../../text/format.ts';
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
const FIELDS = {
  order_id: 'Order',
  click_id: 'Click id',
  customer_id: 'Customer',
  affiliate_id: 'Partner’s id',
  event_name: 'Event',
} as const;
type FieldName = keyof typeof FIELDS;

export function ConversionsPage() {
  const { program, user } = useSession();
  const [state, setState] = useParameter('state');
  const [field, setField] = useParameter('field', 'order_id');
  const [text, setText] = useParameter('text');
  const [shown, setShown] = useState<Conversion>();
  useLinkedOrder(setShown);
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
    <Page title="Conversions" lead="Every recorded order with its decision and the reason.">
      <Card>
        <div class="filters above">
          <Select
            label="Status"
            value={state}
            onChange={setState}
            choices={[
              { value: '', text: 'All statuses' },
              ...STATES.map((value) => ({ value, text: words(value) })),
            ]}
          />
          <Select
            label="Search in"
            value={field}
            onChange={setField}
            choices={(Object.keys(FIELDS) as FieldName[]).map((value) => ({ value, text: FIELDS[value] }))}
          />
          <TextField
            label={FIELDS[field as FieldName] ?? 'Text'}
            type="search"
            value={text}
            onChange={setText}
            placeholder="exact value"
          />
        </div>
        {field === 'customer_id' && text.trim() !== '' && user.role === 'operator' && (
          <EraseCustomer key={text} customer={text} onErased={list.reload} />
        )}
        <ListTable
          label="Conversions"
          list={list}
          rowKey={({ id }) => id}
          empty={
            <Empty title="No conversions found">
              Conversions appear when the shop reports orders: see <a href="/docs">the API</a> for the calls,
              and the postback calls for refused ones.
            </Empty>
          }
          columns={[
            {
              title: 'Order',
              head: true,
              cell: ({ order_id, event_name, id }) => (
                <>
                  {order_id}
                  <span class="sub">{event_name === 'sale' ? id : `${words(event_name)}, ${id}`}</span>
                </>
              ),
            },
            { title: `Ordered (${ZONE_NAME})`, cell: ({ occurred_at }) => <When at={occurred_at} /> },
            { title: 'By', cell: ({ source }) => words(source) },
            { title: 'Order value', numeric: true, cell: ({ amount }) => <Amount money={amount} /> },
            { title: 'Taken off', numeric: true, cell: ({ refunded }) => <Refunded money={refunded} /> },
            {
              title: 'Status',
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
                  <Button onClick={() => setShown(conversion)} label={`Open order ${conversion.order_id}`}>
                    Open
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
