import { useState } from 'preact/hooks';
import { useSession } from '../app/session.tsx';
import { api, take } from '../data/api.ts';
import { useAction } from '../data/use-data.ts';
import { fieldProblems } from '../text/problem-text.ts';
import { t } from '../text/t.ts';
import { Card } from '../ui/basics.tsx';
import { Form, TextField } from '../ui/forms.tsx';

/** Change of the user's own password, with the current one. */
export function PasswordCard() {
  const { user } = useSession();
  const [current, setCurrent] = useState('');
  const [next, setNext] = useState('');
  const [isDone, setDone] = useState(false);
  const { run, busy, error } = useAction(async () => {
    setDone(false);
    await take(api.POST('/v1/session/password', { body: { current_password: current, new_password: next } }));
    setCurrent('');
    setNext('');
    setDone(true);
  });
  const faults = fieldProblems(error);
  const isOnFields = faults.current_password !== undefined || faults.new_password !== undefined;
  return (
    <Card title={t('common.password')} note={t('password.you_sign_in_as_email', { email: user.email })}>
      <Form
        submit={t('password.change_password')}
        busy={busy}
        error={isOnFields ? undefined : error}
        onSubmit={() => void run()}
      >
        <TextField
          label={t('password.current_password')}
          type="password"
          value={current}
          onChange={setCurrent}
          fault={faults.current_password}
          autocomplete="current-password"
          required
        />
        <TextField
          label={t('common.new_password')}
          type="password"
          value={next}
          onChange={setNext}
          fault={faults.new_password}
          hint={t('password.at_least_10_characters_not')}
          autocomplete="new-password"
          required
        />
        {isDone && <p role="status">{t('password.password_changed_other_sessions_have')}</p>}
      </Form>
    </Card>
  );
}
