import { useEffect, useState } from 'preact/hooks';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { usePages } from '../../data/use-pages.ts';
import { words, ZONE_NAME } from '../../text/format.ts';
import { listed, rich, t } from '../../text/t.ts';
import { Button, Card, Empty, Loading, Problem, When } from '../../ui/basics.tsx';
import { Dialog } from '../../ui/forms.tsx';
import { Status } from '../../ui/status.tsx';
import { ListTable } from '../../ui/table.tsx';
import type { Kind, Source } from './kinds.ts';
import { Reading } from './reading.tsx';

type Call = Schemas['PostbackCall'];

const EVERY_MS = 2_000;
const PAGE_ROWS = 12;
/** Of a body on the page: a call has up to a megabyte, and its beginning is what one looks at. */
const SHOWN_LENGTH = 20_000;

/** Calls of a source as they arrive, with what was made of them. */
export function Calls({ source, kind, onDone }: { source: Source; kind: Kind; onDone: () => void }) {
  const [shown, setShown] = useState<string>();
  const [isTrying, setTrying] = useState(false);
  const list = usePages(
    (cursor, signal) => {
      const query = { program_id: source.program_id, source_id: source.id, limit: PAGE_ROWS, cursor };
      return api.GET('/v1/postback-calls', { params: { query }, signal });
    },
    [source.id],
    EVERY_MS,
  );
  const done = new Set(
    list.rows?.filter(({ outcome }) => outcome !== 'rejected').map(({ replay_of }) => replay_of),
  );
  // The state of the source is that of its newest call.
  useEffect(onDone, [list.rows?.[0]?.id]);
  const changed = (): void => {
    list.reload();
    onDone();
  };
  return (
    <Card
      title={t('calls.calls')}
      note={t('calls.note')}
      actions={
        <>
          <Button onClick={() => setTrying(true)}>{t('calls.try_an_example')}</Button>
          <ReplayAll source={source} onDone={changed} />
        </>
      }
    >
      <ListTable
        label={t('calls.calls')}
        list={list}
        rowKey={({ id }) => id}
        empty={<Empty title={t('calls.no_call_yet')}>{t('calls.follow_the_steps')}</Empty>}
        columns={[
          {
            title: t('common.at_zone', { zone: ZONE_NAME }),
            cell: ({ received_at }) => <When at={received_at} />,
          },
          {
            title: t('common.order'),
            head: true,
            cell: ({ id, order_id, replay_of }) => (
              <>
                <span class="break">{order_id ?? '–'}</span>
                <span class="sub">
                  {replay_of === null ? id : t('calls.again_of', { id, first: replay_of })}
                </span>
              </>
            ),
          },
          { title: t('calls.state'), cell: (call) => <CallState call={call} isDone={done.has(call.id)} /> },
          {
            title: t('calls.what_was_made_of_it'),
            cell: ({ code, detail, conversion_id }) => (
              <>
                {code === null ? (conversion_id ?? '') : words(code)}
                {detail !== null && <span class="sub break">{detail}</span>}
              </>
            ),
          },
          {
            title: '',
            cell: (call) => (
              <div class="actions">
                <Button onClick={() => setShown(call.id)} label={t('calls.open_call', { id: call.id })}>
                  {t('common.open')}
                </Button>
                {isRepeatable(call, done) && <Replay call={call} onDone={changed} />}
              </div>
            ),
          },
        ]}
      />
      {shown && (
        <CallDetails id={shown} source={source} onClose={() => setShown(undefined)} onDone={changed} />
      )}
      {isTrying && <Example source={source} kind={kind} onClose={() => setTrying(false)} />}
    </Card>
  );
}

/** Refused, stored and not done since; one that was not signed is not stored. */
function isRepeatable({ id, outcome, code, replay_of }: Call, done: ReadonlySet<string | null>): boolean {
  return outcome === 'rejected' && code !== 'unauthorized' && replay_of === null && !done.has(id);
}

function CallState({ call, isDone }: { call: Call; isDone: boolean }) {
  if (isDone) return <Status of="accepted" text={t('calls.done_since')} />;
  return (
    <Status of={call.outcome} text={call.outcome === 'rejected' ? t('calls.refused') : words(call.outcome)} />
  );
}

function Replay({ call, onDone }: { call: Call; onDone: () => void }) {
  const { run, busy, error } = useAction(async () => {
    await take(api.POST('/v1/postback-calls/{id}/replay', { params: { path: { id: call.id } } })).finally(
      onDone,
    );
  });
  return (
    <>
      <Button onClick={() => void run()} busy={busy} label={t('calls.do_it_again_call', { id: call.id })}>
        {t('calls.do_it_again')}
      </Button>
      <Problem error={error} />
    </>
  );
}

type Counts = Pick<Schemas['SourceReplay'], 'accepted' | 'duplicate' | 'ignored' | 'rejected'>;
const OUTCOMES = ['accepted', 'duplicate', 'ignored', 'rejected'] as const;

