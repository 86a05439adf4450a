import { useState } from 'preact/hooks';
import { Link, navigate } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, take, takeVersion } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { fieldProblems } from '../../text/problem-text.ts';
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
  const back = <Link to="/connect">All sources</Link>;
  if (!data || !source || !kind) {
    const fault = error ?? kinds.error;
    return (
      <Page title="Source" actions={back}>
        {fault === undefined ? <Loading /> : <Problem error={fault} onRetry={reload} />}
      </Page>
    );
  }
  if (source.program_id !== program.id) {
    const own = programs.find(({ id: one }) => one === source.program_id);
    return (
      <Page title="Source" actions={back}>
        <Empty title="This source belongs to another program">
          {own && <Button onClick={() => chooseProgram(own.id)}>Go to {own.name}</Button>}
        </Empty>
      </Page>
    );
  }
  return (
    <Page title={source.name} lead={`${kind.title}, ${source.id}`} actions={back}>
      {error !== undefined && <Problem error={error} onRetry={reload} />}
      <State source={source} />
      <Card title={`At ${kind.kind === 'anything' ? 'the shop' : kind.title}`}>
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
        <dt>Status</dt>
        <dd>
          <SourceStatus source={source} />
        </dd>
        <dt>Last call</dt>
        <dd>
          <When at={source.last_call_at} none="none yet" />
        </dd>
        <dt>Last refusal</dt>
        <dd>
          <Refusal refusal={source.last_refusal} />
        </dd>
        <dt>Orders in 24 h</dt>
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
    <Card
      title="The source"
      note="Calls of a source that is switched off are stored and not done. A deleted one takes no calls; its orders stay."
    >
      <div class="actions">
        <Button onClick={() => setRenaming(true)}>Rename</Button>
        <Button onClick={() => void toggle.run()} busy={toggle.busy}>
          {isActive ? 'Switch off' : 'Switch on'}
        </Button>
        <Button kind="danger" onClick={() => setDeleting(true)}>
          Delete
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
    <Dialog title="Rename the source" onClose={onClose}>
      <Form submit="Rename" busy={busy} error={fault ? undefined : error} onSubmit={() => void run()}>
        <TextField label="Name" value={name} onChange={setName} fault={fault} required />
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
    <Dialog title={`Delete ${source.name}?`} onClose={onClose}>
      <Form
        submit="Delete the source"
        kind="danger"
        busy={busy}
        error={error}
        onSubmit={() => void run()}
        onCancel={onClose}
      >
        <p>
          Its URL takes no more calls, and calls that were refused cannot be done again. Orders and the log of
          calls stay.
        </p>
      </Form>
    </Dialog>
  );
}
