import { useState } from 'preact/hooks';
import { api, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { useList } from '../../data/use-list.ts';
import { formatDuration, ZONE_NAME } from '../../text/format.ts';
import { rich, t } from '../../text/t.ts';
import { Button, Card, Empty, Loading, Problem, When } from '../basics.tsx';
import { Dialog } from '../forms.tsx';
import { Status } from '../status.tsx';
import { ListTable, Table } from '../table.tsx';

const EVERY_MS = 3_000;
const PAGE_ROWS = 12;
const STATES = [
  { value: 'pending', text: t('deliveries.waiting') },
  { value: 'delivered', text: t('deliveries.delivered') },
  { value: 'dead', text: t('common.failed') },
  { value: 'superseded', text: t('deliveries.superseded') },
];

/** Deliveries of a webhook; failed ones can be sent again. */
export function Deliveries({ hook }: { hook: Schemas['Webhook'] }) {
  const [shown, setShown] = useState<string>();
  const path = { id: hook.id };
  const tools = {
    search: t('list.event_or_id'),
    filters: [{ name: 'state', label: t('common.status'), choices: STATES }],
    days: true,
    file: `/v1/webhooks/${hook.id}/deliveries.csv`,
  };
  const list = useList(
    (query, signal) => api.GET('/v1/webhooks/{id}/deliveries', { params: { path, query }, signal }),
    { filters: ['state'], everyMs: EVERY_MS, pageRows: PAGE_ROWS },
  );
  const replayAll = useAction(async () => {
    await take(api.POST('/v1/webhooks/{id}/replay-dead', { params: { path } }));
    list.reload();
  });
  return (
    <Card
      title={t('deliveries.delivery_log')}
      note={hook.url}
      actions={
        <Button onClick={() => void replayAll.run()} busy={replayAll.busy}>
          {t('deliveries.resend_failed_deliveries')}
        </Button>
      }
    >
      <Problem error={replayAll.error} />
      <ListTable
        label={t('deliveries.deliveries')}
        list={list}
        tools={tools}
        rowKey={({ id }) => id}
        empty={<Empty title={t('deliveries.no_deliveries')}>{t('deliveries.send_a_test_event_it')}</Empty>}
        columns={[
          {
            title: t('common.event'),
            head: true,
            cell: ({ type, subject }) => (
              <>
                {type}
                <span class="sub">{subject}</span>
              </>
            ),
          },
          {
            title: t('deliveries.occurred_zone', { zone: ZONE_NAME }),
            sort: 'created_at',
            cell: ({ created_at }) => <When at={created_at} />,
          },
          {
            title: t('common.status'),
            sort: 'state',
            cell: ({ state: one }) => (
              <Status of={one} text={STATES.find(({ value }) => value === one)?.text} />
            ),
          },
          { title: t('deliveries.attempts'), numeric: true, cell: ({ attempts }) => attempts },
          {
            title: t('deliveries.last_answer'),
            cell: ({ last_status, last_error, next_attempt_at, state: one }) => (
              <>
                {last_status ?? last_error ?? <span class="muted">{t('deliveries.none_yet')}</span>}
                {one === 'pending' && next_attempt_at && (
                  <span class="sub">
                    {rich('deliveries.next_attempt_nextattemptat', {
                      nextAttemptAt: <When at={next_attempt_at} />,
                    })}
                  </span>
                )}
              </>
            ),
          },
          {
            title: '',
            cell: ({ id, type }) => (
              <div class="actions">
                <Button onClick={() => setShown(id)} label={t('deliveries.details_of_type_id', { type, id })}>
                  {t('common.details')}
                </Button>
              </div>
            ),
          },
        ]}
      />
      {shown && <Delivery id={shown} onClose={() => setShown(undefined)} onReplayed={list.reload} />}
    </Card>
  );
}

function Delivery(props: { id: string; onClose: () => void; onReplayed: () => void }) {
  const params = { path: { id: props.id } };
  const { data, error, reload } = useData(
    async (signal) => await take(api.GET('/v1/webhook-deliveries/{id}', { params, signal })),
    [props.id],
    { everyMs: EVERY_MS },
  );
  const replay = useAction(async () => {
    await take(api.POST('/v1/webhook-deliveries/{id}/replay', { params }));
    reload();
    props.onReplayed();
  });
  return (
    <Dialog title={data ? data.type : t('deliveries.delivery')} onClose={props.onClose}>
      <Problem error={error ?? replay.error} />
      {!data && error === undefined && <Loading />}
      {data && (
        <div class="stack">
          <Table
            label={t('deliveries.attempts')}
            rows={data.log}
            rowKey={({ at }) => at}
            columns={[
              {
                title: t('common.at_zone', { zone: ZONE_NAME }),
                head: true,
                cell: ({ at }) => <When at={at} />,
              },
              { title: t('common.answer'), cell: ({ status, error: fault }) => status ?? fault },
              {
                title: t('deliveries.duration'),
                numeric: true,
                cell: ({ duration_ms }) => formatDuration(duration_ms / 1_000),
              },
              {
                title: t('deliveries.answer_body'),
                cell: ({ response }) => response && <code>{response}</code>,
              },
            ]}
          />
          <h3>{data.body === null ? t('common.request') : t('deliveries.body')}</h3>
          <pre>
            {data.body === null
              ? [`${data.request.method} ${data.request.url}`, data.request.body].filter(Boolean).join('\n\n')
              : JSON.stringify(data.body, null, 2)}
          </pre>
          <div class="form-end">
            <Button onClick={() => void replay.run()} busy={replay.busy}>
              {t('common.send_again')}
            </Button>
          </div>
        </div>
      )}
    </Dialog>
  );
}
