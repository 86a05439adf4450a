import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { useList } from '../../data/use-list.ts';
import { useNames } from '../../data/use-names.ts';
import { formatMoney, formatTime, ZONE_NAME } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { reasonText } from '../../text/reasons.ts';
import { t } from '../../text/t.ts';
import { Button, Card, Empty, Loading, Page, Problem } from '../../ui/basics.tsx';
import { TextArea } from '../../ui/forms.tsx';
import { choicesOf, ListTools } from '../../ui/list-tools.tsx';
import { OrderThread } from '../../ui/orders/order-thread.tsx';
import { NO_REASON, ReasonChoice, reasonBody } from '../../ui/orders/partner-reason.tsx';
import { OpenCase } from '../fraud/cases/open-case.tsx';
import { Evidence } from './evidence.tsx';
import { HeldReason } from './held-reason.tsx';

const EVERY_MS = 10_000;
const PAGE_ROWS = 50;
const FILTERS = ['affiliate_id', 'reason'];

const SORTS = [
  { title: t('common.ordered_zone', { zone: ZONE_NAME }), sort: 'occurred_at' },
  { title: t('common.order_value'), sort: 'amount' },
  { title: t('common.partner'), sort: 'affiliate' },
];

/** Conversions in review; none is approved automatically. */
export function ReviewsPage() {
  const { program } = useSession();
  const [chosen, setChosen] = useState<string>();
  const [together, setTogether] = useState<ReadonlySet<string>>(new Set());
  const [isOpening, setOpening] = useState(false);
  const names = useNames();
  const list = useList((query, signal) => api.GET('/v1/conversions', { params: { query }, signal }), {
    query: { program_id: program.id, state: 'review' },
    filters: FILTERS,
    everyMs: EVERY_MS,
    pageRows: PAGE_ROWS,
  });
  const rows = list.rows ?? [];
  const place = Math.max(
    0,
    rows.findIndex(({ id }) => id === chosen),
  );
  const shown = rows[place];
  const ids = rows.map(({ id }) => id).filter((id) => together.has(id));
  const toggle = (id: string) => {
    const next = new Set(together);
    if (!next.delete(id)) next.add(id);
    setTogether(next);
  };
  return (
    <Page title={t('common.review_queue')} lead={t('reviews.conversions_that_a_fraud_rule')}>
      <ListTools
        list={list}
        label={t('common.review_queue')}
        columns={SORTS}
        tools={{
          search: t('list.order_or_click'),
          filters: [{ name: 'affiliate_id', label: t('common.partner'), choices: choicesOf(names) }],
          days: true,
          file: '/v1/conversions.csv',
        }}
      />
      <Problem error={list.error} onRetry={list.reload} />
      {list.rows === undefined && list.error === undefined && <Loading />}
      {list.rows?.length === 0 && (
        <Card>
          <Empty title={t('reviews.the_queue_is_empty')}>
            {t('reviews.conversions_that_a_fraud_rule_puts')}
          </Empty>
        </Card>
      )}
      {shown && (
        <div class="split">
          <nav class="card queue" aria-label={t('reviews.conversions_to_review')}>
            {ids.length > 0 && (
              <Button kind="primary" onClick={() => setOpening(true)}>
                {t('cases.open_with', { count: ids.length })}
              </Button>
            )}
            <ul>
              {rows.map((row) => (
                <li key={row.id}>
                  <input
                    type="checkbox"
                    aria-label={t('cases.select_order', { orderId: row.order_id })}
                    checked={together.has(row.id)}
                    onChange={() => toggle(row.id)}
                  />
                  <button type="button" aria-pressed={row === shown} onClick={() => setChosen(row.id)}>
                    <span class="timeline-head">
                      <strong>{row.order_id}</strong>
                      <span class="amount">{formatMoney(row.amount)}</span>
                    </span>
                    <span class="sub">
                      {row.reason === null ? t('common.in_review') : reasonText(row.reason)}
                    </span>
                    <span class="sub">{formatTime(row.occurred_at)}</span>
                  </button>
                </li>
              ))}
            </ul>
            {list.hasMore && (
              <Button onClick={list.more} busy={list.loading}>
                {t('common.show_more')}
              </Button>
            )}
          </nav>
          <Card key={shown.id} title={t('common.order_orderid', { orderId: shown.order_id })}>
            <div class="stack">
              <Decision
                conversion={shown}
                onDecided={() => {
                  setChosen(rows[place + 1]?.id ?? rows[place - 1]?.id);
                  list.reload();
                }}
              />
              <HeldReason key={shown.id} conversion={shown} onSaid={list.reload} />
              <Evidence conversion={shown} />
              {shown.affiliate_id !== null && <OrderThread key={shown.id} orderId={shown.id} />}
            </div>
          </Card>
        </div>
      )}
      {isOpening && <OpenCase conversionIds={ids} onClose={() => setOpening(false)} />}
    </Page>
  );
}

const VERBS = {
  approve: '/v1/conversions/{id}/approve',
  reject: '/v1/conversions/{id}/reject',
} as const;

function Decision({ conversion, onDecided }: { conversion: Schemas['Conversion']; onDecided: () => void }) {
  const [note, setNote] = useState('');
  const [reason, setReason] = useState(NO_REASON);
  const { run, busy, error } = useAction(async (verb: keyof typeof VERBS) => {
    const params = { path: { id: conversion.id } };
    if (verb === 'approve') await take(api.POST(VERBS.approve, { params, body: { note } }));
    else {
      const partner_reason = reasonBody(reason);
      const body = { note, ...(partner_reason && { partner_reason }) };
      await take(api.POST(VERBS.reject, { params, body }));
    }
    onDecided();
  });
  return (
    <div class="decision">
      <TextArea
        label={t('common.reason')}
        rows={2}
        value={note}
        onChange={setNote}
        hint={t('reviews.stored_with_the_decision_and')}
        required
      />
      <ReasonChoice fields={reason} onChange={setReason} faults={fieldProblems(error)} />
      <Problem error={error} />
      <div class="form-end">
        <Button kind="primary" busy={busy} disabled={note.trim() === ''} onClick={() => void run('approve')}>
          {t('reviews.credit')}
        </Button>
        <Button kind="danger" busy={busy} disabled={note.trim() === ''} onClick={() => void run('reject')}>
          {t('common.reject')}
        </Button>
      </div>
    </div>
  );
}
