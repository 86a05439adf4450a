import { useState } from 'preact/hooks';
import { api, newAttempt, take } from '../../../data/api.ts';
import { useAction } from '../../../data/use-data.ts';
import { reasonText } from '../../../text/reasons.ts';
import { t } from '../../../text/t.ts';
import { Amount, Button, Card, Empty, Problem, When } from '../../../ui/basics.tsx';
import { Dialog, Form, TextArea } from '../../../ui/forms.tsx';
import { Status } from '../../../ui/status.tsx';
import { type Column, Table } from '../../../ui/table.tsx';
import { DecideCase, type Decided, type Deciding } from './decide-case.tsx';
import { type CaseDetails, type CaseOrder, sumText } from './kinds.ts';

interface Props {
  readonly found: CaseDetails;
  readonly names: ReadonlyMap<string, string>;
  readonly onChanged: () => void;
}

/** The orders of a case, of which some or all are decided together. */
export function CaseOrders({ found, names, onChanged }: Props) {
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [isAdding, setAdding] = useState(false);
  // As they were when the dialog was opened: what is loaded meanwhile is not decided unseen.
  const [deciding, setDeciding] = useState<Deciding>();
  const [decided, setDecided] = useState<Decided>();
  const remove = useAction(async (conversion_id: string) => {
    const params = { path: { id: found.id, conversion_id }, header: newAttempt() };
    await take(api.DELETE('/v1/cases/{id}/orders/{conversion_id}', { params }));
    onChanged();
  });
  const acts = takeOut({ busy: remove.busy, onTakeOut: (id) => void remove.run(id) });
  const isOpen = found.state === 'open';
  const waiting = found.case_orders.filter(({ state }) => state === 'review');
  const selected = waiting.filter(({ conversion_id: id }) => chosen.has(id));
  const choose = (id: string) => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    setChosen(next);
  };
  const selection: Column<CaseOrder> = {
    title: t('cases.selected'),
    cell: ({ conversion_id: id, order_id: orderId, state }) => (
      <input
        type="checkbox"
        aria-label={t('cases.select_order', { orderId })}
        checked={chosen.has(id) && state === 'review'}
        disabled={state !== 'review'}
        onChange={() => choose(id)}
      />
    ),
  };
  const done = (result?: Decided) => {
    setDeciding(undefined);
    setAdding(false);
    setChosen(new Set());
    setDecided(result);
    onChanged();
  };
  return (
    <Card
      title={t('common.orders')}
      note={t('cases.waiting', { count: waiting.length, sum: sumText(waiting.map(({ amount }) => amount)) })}
      actions={isOpen && <Button onClick={() => setAdding(true)}>{t('cases.add_orders')}</Button>}
    >
      <div class="stack">
        <Problem error={remove.error} />
        {decided && decided.skipped.length > 0 && (
          <p role="status">{t('cases.skipped', { count: decided.skipped.length })}</p>
        )}
        {isOpen && waiting.length > 0 && (
          <Choice
            waiting={waiting}
            selected={selected}
            onChoose={setChosen}
            onDecide={() =>
              setDeciding({
                selected,
                rest: waiting.filter(({ conversion_id: id }) => !chosen.has(id)),
              })
            }
          />
        )}
        {found.case_orders.length === 0 ? (
          <Empty title={t('cases.no_orders')} />
        ) : (
          <Table
            label={t('common.orders')}
            rows={found.case_orders}
            rowKey={({ conversion_id: id }) => id}
            columns={[...(isOpen ? [selection] : []), ...columnsOf(names), ...(isOpen ? [acts] : [])]}
          />
        )}
      </div>
      {deciding && (
        <DecideCase caseId={found.id} {...deciding} onClose={() => setDeciding(undefined)} onDecided={done} />
      )}
      {isAdding && <AddOrders caseId={found.id} onClose={() => setAdding(false)} onAdded={() => done()} />}
    </Card>
  );
}

function Choice(props: {
  waiting: readonly CaseOrder[];
  selected: readonly CaseOrder[];
  onChoose: (ids: ReadonlySet<string>) => void;
  onDecide: () => void;
}) {
  const { waiting, selected, onChoose } = props;
  const isAll = selected.length === waiting.length;
  const all = () => new Set(waiting.map(({ conversion_id: id }) => id));
  return (
    <div class="actions">
      <Button onClick={() => onChoose(isAll ? new Set() : all())}>
        {isAll ? t('cases.select_none') : t('cases.select_all_in_review')}
      </Button>
      <Button kind="primary" disabled={selected.length === 0} onClick={props.onDecide}>
        {t('cases.decide_selected', { count: selected.length })}
      </Button>
    </div>
  );
}

function columnsOf(names: ReadonlyMap<string, string>): Column<CaseOrder>[] {
  return [
    {
      title: t('common.order'),
      head: true,
      cell: (order) => (
        <>
          {order.order_id}
          <span class="sub">
            <When at={order.occurred_at} />
          </span>
        </>
      ),
    },
    {
      title: t('common.partner'),
      cell: ({ affiliate_id: id }) => (id === null ? '–' : (names.get(id) ?? id)),
    },
    { title: t('common.order_value'), numeric: true, cell: ({ amount }) => <Amount money={amount} /> },
    { title: t('common.commission'), numeric: true, cell: ({ commission }) => <Amount money={commission} /> },
    { title: t('cases.observed'), cell: Observed },
    {
      title: t('common.status'),
      cell: ({ state, reason }) => (
        <>
          <Status of={state} />
          {reason !== null && <span class="sub">{reasonText(reason)}</span>}
        </>
      ),
    },
  ];
}

function takeOut(props: { busy: boolean; onTakeOut: (id: string) => void }): Column<CaseOrder> {
  return {
    title: '',
    cell: ({ conversion_id: id, order_id: orderId, decided_as: decidedAs }) =>
      decidedAs === null && (
        <div class="actions">
          <Button
            kind="quiet"
            busy={props.busy}
            label={t('cases.take_out_order', { orderId })}
            onClick={() => props.onTakeOut(id)}
          >
            {t('cases.take_out')}
          </Button>
        </div>
      ),
  };
}

/** What was seen of the customer. */
function Observed({ ip, click_ip: clickIp, customer_id: customer, fingerprint }: CaseOrder) {
  const addresses = [...new Set([clickIp, ip])].filter((one) => one !== null);
  return (
    <>
      {addresses.length === 0 ? '–' : addresses.join(', ')}
      {customer !== null && <span class="sub">{customer}</span>}
      {fingerprint !== null && <span class="sub">{t('cases.from_the_shop', { fingerprint })}</span>}
    </>
  );
}

/** Of the ids of conversions, however they are separated. */
const BETWEEN_IDS = /[\s,;]+/;

function AddOrders(props: { caseId: string; onClose: () => void; onAdded: () => void }) {
  const [attempt] = useState(newAttempt);
  const [text, setText] = useState('');
  const { run, busy, error } = useAction(async () => {
    const conversion_ids = text.split(BETWEEN_IDS).filter((id) => id !== '');
    const params = { path: { id: props.caseId }, header: attempt };
    await take(api.POST('/v1/cases/{id}/orders', { params, body: { conversion_ids } }));
    props.onAdded();
  });
  return (
    <Dialog title={t('cases.add_orders')} onClose={props.onClose}>
      <Form submit={t('cases.add_orders')} busy={busy} error={error} onSubmit={() => void run()}>
        <TextArea
          label={t('cases.ids_of_conversions')}
          rows={4}
          value={text}
          onChange={setText}
          hint={t('cases.ids_hint')}
          required
        />
      </Form>
    </Dialog>
  );
}
