import { useState } from 'preact/hooks';
import { mulDivHalfEven } from '../../../../../core/money/rates.ts';
import { formatAmount, parseAmount } from '../../../../../core/money.ts';
import { api, type Money, type Schemas, take } from '../../data/api.ts';
import { formatMoney } from '../../text/format.ts';
import { t } from '../../text/t.ts';
import { Check, Segments, Select, TextField } from '../../ui/forms.tsx';
import { NumberField } from '../../ui/number-field.tsx';
import { type ActProps, addTo, moneyEffect, OrderAct } from './order-act.tsx';

/** Forms for what happens to an order: another amount, refunds and their end, cancellation. */

const COMMISSIONS = t('orderChanges.commissions_of_all_levels_follow');

/** Raises or lowers an order. */
export function ChangeAmount({ conversion, amounts, ...rest }: ActProps) {
  const { total, left } = amounts;
  const [amount, setAmount] = useState(total.amount);
  const after = addTo({ ...total, amount: '0' }, 1, amount);
  const raised = after && addTo(after, -1, total.amount);
  return (
    <OrderAct
      {...rest}
      submit={t('orderChanges.change_the_amount')}
      effects={[
        moneyEffect(t('orderChanges.the_order_comes_to'), total, after),
        moneyEffect(t('orderChanges.left_after_refunds'), left, raised && addTo(left, 1, raised.amount)),
      ]}
      hint={t('orderChanges.raised_it_earns_more_by')}
      fields={['amount', 'currency']}
      saysWhy
      act={async (header, said) => {
        const params = { path: { id: conversion.id }, header };
        const body = { amount, currency: total.currency, ...said };
        return (await take(api.POST('/v1/conversions/{id}/change', { params, body }))).conversion;
      }}
    >
      {(faults) => (
        <NumberField
          label={t('orderChanges.the_order_comes_to_currency', { currency: total.currency })}
          currency={total.currency}
          value={amount}
          onChange={setAmount}
          fault={faults.amount ?? faults.currency}
          hint={t('orderChanges.refunds_not_taken_off')}
          required
        />
      )}
    </OrderAct>
  );
}

const PARTS = {
  amount: t('orderChanges.an_amount'),
  left: t('orderChanges.all_that_is_left'),
  items: t('common.items'),
} as const;
type Part = keyof typeof PARTS;
/** What is given back of items: so many pieces, which come to an amount, or an amount alone. */
type Chosen = ReadonlyMap<number, { readonly amount: string; readonly pieces?: number }>;

