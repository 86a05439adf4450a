import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { usePages } from '../../data/use-pages.ts';
import { formatMoney, formatTime } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { reasonText } from '../../text/reasons.ts';
import { Button, Card, Empty, Loading, Page, Problem } from '../../ui/basics.tsx';
import { TextArea } from '../../ui/forms.tsx';
import { OrderThread } from '../../ui/order-thread.tsx';
import { NO_REASON, ReasonChoice, reasonBody } from '../../ui/partner-reason.tsx';
import { Evidence } from './evidence.tsx';
import { HeldReason } from './held-reason.tsx';

const EVERY_MS = 10_000;
const PAGE_ROWS = 50;

/** Conversions in review; none is approved automatically. */
export function ReviewsPage() {
  const { program } = useSession();
  const [chosen, setChosen] = useState<string>();
  const list = usePages(
    (cursor, signal) => {
      const query = { program_id: program.id, state: 'review' as const, limit: PAGE_ROWS, cursor };
      return api.GET('/v1/conversions', { params: { query }, signal });
    },
    [program.id],
    EVERY_MS,
  );
  const rows = list.rows ?? [];
  const place = Math.max(
    0,
    rows.findIndex(({ id }) => id === chosen),
  );
  const shown = rows[place];
  return (
    <Page
      title="Review queue"
      lead="Conversions that a fraud rule put in review. Credit or reject each one; none is decided automatically."
    >
      <Problem error={list.error} onRetry={list.reload} />
      {list.rows === undefined && list.error === undefined && <Loading />}
      {list.rows?.length === 0 && (
        <Card>
          <Empty title="The queue is empty">Conversions that a fraud rule puts in review appear here.</Empty>
        </Card>
      )}
      {shown && (
        <div class="split">
          <nav class="card queue" aria-label="Conversions to review">
            <ul>
              {rows.map((row) => (
                <li key={row.id}>
                  <button type="button" aria-pressed={row === shown} onClick={() => setChosen(row.id)}>
                    <span class="timeline-head">
                      <strong>{row.order_id}</strong>
                      <span class="amount">{formatMoney(row.amount)}</span>
                    </span>
                    <span class="sub">{row.reason === null ? 'In review' : reasonText(row.reason)}</span>
                    <span class="sub">{formatTime(row.occurred_at)}</span>
                  </button>
                </li>
              ))}
            </ul>
            {list.hasMore && (
              <Button onClick={list.more} busy={list.loading}>
                Show more
              </Button>
            )}
          </nav>
          <Card key={shown.id} title={`Order ${shown.order_id}`}>
            <div class="stack">
              <Decision
                conversion={shown}
                onDecided={() => {
                  setChosen(rows[place + 1]?.id ?? rows[place - 1]?.id);
                  list.reload();
                }}
              />
              <HeldReason conversion={shown} onSaid={list.reload} />
              <OrderThread key={shown.id} orderId={shown.id} />
              <Evidence conversion={shown} />
            </div>
          </Card>
        </div>
      )}
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
        label="Reason"
        rows={2}
        value={note}
        onChange={setNote}
        hint="For your own people: stored with the decision and in the audit log."
        required
      />
      <ReasonChoice fields={reason} onChange={setReason} faults={fieldProblems(error)} />
      <Problem error={error} />
      <div class="form-end">
        <Button kind="primary" busy={busy} disabled={note.trim() === ''} onClick={() => void run('approve')}>
          Credit
        </Button>
        <Button kind="danger" busy={busy} disabled={note.trim() === ''} onClick={() => void run('reject')}>
          Reject
        </Button>
      </div>
    </div>
  );
}
