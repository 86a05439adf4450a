import { useState } from 'preact/hooks';
import { api, type Money, type Schemas, take } from '../../data/api.ts';
import { formatMoney } from '../../text/format.ts';
import { Check, Segments, Select, TextField } from '../../ui/forms.tsx';
import { type ActProps, addTo, moneyEffect, OrderAct } from './order-act.tsx';

/** Forms for what happens to an order: another amount, refunds and their end, cancellation. */

const COMMISSIONS = 'Commissions of all levels follow. What was paid for them becomes debt.';

/** Raises or lowers an order. */
export function ChangeAmount({ conversion, amounts, ...rest }: ActProps) {
  const { total, left } = amounts;
  const [amount, setAmount] = useState(total.amount);
  const after = addTo({ ...total, amount: '0' }, 1, amount);
  const raised = after && addTo(after, -1, total.amount);
  return (
    <OrderAct
      {...rest}
      submit="Change the amount"
      effects={[
        moneyEffect('The order comes to', total, after),
        moneyEffect('Left after refunds', left, raised && addTo(left, 1, raised.amount)),
      ]}
      hint="Raised, it earns more by its own terms; lowered, commissions of all levels shrink, and what was paid becomes debt."
      fields={['amount', 'currency']}
      saysWhy
      act={async (header, said) => {
        const params = { path: { id: conversion.id }, header };
        const body = { amount, currency: total.currency, ...said };
        return (await take(api.POST('/v1/conversions/{id}/change', { params, body }))).conversion;
      }}
    >
      {(faults) => (
        <TextField
          label={`The order comes to, ${total.currency}`}
          inputMode="decimal"
          value={amount}
          onChange={setAmount}
          fault={faults.amount ?? faults.currency}
          hint="Refunds not taken off."
          required
        />
      )}
    </OrderAct>
  );
}

const PARTS = { amount: 'An amount', left: 'All that is left', items: 'Items' } as const;
type Part = keyof typeof PARTS;

/** Gives back an amount, items, or all that is left. */
export function RefundOrder({ conversion, amounts, ...rest }: ActProps) {
  const { left, refunded, items } = amounts;
  const [part, setPart] = useState<Part>('amount');
  const [amount, setAmount] = useState('');
  const [reference, setReference] = useState('');
  /** Amounts by the place of the item. */
  const [chosen, setChosen] = useState<ReadonlyMap<number, string>>(new Map());
  const sum = sumOf(part, { amount, chosen, left });
  return (
    <OrderAct
      {...rest}
      submit="Record the refund"
      effects={[
        moneyEffect('Refunded', refunded, sum && addTo(refunded, 1, sum.amount)),
        moneyEffect('Left of the order', left, sum && addTo(left, -1, sum.amount)),
      ]}
      hint={COMMISSIONS}
      fields={['amount', 'refund_ref', 'items']}
      saysWhy
      act={async (header, said) => {
        const body = {
          program_id: conversion.program_id,
          conversion_id: conversion.id,
          refund_ref: reference,
          ...said,
          currency: left.currency,
          ...(part === 'amount' && { amount }),
          ...(part === 'items' && { items: itemsBody(amounts, chosen) }),
        };
        return (await take(api.POST('/v1/refunds', { params: { header }, body }))).conversion;
      }}
    >
      {(faults) => (
        <>
          <Segments
            label="What is refunded"
            value={part}
            onChange={(value) => setPart(value as Part)}
            choices={(Object.keys(PARTS) as Part[])
              .filter((value) => value !== 'items' || items !== null)
              .map((value) => ({ value, text: PARTS[value] }))}
          />
          {part === 'items' && (
            <ItemChoice
              conversion={conversion}
              amounts={amounts}
              chosen={chosen}
              onChange={setChosen}
              fault={
                faults.amount ?? Object.entries(faults).find(([field]) => field.startsWith('items'))?.[1]
              }
            />
          )}
          <div class="form-row">
            {part === 'amount' && (
              <TextField
                label={`Refunded amount, ${left.currency}`}
                inputMode="decimal"
                value={amount}
                onChange={setAmount}
                fault={faults.amount}
                hint={`${formatMoney(left)} is left, ${formatMoney(refunded)} was refunded.`}
                required
              />
            )}
            <TextField
              label="The shop’s reference"
              value={reference}
              onChange={setReference}
              fault={faults.refund_ref ?? (part === 'left' ? faults.amount : undefined)}
              hint="A refund reported again under the same reference counts once."
              required
            />
          </div>
        </>
      )}
    </OrderAct>
  );
}

