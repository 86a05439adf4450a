import { useState } from 'preact/hooks';
import { useParameter } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { usePages } from '../../data/use-pages.ts';
import { words, ZONE_NAME } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { reasonText } from '../../text/reasons.ts';
import { Amount, Button, Card, Empty, Page, Problem, When } from '../../ui/basics.tsx';
import { Dialog, Form, Select, TextField } from '../../ui/forms.tsx';
import { Status } from '../../ui/status.tsx';
import { ListTable } from '../../ui/table.tsx';
import { CREDITABLE, Credit } from './credit.tsx';
import { EraseCustomer } from './erase-customer.tsx';
import { Evidence } from './evidence.tsx';

type Conversion = Schemas['Conversion'];

const EVERY_MS = 10_000;
const PAGE_ROWS = '25';
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
            { title: 'Refunded', numeric: true, cell: ({ refunded }) => <Refunded money={refunded} /> },
            {
              title: 'Status',
              cell: ({ state: one, reason }) => (
                <>
                  <Status of={one} />
                  {reason !== null && <span class="sub">{reasonText(reason)}</span>}
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
        <Details
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

function Details(props: {
  conversion: Conversion;
  onClose: () => void;
  onChanged: (conversion: Conversion) => void;
}) {
  const { conversion, onChanged } = props;
  const { user } = useSession();
  const [form, setForm] = useState<'refund' | 'credit'>();
  const params = { path: { id: conversion.id } };
  const confirm = useAction(async () => {
    onChanged(await take(api.POST('/v1/conversions/{id}/confirm', { params })));
  });
  const isCancelled = conversion.cancelled_at !== null;
  const cancel = useAction(async () => {
    const act = isCancelled ? '/v1/conversions/{id}/restore' : '/v1/conversions/{id}/cancel';
    onChanged((await take(api.POST(act, { params, body: {} }))).conversion);
  });
  const formProps = {
    conversion,
    onCancel: () => setForm(undefined),
    onDone: (changed: Conversion) => {
      setForm(undefined);
      onChanged(changed);
    },
  };
  const isCredited = conversion.state === 'attributed' || conversion.state === 'partially_refunded';
  return (
    <Dialog title={`Order ${conversion.order_id}`} onClose={props.onClose}>
      <div class="stack">
        <Problem error={confirm.error ?? cancel.error} />
        {form === 'refund' && <Refund {...formProps} />}
        {form === 'credit' && <Credit {...formProps} />}
        {form === undefined && (
          <div class="form-end">
            {conversion.state !== 'refunded' && user.role !== 'fraud' && (
              <Button onClick={() => setForm('refund')}>Refund</Button>
            )}
            {user.role === 'operator' && CREDITABLE.has(conversion.state) && (
              <Button kind="primary" onClick={() => setForm('credit')}>
                Credit to a partner
              </Button>
            )}
            {user.role === 'operator' && (
              <Button onClick={() => void cancel.run()} busy={cancel.busy}>
                {isCancelled ? 'Restore the order' : 'Cancel the order'}
              </Button>
            )}
            {isCredited && conversion.status === 'pending' && user.role === 'operator' && (
              <Button onClick={() => void confirm.run()} busy={confirm.busy}>
                End the hold
              </Button>
            )}
          </div>
        )}
        <Evidence conversion={conversion} />
      </div>
    </Dialog>
  );
}

function Refund(props: {
  conversion: Conversion;
  onCancel: () => void;
  onDone: (conversion: Conversion) => void;
}) {
  const { conversion } = props;
  const { amount: ordered, refunded } = conversion;
  const [attempt] = useState(newAttempt);
  const [amount, setAmount] = useState(ordered.amount);
  const [reference, setReference] = useState('');
  const { run, busy, error } = useAction(async () => {
    const body = {
      program_id: conversion.program_id,
      conversion_id: conversion.id,
      refund_ref: reference,
      amount,
      currency: ordered.currency,
    };
    props.onDone((await take(api.POST('/v1/refunds', { params: { header: attempt }, body }))).conversion);
  });
  const faults = fieldProblems(error);
  const isOnFields = faults.amount !== undefined || faults.refund_ref !== undefined;
  return (
    <Form
      submit="Record the refund"
      kind="danger"
      busy={busy}
      error={isOnFields ? undefined : error}
      onSubmit={() => void run()}
      onCancel={props.onCancel}
    >
      <div class="form-row">
        <TextField
          label={`Refunded amount, ${ordered.currency}`}
          inputMode="decimal"
          value={amount}
          onChange={setAmount}
          fault={faults.amount}
          hint={`${refunded.amount} of ${ordered.amount} already refunded.`}
          required
        />
        <TextField
          label="The shop’s reference"
          value={reference}
          onChange={setReference}
          fault={faults.refund_ref}
          hint="A refund reported again under the same reference counts once."
          required
        />
      </div>
      <p class="hint">Commissions of all levels are reduced in proportion. Paid commissions become debt.</p>
    </Form>
  );
}
