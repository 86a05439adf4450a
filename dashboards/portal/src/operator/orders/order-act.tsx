import { type ComponentChildren, Fragment } from 'preact';
import { useState } from 'preact/hooks';
import { formatAmount, parseAmount } from '../../../../../core/money.ts';
import { useSession } from '../../app/session.tsx';
import { type Money, newAttempt, type Schemas } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { formatMoney } from '../../text/format.ts';
import { partnerReasonText } from '../../text/partner-reasons.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { t } from '../../text/t.ts';
import { Form, TextArea } from '../../ui/forms.tsx';
import { NO_REASON, ReasonChoice, reasonBody } from '../../ui/orders/partner-reason.tsx';

/** What is done to an order by hand: filled in, then confirmed with what it comes to before and after. */

export type Conversion = Schemas['Conversion'];
export type Amounts = Schemas['OrderAmounts'];

/** Every act on an order, of which one is open at a time. */
export interface ActProps {
  readonly conversion: Conversion;
  readonly amounts: Amounts;
  readonly onCancel: () => void;
  readonly onDone: (conversion: Conversion) => void;
}

/** A line of the confirmation. */
export interface Effect {
  readonly of: string;
  readonly before: string;
  readonly after: string;
}

interface OrderActProps extends Pick<ActProps, 'onCancel' | 'onDone'> {
  readonly submit: string;
  readonly kind?: 'primary' | 'danger';
  readonly effects: readonly Effect[];
  /** Where commissions follow from the terms. */
  readonly hint: string;
  /** Fields of the form by their names in the API: their faults stand beside them. */
  readonly fields: readonly string[];
  /** Whether it takes money back, so that the partner is to know why. */
  readonly saysWhy?: boolean;
  readonly act: (
    attempt: ReturnType<typeof newAttempt>,
    said: { note: string; partner_reason?: NonNullable<ReturnType<typeof reasonBody>> },
  ) => Promise<Conversion>;
  readonly children?: (faults: Readonly<Record<string, string>>) => ComponentChildren;
}

/** Repeated after an error, it is sent under the same key and is done once. */
export function OrderAct(props: OrderActProps) {
  const { submit, kind = 'danger', effects, hint, fields } = props;
  const [attempt] = useState(newAttempt);
  const { user } = useSession();
  // Finance refunds, and says nothing to partners.
  const mayReason = user.role !== 'finance';
  const [note, setNote] = useState('');
  const [reason, setReason] = useState(NO_REASON);
  const [isConfirming, setConfirming] = useState(false);
  const said = reasonBody(reason);
  const { run, busy, error } = useAction(async () => {
    props.onDone(await props.act(attempt, { note, ...(said && { partner_reason: said }) }));
  });
  const faults = fieldProblems(error);
  const isOnFields = Object.keys(faults).some((name) =>
    [...fields, 'note', 'partner_reason'].some((field) => name === field || name.startsWith(`${field}.`)),
  );
  const confirm = async () => {
    // Its faults stand where they can be mended.
    if (!(await run())) setConfirming(false);
  };
  if (isConfirming) {
    return (
      <Form
        submit={t('orderAct.confirm', { act: submit.toLowerCase() })}
        kind={kind}
        busy={busy}
        error={undefined}
        onSubmit={() => void confirm()}
        onCancel={() => setConfirming(false)}
      >
        <dl class="facts">
          {effects.map(({ of, before, after }) => (
            <Fragment key={of}>
              <dt>{of}</dt>
              <dd>
                {before} → <strong>{after}</strong>
              </dd>
            </Fragment>
          ))}
          <dt>{t('common.reason')}</dt>
          <dd>{note}</dd>
          {said && (
            <>
              <dt>{t('partnerReason.said_to_the_partner')}</dt>
              <dd>{partnerReasonText({ ...said, text: said.text ?? null })}</dd>
            </>
          )}
        </dl>
        <p class="hint">{hint}</p>
      </Form>
    );
  }
  return (
    <Form
      submit={submit}
      kind={kind}
      busy={busy}
      error={isOnFields ? undefined : error}
      onSubmit={() => setConfirming(true)}
      onCancel={props.onCancel}
    >
      {props.children?.(faults)}
      <TextArea
        label={t('common.reason')}
        rows={2}
        value={note}
        onChange={setNote}
        fault={faults.note}
        hint={t('orderAct.stays_in_the_audit_log')}
        required
      />
      {props.saysWhy && mayReason && <ReasonChoice fields={reason} onChange={setReason} faults={faults} />}
    </Form>
  );
}

/** The sum or difference of amounts of one currency; undefined where a text is no amount. */
export function addTo(money: Money, sign: 1 | -1, amount: string): Money | undefined {
  const { currency } = money;
  try {
    const minor = parseAmount(money.amount, currency) + BigInt(sign) * parseAmount(amount.trim(), currency);
    return { amount: formatAmount(minor, currency), currency };
  } catch {
    // What is wrong with the text is for the API to say.
    return undefined;
  }
}

/** From an amount to another one; a dash stands for what is not known before the API has read it. */
export function moneyEffect(of: string, before: Money, after: Money | undefined): Effect {
  return { of, before: formatMoney(before), after: after ? formatMoney(after) : '–' };
}