function sumOf(
  part: Part,
  { amount, chosen, left }: { amount: string; chosen: ReadonlyMap<number, string>; left: Money },
): Money | undefined {
  if (part === 'left') return left;
  const nothing: Money | undefined = { ...left, amount: '0' };
  const parts = part === 'amount' ? [amount] : [...chosen.values()];
  return parts.reduce<Money | undefined>((sum, one) => sum && addTo(sum, 1, one), nothing);
}

/** An item whose whole rest is given back is named without an amount, so that its pieces count. */
function itemsBody({ items }: Schemas['OrderAmounts'], chosen: ReadonlyMap<number, string>) {
  return [...chosen].map(([item, amount]) => {
    const rest = items?.find((one) => one.item === item)?.amount.amount;
    return rest === amount.trim() ? { item } : { item, amount: amount.trim() };
  });
}

function ItemChoice(props: {
  conversion: ActProps['conversion'];
  amounts: ActProps['amounts'];
  chosen: ReadonlyMap<number, string>;
  onChange: (chosen: ReadonlyMap<number, string>) => void;
  fault: string | undefined;
}) {
  const { conversion, amounts, chosen, onChange, fault } = props;
  const change = (item: number, amount: string | undefined) => {
    const next = new Map(chosen);
    if (amount === undefined) next.delete(item);
    else next.set(item, amount);
    onChange(next);
  };
  return (
    <div class="stack">
      {(amounts.items ?? []).map(({ item, amount: rest }) => {
        const { sku, brand, category } = conversion.items?.[item - 1] ?? {};
        const name = `${item}. ${sku ?? brand ?? category ?? 'Item'}`;
        const typed = chosen.get(item);
        if (Number(rest.amount) === 0) return <p class="muted">{name}: all of it is refunded.</p>;
        return (
          <div class="stack" key={item}>
            <Check
              label={`${name}, ${formatMoney(rest)} is left`}
              checked={typed !== undefined}
              onChange={(checked) => change(item, checked ? rest.amount : undefined)}
            />
            {typed !== undefined && (
              <TextField
                label={`Refunded of ${name}, ${rest.currency}`}
                inputMode="decimal"
                value={typed}
                onChange={(value) => change(item, value)}
                required
              />
            )}
          </div>
        );
      })}
      {fault && <p class="fault">{fault}</p>}
    </div>
  );
}

/** Takes a refund back: it failed, or was a mistake. */
export function UndoRefund({
  conversion,
  amounts,
  refunds,
  ...rest
}: ActProps & { refunds: readonly Schemas['ListedRefund'][] }) {
  const [reference, setReference] = useState(refunds[0]?.refund_ref ?? '');
  const amount = refunds.find(({ refund_ref }) => refund_ref === reference)?.amount.amount ?? '0';
  return (
    <OrderAct
      {...rest}
      submit="Take the refund back"
      kind="primary"
      effects={[
        moneyEffect('Refunded', amounts.refunded, addTo(amounts.refunded, -1, amount)),
        moneyEffect('Left of the order', amounts.left, addTo(amounts.left, 1, amount)),
      ]}
      hint="What the refund took back is earned again, with the hold of the order."
      fields={['refund_ref']}
      act={async (header, said) => {
        const params = { path: { id: conversion.id }, header };
        const body = { refund_ref: reference, note: said.note };
        return (await take(api.POST('/v1/conversions/{id}/restore', { params, body }))).conversion;
      }}
    >
      {(faults) => (
        <Select
          label="Refund"
          value={reference}
          onChange={setReference}
          fault={faults.refund_ref}
          choices={refunds.map(({ refund_ref, amount: money }) => ({
            value: refund_ref,
            text: `${refund_ref}, ${formatMoney(money)}`,
          }))}
        />
      )}
    </OrderAct>
  );
}

/** Ends what an order earns, or begins it again. */
export function CancelOrder({ conversion, amounts: { left }, ...rest }: ActProps) {
  const isCancelled = conversion.cancelled_at !== null;
  const nothing = { ...left, amount: '0' };
  const [before, after] = isCancelled ? [nothing, left] : [left, nothing];
  return (
    <OrderAct
      {...rest}
      submit={isCancelled ? 'Restore the order' : 'Cancel the order'}
      kind={isCancelled ? 'primary' : 'danger'}
      effects={[moneyEffect('Earns by', before, after)]}
      hint={isCancelled ? 'What it earned before is earned again, with the hold of the order.' : COMMISSIONS}
      fields={[]}
      saysWhy={!isCancelled}
      act={async (header, said) => {
        const params = { path: { id: conversion.id }, header };
        const { conversion: changed } = isCancelled
          ? await take(api.POST('/v1/conversions/{id}/restore', { params, body: { note: said.note } }))
          : await take(api.POST('/v1/conversions/{id}/cancel', { params, body: said }));
        return changed;
      }}
    />
  );
}
