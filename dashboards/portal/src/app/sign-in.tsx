import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { CodeField } from '../account/code-field.tsx';
import { ApiProblem, api, take } from '../data/api.ts';
import { useAction } from '../data/use-data.ts';
import { fieldProblems } from '../text/problem-text.ts';
import { Button } from '../ui/basics.tsx';
import { Form, TextField } from '../ui/forms.tsx';
import { Link } from './router.tsx';
import { Mark } from './shell.tsx';

/** The frame of the pages that need no sign-in. */
export function Front(props: { title: string; wide?: boolean; children: ComponentChildren }) {
  const { title } = props;
  useEffect(() => {
    document.title = `${title} – Afflux`;
  }, [title]);
  return (
    <main class="front">
      <div class={props.wide ? 'front-card wide' : 'front-card'}>
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
  const [needsCode, setNeedsCode] = useState(false);
  const { run, busy, error, clear } = useAction(async (code?: string) => {
    const body = { email, password, ...(code !== undefined && { code }) };
    try {
      await take(api.POST('/v1/session', { body }));
    } catch (problem) {
      if (!isProblem(problem, 'second_factor_required')) throw problem;
      setNeedsCode(true);
      return;
    }
    props.onSignedIn();
  });
  if (needsCode) {
    const back = () => {
      setNeedsCode(false);
      setPassword('');
      clear();
    };
    return <CodeStep busy={busy} error={error} onCode={(code) => void run(code)} onBack={back} />;
  }
  const isWrong = isProblem(error, 'unauthorized');
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

function isProblem(error: unknown, code: string): boolean {
  return error instanceof ApiProblem && error.problem.code === code;
}

/** The second step of a user with a second factor. */
function CodeStep(props: {
  busy: boolean;
  error: unknown;
  onCode: (code: string) => void;
  onBack: () => void;
}) {
  const [code, setCode] = useState('');
  const { busy, error } = props;
  const fault = fieldProblems(error).code;
  return (
    <Front title="Enter your code">
      <Form
        submit="Sign in"
        busy={busy}
        error={fault === undefined ? error : undefined}
        onSubmit={() => props.onCode(code)}
      >
        <CodeField value={code} onChange={setCode} fault={fault} />
      </Form>
      <p class="front-foot">
        <Button kind="quiet" onClick={props.onBack}>
          Use another account
        </Button>
      </p>
      <p class="hint">Lost your phone and your recovery codes? Ask an operator of the platform.</p>
    </Front>
  );
}
