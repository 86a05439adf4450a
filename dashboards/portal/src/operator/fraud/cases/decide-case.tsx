import { useState } from 'preact/hooks';
import { api, newAttempt, type Schemas, take } from '../../../data/api.ts';
import { useAction } from '../../../data/use-data.ts';
import { formatCount } from '../../../text/format.ts';
import { fieldProblems } from '../../../text/problem-text.ts';
import { t } from '../../../text/t.ts';
import { Dialog, Form, Select, TextArea } from '../../../ui/forms.tsx';
import { NO_REASON, ReasonChoice, reasonBody } from '../../../ui/orders/partner-reason.tsx';
import { type CaseOrder, sumText } from './kinds.ts';

export type Decided = Schemas['CaseDecided'];

type Outcome = 'approve' | 'reject' | 'leave';

const CHOICES = [
  { value: 'approve', text: t('reviews.credit') },
  { value: 'reject', text: t('common.reject') },
];
const REST_CHOICES = [{ value: 'leave', text: t('cases.leave_in_review') }, ...CHOICES];

/** The orders that a decision is about. */
export interface Deciding {
  readonly selected: readonly CaseOrder[];
  /** In review, and not selected. */
  readonly rest: readonly CaseOrder[];
}

/** Credits and rejects orders at once: the selected ones in one way, the others in review in another, or not yet. */
export function DecideCase(
  props: Deciding & { caseId: string; onClose: () => void; onDecided: (decided: Decided) => void },
) {
  const { caseId, selected, rest } = props;
  const [attempt] = useState(newAttempt);
  const [how, setHow] = useState<Outcome>('reject');
  const [howRest, setHowRest] = useState<Outcome>('leave');
  const [note, setNote] = useState('');
  const [reason, setReason] = useState(NO_REASON);
  const ordersTo = (outcome: Outcome) => [
    ...(how === outcome ? selected : []),
    ...(howRest === outcome ? rest : []),
  ];
  const idsTo = (outcome: Outcome) => ordersTo(outcome).map(({ conversion_id: id }) => id);
  const isRejecting = ordersTo('reject').length > 0;
  const { run, busy, error } = useAction(async () => {
    const said = isRejecting ? reasonBody(reason) : undefined;
    const body = {
      ...{ note, approve: idsTo('approve'), reject: idsTo('reject') },
      ...(said && { partner_reason: said }),
    };
    const params = { path: { id: caseId }, header: attempt };
    props.onDecided(await take(api.POST('/v1/cases/{id}/decide', { params, body })));
  });
  const faults = fieldProblems(error);
  return (
    <Dialog title={t('cases.decide_together')} onClose={props.onClose}>
      <Form
        submit={t('cases.decide_orders', { count: idsTo('approve').length + idsTo('reject').length })}
        kind={isRejecting ? 'danger' : 'primary'}
        busy={busy}
        error={error}
        onSubmit={() => void run()}
      >
        <Select
          label={t('cases.the_selected', { count: selected.length })}
          value={how}
          onChange={(value) => setHow(value as Outcome)}
          choices={CHOICES}
        />
        {rest.length > 0 && (
          <Select
            label={t('cases.the_others', { count: rest.length })}
            value={howRest}
            onChange={(value) => setHowRest(value as Outcome)}
            choices={REST_CHOICES}
          />
        )}
        <dl class="facts">
          <Effect of={t('cases.credited')} orders={ordersTo('approve')} />
          <Effect of={t('common.rejected')} orders={ordersTo('reject')} />
        </dl>
        <p class="hint">{t('cases.each_as_its_own_review')}</p>
        <TextArea
          label={t('common.reason')}
          rows={2}
          value={note}
          onChange={setNote}
          fault={faults.note}
          hint={t('cases.why_is_a_note')}
          required
        />
        {isRejecting && <ReasonChoice fields={reason} onChange={setReason} faults={faults} />}
      </Form>
    </Dialog>
  );
}

function Effect({ of, orders }: { of: string; orders: readonly CaseOrder[] }) {
  return (
    <>
      <dt>{of}</dt>
      <dd>
        {orders.length === 0
          ? formatCount(0)
          : t('cases.orders_of', {
              count: orders.length,
              sum: sumText(orders.map(({ amount }) => amount)),
              commission: sumText(orders.map(({ commission }) => commission)),
            })}
      </dd>
    </>
  );
}
