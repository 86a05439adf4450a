import { useState } from 'preact/hooks';
import { useSession } from '../app/session.tsx';
import { api, take } from '../data/api.ts';
import { useAction } from '../data/use-data.ts';
import { fieldProblems } from '../text/problem-text.ts';
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
    <Card title="Password" note={`You sign in as ${user.email}.`}>
      <Form
        submit="Change password"
        busy={busy}
        error={isOnFields ? undefined : error}
        onSubmit={() => void run()}
      >
        <TextField
          label="Current password"
          type="password"
          value={current}
          onChange={setCurrent}
          fault={faults.current_password}
          autocomplete="current-password"
          required
        />
        <TextField
          label="New password"
          type="password"
          value={next}
          onChange={setNext}
          fault={faults.new_password}
          hint="At least 10 characters. Other sessions are signed out."
          autocomplete="new-password"
          required
        />
        {isDone && <p role="status">Password changed. Other sessions have been signed out.</p>}
      </Form>
    </Card>
  );
}
