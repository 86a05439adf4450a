import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { CodeField } from '../account/code-field.tsx';
import { ApiProblem, api, take } from '../data/api.ts';
import { useAction } from '../data/use-data.ts';
import { fieldProblems } from '../text/problem-text.ts';
import { t } from '../text/t.ts';
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
    <Front title={t('common.sign_in')}>
      {props.note && <p role="status">{props.note}</p>}
      <Form
        submit={t('common.sign_in')}
        busy={busy}
        error={isWrong ? undefined : error}
        onSubmit={() => void run()}
      >
        <TextField
          label={t('common.e_mail_address')}
          type="email"
          value={email}
          onChange={setEmail}
          autocomplete="username"
          required
        />
        <TextField
          label={t('common.password')}
          type="password"
          value={password}
          onChange={setPassword}
          autocomplete="current-password"
          required
        />
        {isWrong && (
          <p class="fault" role="alert">
            {t('signIn.wrong_e_mail_address_or')}
          </p>
        )}
      </Form>
      <p class="front-foot">
        <Link to="/forgotten">{t('common.set_a_new_password')}</Link>
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
    <Front title={t('signIn.enter_your_code')}>
      <Form
        submit={t('common.sign_in')}
        busy={busy}
        error={fault === undefined ? error : undefined}
        onSubmit={() => props.onCode(code)}
      >
        <CodeField value={code} onChange={setCode} fault={fault} />
      </Form>
      <p class="front-foot">
        <Button kind="quiet" onClick={props.onBack}>
          {t('signIn.use_another_account')}
        </Button>
      </p>
      <p class="hint">{t('signIn.lost_your_phone_and_your')}</p>
    </Front>
  );
}
