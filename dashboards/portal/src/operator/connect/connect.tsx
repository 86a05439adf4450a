import { useState } from 'preact/hooks';
import { Link, navigate } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { usePages } from '../../data/use-pages.ts';
import { words, ZONE_NAME } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { t } from '../../text/t.ts';
import { Button, Card, Empty, Loading, Page, Problem, When } from '../../ui/basics.tsx';
import { Dialog, Form, TextField } from '../../ui/forms.tsx';
import { Status } from '../../ui/status.tsx';
import { ListTable } from '../../ui/table.tsx';
import { aboutOf, type Kind, type Source } from './kinds.ts';
import { showOnce } from './secret.tsx';
import { Snippets } from './snippets.tsx';

const EVERY_MS = 5_000;

export const readKinds = async (signal: AbortSignal): Promise<readonly Kind[]> =>
  (await take(api.GET('/v1/source-kinds', { signal }))).data;

/** What sends orders to the program, and what can. */
export function ConnectPage() {
  const { program } = useSession();
  const [isMaking, setMaking] = useState(false);
  const kinds = useData(readKinds, []);
  const list = usePages(
    (cursor, signal) =>
      api.GET('/v1/sources', { params: { query: { program_id: program.id, cursor } }, signal }),
    [program.id],
    EVERY_MS,
  );
  const titleOf = (source: Source) =>
    kinds.data?.find(({ kind }) => kind === source.kind)?.title ?? source.kind;
  const connect = (
    <Button kind="primary" onClick={() => setMaking(true)}>
      {t('connect.title')}
    </Button>
  );
  return (
    <Page title={t('connect.title')} lead={t('connect.lead')} actions={connect}>
      <Card title={t('connect.sources')}>
        <ListTable
          label={t('connect.sources')}
          list={list}
          rowKey={({ id }) => id}
          empty={
            <Empty title={t('connect.nothing_is_connected_yet')}>
              {t('connect.choose_what_sends')} {connect}
            </Empty>
          }
          columns={[
            {
              title: t('common.name'),
              head: true,
              cell: (source) => (
                <>
                  <span class="break">{source.name}</span>
                  <span class="sub">
                    {titleOf(source)}, {source.id}
                  </span>
                </>
              ),
            },
            { title: t('common.status'), cell: (source) => <SourceStatus source={source} /> },
            {
              title: t('connect.last_call_zone', { zone: ZONE_NAME }),
              cell: ({ last_call_at }) => <When at={last_call_at} none={t('connect.none_yet')} />,
            },
            {
              title: t('connect.last_refusal'),
              cell: ({ last_refusal }) => <Refusal refusal={last_refusal} />,
            },
            { title: t('connect.orders_in_24_h'), numeric: true, cell: ({ orders_24h }) => orders_24h },
            {
              title: '',
              cell: ({ id, name }) => (
                <div class="actions">
                  <Link to={`/connect/${id}`} label={t('common.open_named', { name })}>
                    {t('common.open')}
                  </Link>
                </div>
              ),
            },
          ]}
        />
      </Card>
      <Snippets />
      {isMaking && <NewSource kinds={kinds} onClose={() => setMaking(false)} />}
    </Page>
  );
}

export function SourceStatus({ source }: { source: Source }) {
  const { status, signed, has_secret: hasSecret } = source;
  if (status === 'active' && signed && !hasSecret)
    return <Status of="pending" text={t('connect.secret_missing')} />;
  return <Status of={status} text={status === 'active' ? t('common.active') : t('connect.switched_off')} />;
}

export function Refusal({ refusal }: { refusal: Source['last_refusal'] }) {
  if (refusal === null) return <span class="muted">{t('common.none_given')}</span>;
  return (
    <>
      <When at={refusal.at} />
      <span class="sub break">
        {t('connect.refused_for', { code: words(refusal.code), detail: refusal.detail })}
      </span>
    </>
  );
}

function NewSource(props: { kinds: ReturnType<typeof useData<readonly Kind[]>>; onClose: () => void }) {
  const { data, error, reload } = props.kinds;
  const [kind, setKind] = useState<Kind>();
  return (
    <Dialog
      title={kind ? t('connect.connect_kind', { kind: kind.title }) : t('connect.what_sends_the_orders')}
      onClose={props.onClose}
    >
      {!data && (error === undefined ? <Loading /> : <Problem error={error} onRetry={reload} />)}
      {data && !kind && (
        <ul class="kinds">
          {data.map((one) => (
            <li key={one.kind}>
              <button type="button" onClick={() => setKind(one)}>
                <strong>{one.title}</strong>
                <span>{aboutOf(one.kind)}</span>
              </button>
            </li>
          ))}
        </ul>
      )}
      {kind && <NameSource kind={kind} onBack={() => setKind(undefined)} />}
    </Dialog>
  );
}

function NameSource({ kind, onBack }: { kind: Kind; onBack: () => void }) {
  const { program } = useSession();
  const [header] = useState(newAttempt);
  const [name, setName] = useState(kind.title);
  const { run, busy, error } = useAction(async () => {
    const body = { program_id: program.id, kind: kind.kind, name };
    const { source, secret } = await take(api.POST('/v1/sources', { params: { header }, body }));
    showOnce(source.id, secret);
    navigate(`/connect/${source.id}`);
  });
  const faults = fieldProblems(error);
  return (
    <Form
      submit={t('connect.title')}
      busy={busy}
      error={faults.name ? undefined : error}
      onSubmit={() => void run()}
      onCancel={onBack}
    >
      <p>{aboutOf(kind.kind)}</p>
      <TextField
        label={t('common.name')}
        hint={t('connect.name_hint')}
        value={name}
        onChange={setName}
        fault={faults.name}
        required
      />
    </Form>
  );
}
