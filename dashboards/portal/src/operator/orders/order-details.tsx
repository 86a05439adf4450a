import { useState } from 'preact/hooks';
import { mayRead, useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { t } from '../../text/t.ts';
import { Button, Problem } from '../../ui/basics.tsx';
import { Dialog } from '../../ui/forms.tsx';
import { OrderThread } from '../../ui/orders/order-thread.tsx';
import { OrderCases } from '../fraud/cases/order-cases.tsx';
import { CREDITABLE, Credit } from './credit.tsx';
import { Evidence } from './evidence.tsx';
import type { ActProps, Amounts, Conversion } from './order-act.tsx';
import { CancelOrder, ChangeAmount, RefundOrder, UndoRefund } from './order-changes.tsx';

type Role = Schemas['User']['role'];

/** By the API's rules. */
const MAY_CHANGE: ReadonlySet<Role> = new Set(['operator', 'advertiser']);
const MAY_REFUND: ReadonlySet<Role> = new Set([...MAY_CHANGE, 'finance']);
type Act = 'change' | 'refund' | 'undo' | 'cancel' | 'credit';

/** An order with its evidence, and what the user may do to it. */
export function OrderDetails(props: {
  conversion: Conversion;
  onClose: () => void;
  onChanged: (conversion: Conversion) => void;
  /** Whether it was opened to be talked about. */
  isAsked?: boolean;
}) {
  const { conversion, onChanged, isAsked = false } = props;
  const { user } = useSession();
  const [act, setAct] = useState<Act>();
  const confirm = useAction(async () => {
    const params = { path: { id: conversion.id } };
    onChanged(await take(api.POST('/v1/conversions/{id}/confirm', { params })));
  });
  const state = useOrder(conversion);
  const isCredited = conversion.state === 'attributed' || conversion.state === 'partially_refunded';
  const hasThread = act === undefined && conversion.affiliate_id !== null && mayRead('questions', user.role);
  const thread = hasThread && <OrderThread orderId={conversion.id} />;
  return (
    <Dialog title={t('common.order_orderid', { orderId: conversion.order_id })} onClose={props.onClose}>
      <div class="stack">
        <Problem error={confirm.error} />
        <Problem error={state.error} onRetry={state.reload} />
        {state.data && act !== undefined && (
          <OpenAct
            act={act}
            refunds={state.data.refunds}
            conversion={conversion}
            amounts={state.data.amounts}
            onCancel={() => setAct(undefined)}
            onDone={(changed) => {
              setAct(undefined);
              state.reload();
              onChanged(changed);
            }}
          />
        )}
        {state.data && act === undefined && (
          <div class="actions">
            {actsOf(conversion, user.role, state.data).map(({ value, text }) => (
              <Button
                key={value}
                kind={value === 'credit' ? 'primary' : 'plain'}
                onClick={() => setAct(value)}
              >
                {text}
              </Button>
            ))}
            {isCredited && conversion.status === 'pending' && user.role === 'operator' && (
              <Button onClick={() => void confirm.run()} busy={confirm.busy}>
                {t('orderDetails.end_the_hold')}
              </Button>
            )}
          </div>
        )}
        {act === undefined && mayRead('evidence', user.role) && <OrderCases orderId={conversion.id} />}
        {isAsked && thread}
        <Evidence conversion={conversion} />
        {!isAsked && thread}
      </div>
    </Dialog>
  );
}

interface OrderState {
  readonly amounts: Amounts;
  /** Those that can be taken back. */
  readonly refunds: readonly Schemas['ListedRefund'][];
}

/** What the order comes to, for the roles that change it. */
function useOrder({ id }: Conversion) {
  const { program, user } = useSession();
  return useData<OrderState | undefined>(
    async (signal) => {
      if (!MAY_REFUND.has(user.role)) return undefined;
      const query = { program_id: program.id, conversion_id: id, limit: 500 };
      const [amounts, refunds] = await Promise.all([
        take(api.GET('/v1/conversions/{id}/amounts', { params: { path: { id } }, signal })),
        take(api.GET('/v1/refunds', { params: { query }, signal })),
      ]);
      return { amounts, refunds: refunds.data.filter(({ restored_at }) => restored_at === null) };
    },
    [id],
  );
}

/** What the user may do to the order, in the state in which it is. */
function actsOf(
  conversion: Conversion,
  role: Role,
  { amounts, refunds }: OrderState,
): { value: Act; text: string }[] {
  const isCancelled = conversion.cancelled_at !== null;
  const acts: [boolean, Act, string][] = [
    [
      role === 'operator' && CREDITABLE.has(conversion.state),
      'credit',
      t('orderDetails.credit_to_a_partner'),
    ],
    [Number(amounts.left.amount) > 0, 'refund', t('common.refund')],
    [MAY_CHANGE.has(role) && refunds.length > 0, 'undo', t('orderDetails.undo_a_refund')],
    [MAY_CHANGE.has(role), 'change', t('orderDetails.raise_or_lower')],
    [
      MAY_CHANGE.has(role),
      'cancel',
      isCancelled ? t('common.restore_the_order') : t('common.cancel_the_order'),
    ],
  ];
  return acts.filter(([may]) => may).map(([, value, text]) => ({ value, text }));
}

function OpenAct({
  act,
  refunds,
  ...props
}: ActProps & { act: Act; refunds: readonly Schemas['ListedRefund'][] }) {
  switch (act) {
    case 'change':
      return <ChangeAmount {...props} />;
    case 'refund':
      return <RefundOrder {...props} />;
    case 'undo':
      return <UndoRefund {...props} refunds={refunds} />;
    case 'cancel':
      return <CancelOrder {...props} />;
    case 'credit':
      return <Credit {...props} />;
  }
}
