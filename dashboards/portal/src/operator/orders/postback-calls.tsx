import { useState } from 'preact/hooks';
import { Link } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { useList } from '../../data/use-list.ts';
import { words, ZONE_NAME } from '../../text/format.ts';
import { rich, t } from '../../text/t.ts';
import { Button, Card, Empty, Page, Problem, When } from '../../ui/basics.tsx';
import { Dialog } from '../../ui/forms.tsx';
import { Status } from '../../ui/status.tsx';
import { ListTable } from '../../ui/table.tsx';
import { PostbackSettings } from './postback-settings.tsx';

type Call = Schemas['PostbackCall'];

const EVERY_MS = 5_000;
const MAY_SET: ReadonlySet<string> = new Set(['operator', 'advertiser']);
const OUTCOMES = [
  { value: 'accepted', text: t('postbackCalls.accepted') },
  { value: 'duplicate', text: t('postbackCalls.duplicates') },
  { value: 'rejected', text: words('rejected') },
  { value: 'ignored', text: t('postbackCalls.ignored') },
];
const TOOLS = {
  search: t('list.order_or_code'),
  filters: [{ name: 'outcome', label: t('common.outcome'), choices: OUTCOMES }],
  days: true,
  file: '/v1/postback-calls.csv',
};

/** Calls of the shop with their answers, refused ones included. */
export function PostbackCallsPage() {
  const { program, user } = useSession();
  const [isSetting, setSetting] = useState(false);
  const [shown, setShown] = useState<Call>();
  const list = useList((query, signal) => api.GET('/v1/postback-calls', { params: { query }, signal }), {
    query: { program_id: program.id },
    filters: ['outcome'],
    everyMs: EVERY_MS,
  });
  return (
    <Page
      title={t('common.postback_calls')}
      lead={t('postbackCalls.calls_of_the_shop_in')}
      actions={
        MAY_SET.has(user.role) && (
          <Button onClick={() => setSetting(true)}>{t('postbackSettings.title')}</Button>
        )
      }
    >
      <Card>
        <ListTable
          label={t('common.postback_calls')}
          list={list}
          tools={TOOLS}
          rowKey={({ id }) => id}
          empty={
            <Empty title={t('postbackCalls.no_calls')}>
              {rich('postbackCalls.connect_what_sends', {
                link: (text) => <Link to="/connect">{text}</Link>,
              })}
            </Empty>
          }
          columns={[
            {
              title: t('common.at_zone', { zone: ZONE_NAME }),
              sort: 'received_at',
              cell: ({ received_at }) => <When at={received_at} />,
            },
            { title: t('common.by'), cell: ({ via }) => words(via) },
            { title: t('common.order'), head: true, cell: ({ order_id }) => order_id ?? '–' },
            {
              title: t('common.answer'),
              sort: 'outcome',
              cell: ({ outcome: one, status }) => <Status of={one} text={`${words(one)} (${status})`} />,
            },
            {
              title: t('common.why'),
              cell: ({ code, detail }) =>
                code === null ? (
                  ''
                ) : (
                  <>
                    {words(code)}
                    <span class="sub">{detail}</span>
                  </>
                ),
            },
            {
              title: '',
              cell: (call) => (
                <div class="actions">
                  <Button
                    onClick={() => setShown(call)}
                    label={t('postbackCalls.open_call_call', { call: call.id })}
                  >
                    {t('common.open')}
                  </Button>
                </div>
              ),
            },
          ]}
        />
      </Card>
      {isSetting && <PostbackSettings programId={program.id} onClose={() => setSetting(false)} />}
      {shown && <Details call={shown} onClose={() => setShown(undefined)} onReplayed={list.reload} />}
    </Page>
  );
}

function Details({ call, onClose, onReplayed }: { call: Call; onClose: () => void; onReplayed: () => void }) {
  const [result, setResult] = useState<Schemas['ReplayedCall']>();
  const { run, busy, error } = useAction(async () => {
    setResult(await take(api.POST('/v1/postback-calls/{id}/replay', { params: { path: { id: call.id } } })));
    onReplayed();
  });
  return (
    <Dialog title={t('postbackCalls.call_call', { call: call.id })} onClose={onClose}>
      <div class="stack">
        <dl class="facts">
          <dt>{t('common.from')}</dt>
          <dd>
            {call.ip ?? t('postbackCalls.unknown_address')}, {call.actor ?? t('postbackCalls.unknown_caller')}
          </dd>
          <dt>{t('common.answer')}</dt>
          <dd>
            {call.status} {call.detail ?? words(call.outcome)}
          </dd>
          <dt>{t('common.request')}</dt>
          <dd>
            <code>{call.request_id}</code>
          </dd>
          <dt>{t('postbackCalls.conversion')}</dt>
          <dd>{call.conversion_id ?? t('common.none_given')}</dd>
        </dl>
        <h3>{t('postbackCalls.request_body')}</h3>
        <pre>{JSON.stringify(call.params, null, 2)}</pre>
        <Problem error={error} />
        {result && (
          <p class="notice good" role="status">
            {t('postbackCalls.replayed_status_conversionid', {
              status: words(result.status),
              conversionId: result.conversion_id ?? '–',
            })}
          </p>
        )}
        <div class="form-end">
          <Button onClick={() => void run()} busy={busy}>
            {t('common.replay')}
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