/** Every call that was refused, page by page. */
function ReplayAll({ source, onDone }: { source: Source; onDone: () => void }) {
  const [counts, setCounts] = useState<Counts>();
  const { run, busy, error } = useAction(async () => {
    const sum: Counts = { accepted: 0, duplicate: 0, ignored: 0, rejected: 0 };
    let after: string | null = null;
    do {
      const params = { path: { id: source.id }, header: newAttempt() };
      const body: { after?: string } = after === null ? {} : { after };
      const answer: Schemas['SourceReplay'] = await take(
        api.POST('/v1/sources/{id}/replay', { params, body }),
      );
      for (const outcome of OUTCOMES) sum[outcome] += answer[outcome];
      after = answer.next;
      setCounts({ ...sum });
    } while (after !== null);
    onDone();
  });
  return (
    <>
      <Button onClick={() => void run()} busy={busy}>
        {t('calls.do_refused_again')}
      </Button>
      <Problem error={error} />
      {counts && (
        <p class="hint" role="status">
          {OUTCOMES.every((outcome) => counts[outcome] === 0)
            ? t('calls.there_was_none')
            : listed(
                OUTCOMES.filter((outcome) => counts[outcome] > 0).map((outcome) =>
                  t(`replayed.${outcome}`, { count: counts[outcome] }),
                ),
              )}
        </p>
      )}
    </>
  );
}

function CallDetails(props: { id: string; source: Source; onClose: () => void; onDone: () => void }) {
  const { id, source } = props;
  const { data, error } = useData(
    async (signal) => {
      const call = await take(api.GET('/v1/postback-calls/{id}', { params: { path: { id } }, signal }));
      if (call.request === null) return { call, reading: undefined };
      const params = { path: { id: source.id }, header: newAttempt() };
      const body = { call_id: call.replay_of ?? id };
      return { call, reading: await take(api.POST('/v1/sources/{id}/try', { params, body, signal })) };
    },
    [id],
  );
  return (
    <Dialog title={t('calls.call', { id })} onClose={props.onClose}>
      <Problem error={error} />
      {!data && error === undefined && <Loading />}
      {data && (
        <div class="stack">
          <CallFacts call={data.call} />
          {data.reading && (
            <>
              <h3>{t('calls.present_mapping')}</h3>
              <Reading reading={data.reading} />
            </>
          )}
          <h3>{t('common.request')}</h3>
          {data.call.request ? <Request request={data.call.request} /> : <p>{t('calls.not_stored')}</p>}
          {data.call.outcome === 'rejected' && data.call.request && (
            <div class="form-end">
              <Replay call={data.call} onDone={props.onDone} />
            </div>
          )}
        </div>
      )}
    </Dialog>
  );
}

function CallFacts({ call }: { call: Call }) {
  return (
    <dl class="facts">
      <dt>{t('calls.at')}</dt>
      <dd>
        {rich('calls.at_from', { time: <When at={call.received_at} />, ip: call.ip ?? t('calls.unknown') })}
      </dd>
      <dt>{t('calls.state')}</dt>
      <dd>
        <CallState call={call} isDone={false} />{' '}
        {[call.code && words(call.code), call.detail].filter(Boolean).join(': ')}
      </dd>
      <dt>{t('calls.conversion')}</dt>
      <dd>{call.conversion_id ?? t('common.none_given')}</dd>
    </dl>
  );
}

function Request({ request }: { request: Schemas['SourceRequest'] }) {
  const { method, query, headers, body } = request;
  const lines = [
    `${method} ${query === '' ? '' : `?${query}`}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    '',
    shownBody(body),
  ];
  return (
    <>
      <pre class="code">{lines.join('\n').trim()}</pre>
      {body.length > SHOWN_LENGTH && (
        <p class="hint">{t('calls.first_of', { shown: SHOWN_LENGTH, all: body.length })}</p>
      )}
    </>
  );
}

/** Indented where it is JSON and not long. */
function shownBody(body: string): string {
  if (body.length > SHOWN_LENGTH) return body.slice(0, SHOWN_LENGTH);
  try {
    // Numbers that JavaScript rounds would be shown wrong.
    return /\d{16}/.test(body) ? body : JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}

/** A call as the vendor makes it, made up here: it is read as a real one and recorded nowhere. */
function Example({ source, kind, onClose }: { source: Source; kind: Kind; onClose: () => void }) {
  const { data, error } = useData(
    async (signal) => {
      const params = { path: { id: source.id }, header: newAttempt() };
      return await take(
        api.POST('/v1/sources/{id}/try', { params, body: { request: kind.example }, signal }),
      );
    },
    [source.id],
  );
  return (
    <Dialog title={t('mapping.example_of_kind', { kind: kind.title })} onClose={onClose}>
      <div class="stack">
        <p>{t('calls.example_note', { kind: kind.title })}</p>
        <Problem error={error} />
        {!data && error === undefined && <Loading />}
        {data && <Reading reading={data} />}
        <h3>{t('common.request')}</h3>
        <Request request={kind.example} />
      </div>
    </Dialog>
  );
}
