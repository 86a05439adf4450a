import { useState } from 'preact/hooks';
import { api, take } from '../data/api.ts';
import { useAction } from '../data/use-data.ts';
import { fieldProblems } from '../text/problem-text.ts';
import { Form, TextField } from '../ui/forms.tsx';
import { Link } from './router.tsx';
import { Front } from './sign-in.tsx';

const MIN_CHARS = 10;

/** Target of the mailed links: invitation and password reset. */
export function SetPassword() {
  const token = new URLSearchParams(window.location.search).get('token') ?? '';
  const [password, setPassword] = useState('');
  const [isDone, setDone] = useState(false);
  const { run, busy, error } = useAction(async () => {
    await take(api.POST('/v1/password-resets/confirm', { body: { token, password } }));
    setDone(true);
  });
  const faults = fieldProblems(error);
  if (isDone) {
    return (
      <Front title="Your password is set">
        <p>All earlier sessions have been signed out.</p>
        <p class="front-foot">
          <Link to="/">Sign in</Link>
        </p>
      </Front>
    );
  }
  if (token === '' || faults.token !== undefined) {
    return (
      <Front title="This link is no longer valid">
        <p>A link to set a password works once and expires. Request a new one.</p>
        <p class="front-foot">
          <Link to="/forgotten">Request a new link</Link>
        </p>
      </Front>
    );
  }
  return (
    <Front title="Set your password">
      <Form
        submit="Set the password"
        busy={busy}
        error={faults.password === undefined ? error : undefined}
        onSubmit={() => void run()}
      >
        <TextField
          label="New password"
          type="password"
          value={password}
          onChange={setPassword}
          autocomplete="new-password"
          hint={`At least ${MIN_CHARS} characters. A sentence that only you know works well.`}
          fault={faults.password}
          required
        />
      </Form>
    </Front>
  );
}

export function RequestReset() {
  const [email, setEmail] = useState('');
  const [isSent, setSent] = useState(false);
  const { run, busy, error } = useAction(async () => {
    await take(api.POST('/v1/password-resets', { body: { email } }));
    setSent(true);
  });
  if (isSent) {
    return (
      <Front title="Check your e-mail">
        <p>
          If {email} belongs to a user, a link to set a new password has been sent. It works once and expires
          in one hour.
        </p>
        <p class="front-foot">
          <Link to="/">Back to sign-in</Link>
        </p>
      </Front>
    );
  }
  return (
    <Front title="Set a new password">
      <p>We send you a link to set a new password.</p>
      <Form submit="Send the link" busy={busy} error={error} onSubmit={() => void run()}>
        <TextField
          label="E-mail address"
          type="email"
          value={email}
          onChange={setEmail}
          autocomplete="username"
          required
        />
      </Form>
      <p class="front-foot">
        <Link to="/">Back to sign-in</Link>
      </p>
    </Front>
  );
}
