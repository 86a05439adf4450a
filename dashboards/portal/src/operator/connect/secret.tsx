import { useState } from 'preact/hooks';
import { api, newAttempt, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { Button, CopyText, Problem, When } from '../../ui/basics.tsx';
import { Form, TextField } from '../../ui/forms.tsx';
import type { Kind, Source } from './kinds.ts';

/** Secrets that were just made, until the page of their source has shown them: an answer has each once. */
const made = new Map<string, string>();

export function showOnce(sourceId: string, secret: string | null): void {
  if (secret !== null) made.set(sourceId, secret);
}

function takeSecret(sourceId: string): string | undefined {
  const secret = made.get(sourceId);
  made.delete(sourceId);
  return secret;
}

/** The secret that proves the calls: made here, or copied from where the calls come from. */
export function Secret(props: { source: Source; kind: Kind; onChanged: () => void }) {
  const { source, kind } = props;
  const [shown, setShown] = useState(() => takeSecret(source.id));
  return (
    <div class="stack">
      {kind.secret === 'ours' ? (
        <OwnSecret {...props} shown={shown} onMade={setShown} />
      ) : (
        <VendorSecret {...props} />
      )}
      {source.old_secret_until !== null && Date.parse(source.old_secret_until) > Date.now() && (
        <p class="hint">
          The secret before is right as well until <When at={source.old_secret_until} />.
        </p>
      )}
    </div>
  );
}

function OwnSecret(props: {
  source: Source;
  shown: string | undefined;
  onMade: (secret: string) => void;
  onChanged: () => void;
}) {
  const { source, shown } = props;
  const [isSure, setSure] = useState(false);
  const { run, busy, error } = useAction(async () => {
    const params = { path: { id: source.id }, header: newAttempt() };
    const { secret } = await take(api.POST('/v1/sources/{id}/rotate-secret', { params, body: {} }));
    if (secret !== null) props.onMade(secret);
    setSure(false);
    props.onChanged();
  });
  return (
    <>
      {shown === undefined ? (
        <p class="hint">The secret was shown once, when it was made. Make a new one to see one.</p>
      ) : (
        <>
          <CopyText text={shown} label="the secret" />
          <p class="hint">Copy it now: it is shown once.</p>
        </>
      )}
      <Problem error={error} />
      <div class="actions">
        <Button kind="plain" onClick={() => (isSure ? void run() : setSure(true))} busy={busy}>
          {isSure ? 'Confirm the new secret' : 'New secret'}
        </Button>
      </div>
    </>
  );
}

function VendorSecret({ source, kind, onChanged }: { source: Source; kind: Kind; onChanged: () => void }) {
  const [isOpen, setOpen] = useState(false);
  const [secret, setSecret] = useState('');
  const { run, busy, error } = useAction(async () => {
    const params = { path: { id: source.id }, header: newAttempt() };
    await take(api.POST('/v1/sources/{id}/rotate-secret', { params, body: { secret } }));
    setSecret('');
    setOpen(false);
    onChanged();
  });
  const faults = fieldProblems(error);
  if (source.has_secret && !isOpen) {
    return (
      <div class="actions">
        <span class="status good">The secret is set</span>
        <Button onClick={() => setOpen(true)}>Replace the secret</Button>
      </div>
    );
  }
  return (
    <Form
      class="form secret"
      submit="Save the secret"
      busy={busy}
      error={faults.secret ? undefined : error}
      onSubmit={() => void run()}
      onCancel={isOpen ? () => setOpen(false) : undefined}
    >
      <TextField
        label={`Secret from ${kind.title}`}
        type="password"
        autocomplete="off"
        hint="It is stored encrypted and never shown."
        value={secret}
        onChange={(text) => setSecret(text.trim())}
        fault={faults.secret}
        required
      />
    </Form>
  );
}
