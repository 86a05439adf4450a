import { useState } from 'preact/hooks';
import { Link } from '../../../app/router.tsx';
import { useSession } from '../../../app/session.tsx';
import { api, newAttempt, take, takeVersion } from '../../../data/api.ts';
import { useAction, useData } from '../../../data/use-data.ts';
import { actorOf, useNames } from '../../../data/use-names.ts';
import { formatCount, words } from '../../../text/format.ts';
import { t } from '../../../text/t.ts';
import { Button, Card, Empty, Loading, Page, Problem, When } from '../../../ui/basics.tsx';
import { Explored, KEY_NAMES } from '../../../ui/explored.tsx';
import { Form, TextArea } from '../../../ui/forms.tsx';
import { Status } from '../../../ui/status.tsx';
import { Table } from '../../../ui/table.tsx';
import { CaseOrders } from './case-orders.tsx';
import { type CaseDetails, isSubjectKind, SHARED_TEXTS } from './kinds.ts';

const EVERY_MS = 10_000;

/** One case: its orders, what they share, what was said, and what is decided. */
export function CasePage({ params: { id = '' } }: { params: Readonly<Record<string, string>> }) {
  const { data, error, reload } = useData(
    async (signal) => await takeVersion(api.GET('/v1/cases/{id}', { params: { path: { id } }, signal })),
    [id],
    { everyMs: EVERY_MS },
  );
  const names = useNames(['affiliates', 'users', 'keys']);
  const back = <Link to="/cases">{t('cases.all_cases')}</Link>;
  if (!data) {
    return (
      <Page title={t('cases.case')} actions={back}>
        {error === undefined ? <Loading /> : <Problem error={error} onRetry={reload} />}
      </Page>
    );
  }
  const found = data.data;
  return (
    <Page title={found.title} lead={found.id} actions={back}>
      {error !== undefined && <Problem error={error} onRetry={reload} />}
      <Facts found={found} etag={data.etag} names={names} onChanged={reload} />
      <CaseOrders found={found} names={names} onChanged={reload} />
      <Shared shared={found.shared} names={names} />
      <Notes found={found} names={names} onChanged={reload} />
    </Page>
  );
}

type Shared = CaseDetails['shared'][number];

interface PartProps {
  readonly found: CaseDetails;
  readonly names: ReadonlyMap<string, string>;
  readonly onChanged: () => void;
}

function Facts({ found, etag, names, onChanged }: PartProps & { etag: string }) {
  const { user } = useSession();
  const { assigned_to: assigned, subject } = found;
  const assign = useAction(async (to: string | null) => {
    const params = { path: { id: found.id }, header: { 'if-match': etag } };
    await take(api.PATCH('/v1/cases/{id}', { params, body: { assigned_to: to } }));
    onChanged();
  });
  const nameOf = (id: string) => (id === user.id ? t('common.you') : (names.get(id) ?? id));
  return (
    <Card>
      <div class="stack">
        <dl class="facts">
          <dt>{t('common.status')}</dt>
          <dd>
            <Status of={found.state} /> {found.ended_at !== null && <When at={found.ended_at} />}
          </dd>
          {subject && (
            <>
              <dt>{t('cases.began_with')}</dt>
              <dd>
                {KEY_NAMES[subject.kind]} <Explored of={subject.kind} value={subject.value} />
              </dd>
            </>
          )}
          <dt>{t('cases.opened')}</dt>
          <dd>
            <When at={found.opened_at} />, {names.get(found.opened_by) ?? found.opened_by}
          </dd>
          <dt>{t('cases.assigned_to')}</dt>
          <dd>{assigned === null ? t('cases.no_one_yet') : nameOf(assigned)}</dd>
        </dl>
        <Problem error={assign.error} />
        <div class="actions">
          {assigned !== user.id && (
            <Button busy={assign.busy} onClick={() => void assign.run(user.id)}>
              {t('cases.assign_to_me')}
            </Button>
          )}
          {assigned !== null && (
            <Button kind="quiet" busy={assign.busy} onClick={() => void assign.run(null)}>
              {t('cases.end_the_assignment')}
            </Button>
          )}
        </div>
      </div>
    </Card>
  );
}

function Shared({ shared, names }: { shared: CaseDetails['shared']; names: ReadonlyMap<string, string> }) {
  return (
    <Card title={t('cases.what_they_share')} note={t('cases.at_least_two_orders')}>
      {shared.length === 0 ? (
        <Empty title={t('cases.nothing_shared')} />
      ) : (
        <Table
          label={t('cases.what_they_share')}
          rows={shared}
          rowKey={({ kind, value }) => `${kind} ${value}`}
          columns={[
            {
              title: t('cases.value'),
              head: true,
              cell: ({ kind, value }) => (
                <>
                  <SharedValue kind={kind} value={value} name={names.get(value)} />
                  <span class="sub">{SHARED_TEXTS[kind]}</span>
                </>
              ),
            },
            { title: t('common.orders'), numeric: true, cell: ({ orders }) => formatCount(orders) },
            { title: t('common.partners'), numeric: true, cell: ({ affiliates }) => formatCount(affiliates) },
          ]}
        />
      )}
    </Card>
  );
}

/** Networks of shortened addresses are larger than those that are looked up. */
const SHORTENED = /\/48$/;

function SharedValue(props: { kind: Shared['kind']; value: string; name: string | undefined }) {
  const { kind, value, name } = props;
  if (!isSubjectKind(kind) || SHORTENED.test(value)) return <code>{value}</code>;
  return <Explored of={kind} value={value} name={kind === 'affiliate' ? name : undefined} />;
}

const ACTS = {
  close: '/v1/cases/{id}/close',
  reopen: '/v1/cases/{id}/reopen',
  say: '/v1/cases/{id}/notes',
} as const;

function Notes({ found, names, onChanged }: PartProps) {
  const { user } = useSession();
  const [attempt, setAttempt] = useState(newAttempt);
  const [text, setText] = useState('');
  const { run, busy, error } = useAction(async (act: keyof typeof ACTS) => {
    const params = { path: { id: found.id }, header: attempt };
    await take(api.POST(ACTS[act], { params, body: { note: text } }));
    setText('');
    setAttempt(newAttempt());
    onChanged();
  });
  const nameOf = (author: string) =>
    author === actorOf(user.id) ? t('common.you') : (names.get(author) ?? author);
  const end = found.state === 'open' ? 'close' : 'reopen';
  return (
    <Card title={t('cases.notes')}>
      <div class="stack">
        {found.notes.length > 0 && (
          <ul class="stack">
            {found.notes.map((note) => (
              <li key={`${note.at} ${note.author}`}>
                <strong>{nameOf(note.author)}</strong> <When at={note.at} />
                {note.act !== 'note' && (
                  <span class="sub">
                    {note.act === 'decision'
                      ? t('cases.decided_counts', {
                          approved: note.approved ?? 0,
                          rejected: note.rejected ?? 0,
                        })
                      : words(note.act)}
                  </span>
                )}
                <p class="message">{note.text}</p>
              </li>
            ))}
          </ul>
        )}
        <Form submit={t('cases.add_the_note')} busy={busy} error={error} onSubmit={() => void run('say')}>
          <TextArea
            label={t('cases.note')}
            rows={2}
            value={text}
            onChange={setText}
            hint={t('cases.name_no_customer')}
            required
          />
        </Form>
        <div class="actions">
          <Button busy={busy} disabled={text.trim() === ''} onClick={() => void run(end)}>
            {end === 'close' ? t('cases.close_with_the_note') : t('cases.reopen_with_the_note')}
          </Button>
        </div>
      </div>
    </Card>
  );
}
