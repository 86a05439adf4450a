import { useEffect, useRef, useState } from 'preact/hooks';
import { api, type Schemas, take, whenConfirmationNeeded } from '../data/api.ts';
import { useAction } from '../data/use-data.ts';
import { fieldProblems } from '../text/problem-text.ts';
import { t } from '../text/t.ts';
import { Dialog, Form, TextField } from '../ui/forms.tsx';
import { CodeField } from './code-field.tsx';

/** Asks for the password when a request needs a recent sign-in; the request is repeated then. */
export function ConfirmSignIn({ session }: { session: Schemas['Session'] }) {
  const [isOpen, setOpen] = useState(false);
  const answer = useRef((_isConfirmed: boolean): void => undefined);
  useEffect(() => {
    whenConfirmationNeeded(
      () =>
        new Promise((resolve) => {
          answer.current = resolve;
          setOpen(true);
        }),
    );
  }, []);
  function close(isConfirmed: boolean): void {
    answer.current(isConfirmed);
    setOpen(false);
  }
  if (!isOpen) return null;
  return <ConfirmDialog session={session} onConfirmed={() => close(true)} onClose={() => close(false)} />;
}

function ConfirmDialog(props: { session: Schemas['Session']; onConfirmed: () => void; onClose: () => void }) {
  const { session, onConfirmed, onClose } = props;
  const hasSecondFactor = session.second_factor.enrolled_at !== null;
  const [password, setPassword] = useState('');
  const [code, setCode] = useState('');
  const { run, busy, error } = useAction(async () => {
    const body = { password, ...(hasSecondFactor && { code }) };
    await take(api.POST('/v1/session/confirm', { body }));
    onConfirmed();
  });
  const faults = fieldProblems(error);
  const isOnFields = faults.password !== undefined || faults.code !== undefined;
  return (
    <Dialog title={t('confirmSignIn.confirm_that_it_is_you')} onClose={onClose}>
      <div class="stack">
        <p>{t('confirmSignIn.this_action_needs_your_password')}</p>
        <Form
          submit={t('common.confirm')}
          busy={busy}
          error={isOnFields ? undefined : error}
          onSubmit={() => void run()}
          onCancel={onClose}
        >
          <TextField
            label={t('confirmSignIn.password_of_email', { email: session.user.email })}
            type="password"
            value={password}
            onChange={setPassword}
            fault={faults.password}
            autocomplete="current-password"
            required
          />
          {hasSecondFactor && <CodeField value={code} onChange={setCode} fault={faults.code} />}
        </Form>
      </div>
    </Dialog>
  );
}
