import { useState } from 'preact/hooks';
import { Link, navigate } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, take, takeVersion } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { t } from '../../text/t.ts';
import { Button, Card, Empty, Loading, Page, Problem, When } from '../../ui/basics.tsx';
import { Dialog, Form, TextField } from '../../ui/forms.tsx';
import { Calls } from './calls.tsx';
import { Refusal, readKinds, SourceStatus } from './connect.tsx';
import { SNIPPETS_OF, type Source } from './kinds.ts';
import { MappingCard } from './mapping.tsx';
import { Snippets } from './snippets.tsx';
import { Steps } from './steps.tsx';

const EVERY_MS = 3_000;

/** One source: what to do where the orders are, its calls, how they are read. */
export function SourcePage({ params: { id = '' } }: { params: Readonly<Record<string, string>> }) {
  const { program, programs, chooseProgram } = useSession();
  const kinds = useData(readKinds, []);
  const { data, error, reload } = useData(
    async (signal) => await takeVersion(api.GET('/v1/sources/{id}', { params: { path: { id } }, signal })),
    [id],
    { everyMs: EVERY_MS },
  );
  const source = data?.data;
  const kind = kinds.data?.find((one) => one.kind === source?.kind);
  const back = <Link to="/connect">{t('source.all_sources')}</Link>;
  if (!data || !source || !kind) {
    const fault = error ?? kinds.error;
    return (
      <Page title={t('source.source')} actions={back}>
        {fault === undefined ? <Loading /> : <Problem error={fault} onRetry={reload} />}
      </Page>
    );
  }
  if (source.program_id !== program.id) {
    const own = programs.find(({ id: one }) => one === source.program_id);
    return (
      <Page title={t('source.source')} actions={back}>
        <Empty title={t('source.of_another_program')}>
          {own && (
            <Button onClick={() => chooseProgram(own.id)}>
              {t('source.go_to_program', { program: own.name })}
            </Button>
          )}
        </Empty>
      </Page>
    );
  }
  return (
    <Page title={source.name} lead={`${kind.title}, ${source.id}`} actions={back}>
      {error !== undefined && <Problem error={error} onRetry={reload} />}
      <State source={source} />
      <Card
        title={kind.kind === 'anything' ? t('source.at_the_shop') : t('source.at_kind', { kind: kind.title })}
      >
        <Steps source={source} kind={kind} onChanged={reload} />
      </Card>
      <Calls source={source} kind={kind} onDone={reload} />
      <MappingCard source={source} kind={kind} etag={data.etag} onSaved={reload} />
      {SNIPPETS_OF[kind.kind] && <Snippets only={SNIPPETS_OF[kind.kind]} />}
      <Acts source={source} etag={data.etag} onChanged={reload} />
    </Page>
  );
}

function State({ source }: { source: Source }) {
  return (
    <Card>
      <dl class="facts">
        <dt>{t('common.status')}</dt>
        <dd>
          <SourceStatus source={source} />
        </dd>
        <dt>{t('source.last_call')}</dt>
        <dd>
          <When at={source.last_call_at} none={t('connect.none_yet')} />
        </dd>
        <dt>{t('connect.last_refusal')}</dt>
        <dd>
          <Refusal refusal={source.last_refusal} />
        </dd>
        <dt>{t('connect.orders_in_24_h')}</dt>
        <dd>{source.orders_24h}</dd>
      </dl>
    </Card>
  );
}

interface ActsProps {
  readonly source: Source;
  readonly etag: string;
  readonly onChanged: () => void;
}

/** Renaming, switching off, deleting. */
function Acts(props: ActsProps) {
  const { source, etag, onChanged } = props;
  const [isRenaming, setRenaming] = useState(false);
  const [isDeleting, setDeleting] = useState(false);
  const isActive = source.status === 'active';
  const toggle = useAction(async () => {
    const params = { path: { id: source.id }, header: { 'if-match': etag } };
    const status = isActive ? ('disabled' as const) : ('active' as const);
    await take(api.PATCH('/v1/sources/{id}', { params, body: { status } }));
    onChanged();
  });
  return (
    <Card title={t('source.the_source')} note={t('source.note')}>
      <div class="actions">
        <Button onClick={() => setRenaming(true)}>{t('source.rename')}</Button>
        <Button onClick={() => void toggle.run()} busy={toggle.busy}>
          {isActive ? t('source.switch_off') : t('source.switch_on')}
        </Button>
        <Button kind="danger" onClick={() => setDeleting(true)}>
          {t('source.delete')}
        </Button>
      </div>
      <Problem error={toggle.error} />
      {isRenaming && <Rename {...props} onClose={() => setRenaming(false)} />}
      {isDeleting && <Delete source={source} onClose={() => setDeleting(false)} />}
    </Card>
  );
}

function Rename({ source, etag, onChanged, onClose }: ActsProps & { onClose: () => void }) {
  // Of the version that was opened: a change by somebody else meanwhile is not overwritten.
  const [opened] = useState(etag);
  const [name, setName] = useState(source.name);
  const { run, busy, error } = useAction(async () => {
    const params = { path: { id: source.id }, header: { 'if-match': opened } };
    await take(api.PATCH('/v1/sources/{id}', { params, body: { name } }));
    onChanged();
    onClose();
  });
  const fault = fieldProblems(error).name;
  return (
    <Dialog title={t('source.rename_the_source')} onClose={onClose}>
      <Form
        submit={t('source.rename')}
        busy={busy}
        error={fault ? undefined : error}
        onSubmit={() => void run()}
      >
        <TextField label={t('common.name')} value={name} onChange={setName} fault={fault} required />
      </Form>
    </Dialog>
  );
}

function Delete({ source, onClose }: { source: Source; onClose: () => void }) {
  const { run, busy, error } = useAction(async () => {
    const params = { path: { id: source.id }, header: newAttempt() };
    await take(api.DELETE('/v1/sources/{id}', { params }));
    navigate('/connect');
  });
  return (
    <Dialog title={t('source.delete_named', { name: source.name })} onClose={onClose}>
      <Form
        submit={t('source.delete_the_source')}
        kind="danger"
        busy={busy}
        error={error}
        onSubmit={() => void run()}
        onCancel={onClose}
      >
        <p>{t('source.delete_means')}</p>
      </Form>
    </Dialog>
  );
}
