import { useState } from 'preact/hooks';
import { api, newAttempt, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { rich, t } from '../../text/t.ts';
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
        <p class="hint">{rich('secret.before_until', { time: <When at={source.old_secret_until} /> })}</p>
      )}
    </div>
  );
}

function OwnSecret(props: {
  source: Source;
  kind: Kind;
  shown: string | undefined;
  onMade: (secret: string) => void;
  onChanged: () => void;
}) {
  const { source, shown } = props;
  const [isSure, setSure] = useState(false);
  const [isTyping, setTyping] = useState(false);
  const { run, busy, error } = useAction(async () => {
    const params = { path: { id: source.id }, header: newAttempt() };
    const { secret } = await take(api.POST('/v1/sources/{id}/rotate-secret', { params, body: {} }));
    if (secret !== null) props.onMade(secret);
    setSure(false);
    props.onChanged();
  });
  if (isTyping) return <SecretForm {...props} onClose={() => setTyping(false)} />;
  return (
    <>
      {shown === undefined ? (
        <p class="hint">{t('secret.was_shown_once')}</p>
      ) : (
        <>
          <CopyText text={shown} label={t('common.the_secret')} />
          <p class="hint">{t('secret.copy_it_now')}</p>
        </>
      )}
      <Problem error={error} />
      <div class="actions">
        <Button kind="plain" onClick={() => (isSure ? void run() : setSure(true))} busy={busy}>
          {isSure ? t('secret.confirm_the_new_secret') : t('secret.new_secret')}
        </Button>
        <Button kind="plain" onClick={() => setTyping(true)}>
          {t('secret.enter')}
        </Button>
      </div>
    </>
  );
}

function VendorSecret(props: { source: Source; kind: Kind; onChanged: () => void }) {
  const [isOpen, setOpen] = useState(false);
  if (props.source.has_secret && !isOpen) {
    return (
      <div class="actions">
        <span class="status good">{t('secret.is_set')}</span>
        <Button onClick={() => setOpen(true)}>{t('secret.replace')}</Button>
      </div>
    );
  }
  return <SecretForm {...props} onClose={isOpen ? () => setOpen(false) : undefined} />;
}

/** The secret that stands where the calls come from, to be copied from there. */
function SecretForm(props: {
  source: Source;
  kind: Kind;
  onChanged: () => void;
  onClose: (() => void) | undefined;
}) {
  const [secret, setSecret] = useState('');
  const { run, busy, error } = useAction(async () => {
    const params = { path: { id: props.source.id }, header: newAttempt() };
    await take(api.POST('/v1/sources/{id}/rotate-secret', { params, body: { secret } }));
    setSecret('');
    props.onClose?.();
    props.onChanged();
  });
  const faults = fieldProblems(error);
  return (
    <Form
      class="form secret"
      submit={t('secret.save')}
      busy={busy}
      error={faults.secret ? undefined : error}
      onSubmit={() => void run()}
      onCancel={props.onClose}
    >
      <TextField
        label={t('secret.from_kind', { kind: props.kind.title })}
        type="password"
        autocomplete="off"
        hint={t('secret.hint')}
        value={secret}
        onChange={(text) => setSecret(text.trim())}
        fault={faults.secret}
        required
      />
    </Form>
  );
}
