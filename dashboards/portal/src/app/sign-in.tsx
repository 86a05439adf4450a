import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiProblem, api, take } from '../data/api.ts';
import { useAction } from '../data/use-data.ts';
import { Form, TextField } from '../ui/forms.tsx';
import { Link } from './router.tsx';
import { Mark } from './shell.tsx';

/** The frame of the pages that need no sign-in. */
export function Front(props: { title: string; children: ComponentChildren }) {
  const { title } = props;
  useEffect(() => {
    document.title = `${title} – Afflux`;
  }, [title]);
  return (
    <main class="front">
      <div class="front-card">
        <p class="brand-name">
          <Mark />
          Afflux
        </p>
        <h1>{title}</h1>
        {props.children}
      </div>
    </main>
  );
}

export function SignIn(props: { note: string | undefined; onSignedIn: () => void }) {
  const [email, setEmail] = useState('');
  const [password, setPassword] = useState('');
  const { run, busy, error } = useAction(async () => {
    await take(api.POST('/v1/session', { body: { email, password } }));
    props.onSignedIn();
  });
  const isWrong = error instanceof ApiProblem && error.problem.code === 'unauthorized';
  return (
    <Front title="Sign in">
      {props.note && <p role="status">{props.note}</p>}
      <Form submit="Sign in" busy={busy} error={isWrong ? undefined : error} onSubmit={() => void run()}>
        <TextField
          label="E-mail address"
          type="email"
          value={email}
          onChange={setEmail}
          autocomplete="username"
          required
        />
        <TextField
          label="Password"
          type="password"
          value={password}
          onChange={setPassword}
          autocomplete="current-password"
          required
        />
        {isWrong && (
          <p class="fault" role="alert">
            Wrong e-mail address or password. Check both, or set a new password.
          </p>
        )}
      </Form>
      <p class="front-foot">
        <Link to="/forgotten">Set a new password</Link>
      </p>
    </Front>
  );
}