/** Gives back an amount, items, or all that is left. */
export function RefundOrder({ conversion, amounts, ...rest }: ActProps) {
  const { left, refunded, items } = amounts;
  const [part, setPart] = useState<Part>('amount');
  const [amount, setAmount] = useState('');
  const [reference, setReference] = useState('');
  /** By the place of the item. */
  const [chosen, setChosen] = useState<Chosen>(new Map());
  const sum = sumOf(part, { amount, chosen, left });
  return (
    <OrderAct
      {...rest}
      submit={t('orderChanges.record_the_refund')}
      effects={[
        moneyEffect(t('orderChanges.refunded'), refunded, sum && addTo(refunded, 1, sum.amount)),
        moneyEffect(t('orderChanges.left_of_the_order'), left, sum && addTo(left, -1, sum.amount)),
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
            label={t('orderChanges.what_is_refunded')}
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
              <NumberField
                label={t('orderChanges.refunded_amount_currency', { currency: left.currency })}
                currency={left.currency}
                value={amount}
                onChange={setAmount}
                fault={faults.amount}
                hint={t('orderChanges.left_is_left_refunded_was', {
                  left: formatMoney(left),
                  refunded: formatMoney(refunded),
                })}
                required
              />
            )}
            <TextField
              label={t('orderChanges.the_shops_reference')}
              value={reference}
              onChange={setReference}
              fault={faults.refund_ref ?? (part === 'left' ? faults.amount : undefined)}
              hint={t('orderChanges.a_refund_reported_again_under')}
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
  { amount, chosen, left }: { amount: string; chosen: Chosen; left: Money },
): Money | undefined {
  if (part === 'left') return left;
  const nothing: Money | undefined = { ...left, amount: '0' };
  const parts = part === 'amount' ? [amount] : [...chosen.values()].map((one) => one.amount);
  return parts.reduce<Money | undefined>((sum, one) => sum && addTo(sum, 1, one), nothing);
}

/** An item whose whole rest is given back is named without an amount, so that its pieces count. */
function itemsBody({ items }: Schemas['OrderAmounts'], chosen: Chosen) {
  return [...chosen].map(([item, { amount, pieces }]) => {
    const rest = items?.find((one) => one.item === item);
    if (rest?.amount.amount === amount.trim() || pieces === rest?.quantity) return { item };
    return pieces === undefined ? { item, amount: amount.trim() } : { item, quantity: pieces };
  });
}

type Item = NonNullable<Schemas['OrderAmounts']['items']>[number];

/** What some of the pieces that are left come to: as the API rounds it. */
function amountOfPieces(rest: Item, whole: Schemas['OrderItem'] | undefined, pieces: number): string {
  if (!whole || pieces >= rest.quantity) return rest.amount.amount;
  const { currency } = rest.amount;
  const total = parseAmount(whole.amount.amount, currency);
  const upTo = (count: number) => mulDivHalfEven(total, BigInt(count), BigInt(whole.quantity));
  const before = whole.quantity - rest.quantity;
  const minor = upTo(before + pieces) - upTo(before);
  if (minor > parseAmount(rest.amount.amount, currency)) return rest.amount.amount;
  return formatAmount(minor, currency);
}

function ItemChoice(props: {
  conversion: ActProps['conversion'];
  amounts: ActProps['amounts'];
  chosen: Chosen;
  onChange: (chosen: Chosen) => void;
  fault: string | undefined;
}) {
  const { conversion, amounts, chosen, onChange, fault } = props;
  const change = (item: number, value: { amount: string; pieces?: number } | undefined) => {
    const next = new Map(chosen);
    if (value === undefined) next.delete(item);
    else next.set(item, value);
    onChange(next);
  };
  return (
    <div class="stack">
      {(amounts.items ?? []).map((rest) => (
        <ItemFields
          key={rest.item}
          rest={rest}
          whole={conversion.items?.[rest.item - 1]}
          value={chosen.get(rest.item)}
          onChange={(value) => change(rest.item, value)}
        />
      ))}
      {fault && <p class="fault">{fault}</p>}
    </div>
  );
}

function ItemFields(props: {
  rest: Item;
  whole: Schemas['OrderItem'] | undefined;
  value: { amount: string; pieces?: number } | undefined;
  onChange: (value: { amount: string; pieces?: number } | undefined) => void;
}) {
  const { rest, whole, value, onChange } = props;
  const { item, quantity, amount } = rest;
  const name = `${item}. ${whole?.sku ?? whole?.brand ?? whole?.category ?? t('common.item')}`;
  if (Number(amount.amount) === 0)
    return <p class="muted">{t('orderChanges.name_all_of_it_is', { name })}</p>;
  return (
    <div class="stack">
      <Check
        label={t('orderChanges.name_rest_is_left', { name, rest: formatMoney(amount) })}
        checked={value !== undefined}
        onChange={(checked) => onChange(checked ? { amount: amount.amount, pieces: quantity } : undefined)}
      />
      {value !== undefined && (
        <div class="form-row">
          {quantity > 1 && (
            <NumberField
              label={t('orderChanges.pieces_of_name', { name })}
              whole
              value={value.pieces === undefined ? '' : String(value.pieces)}
              onChange={(text) => {
                const pieces = Number(text);
                onChange(
                  pieces > 0
                    ? { amount: amountOfPieces(rest, whole, pieces), pieces }
                    : { amount: value.amount },
                );
              }}
              hint={t('orderChanges.pieces_left', { count: quantity })}
            />
          )}
          <NumberField
            label={t('orderChanges.refunded_of_name_currency', { name, currency: amount.currency })}
            currency={amount.currency}
            value={value.amount}
            onChange={(text) => onChange({ amount: text })}
            required
          />
        </div>
      )}
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
      submit={t('orderChanges.take_the_refund_back')}
      kind="primary"
      effects={[
        moneyEffect(t('orderChanges.refunded'), amounts.refunded, addTo(amounts.refunded, -1, amount)),
        moneyEffect(t('orderChanges.left_of_the_order'), amounts.left, addTo(amounts.left, 1, amount)),
      ]}
      hint={t('orderChanges.what_the_refund_took_back')}
      fields={['refund_ref']}
      act={async (header, said) => {
        const params = { path: { id: conversion.id }, header };
        const body = { refund_ref: reference, note: said.note };
        return (await take(api.POST('/v1/conversions/{id}/restore', { params, body }))).conversion;
      }}
    >
      {(faults) => (
        <Select
          label={t('common.refund')}
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
      submit={isCancelled ? t('common.restore_the_order') : t('common.cancel_the_order')}
      kind={isCancelled ? 'primary' : 'danger'}
      effects={[moneyEffect(t('common.earns_by'), before, after)]}
      hint={isCancelled ? t('orderChanges.what_it_earned_before_is') : COMMISSIONS}
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
