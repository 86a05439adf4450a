import { useState } from 'preact/hooks';
import { api, take } from '../data/api.ts';
import { useAction } from '../data/use-data.ts';
import { fieldProblems } from '../text/problem-text.ts';
import { t } from '../text/t.ts';
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
      <Front title={t('setPassword.your_password_is_set')}>
        <p>{t('setPassword.all_earlier_sessions_have_been')}</p>
        <p class="front-foot">
          <Link to="/">{t('common.sign_in')}</Link>
        </p>
      </Front>
    );
  }
  if (token === '' || faults.token !== undefined) {
    return (
      <Front title={t('setPassword.this_link_is_no_longer')}>
        <p>{t('setPassword.a_link_to_set_a')}</p>
        <p class="front-foot">
          <Link to="/forgotten">{t('setPassword.request_a_new_link')}</Link>
        </p>
      </Front>
    );
  }
  return (
    <Front title={t('setPassword.set_your_password')}>
      <Form
        submit={t('setPassword.set_the_password')}
        busy={busy}
        error={faults.password === undefined ? error : undefined}
        onSubmit={() => void run()}
      >
        <TextField
          label={t('common.new_password')}
          type="password"
          value={password}
          onChange={setPassword}
          autocomplete="new-password"
          hint={t('setPassword.at_least_minchars_characters_a', { minChars: MIN_CHARS })}
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
      <Front title={t('setPassword.check_your_e_mail')}>
        <p>{t('setPassword.if_email_belongs_to_a', { email })}</p>
        <p class="front-foot">
          <Link to="/">{t('setPassword.back_to_sign_in')}</Link>
        </p>
      </Front>
    );
  }
  return (
    <Front title={t('common.set_a_new_password')}>
      <p>{t('setPassword.we_send_you_a_link')}</p>
      <Form submit={t('setPassword.send_the_link')} busy={busy} error={error} onSubmit={() => void run()}>
        <TextField
          label={t('common.e_mail_address')}
          type="email"
          value={email}
          onChange={setEmail}
          autocomplete="username"
          required
        />
      </Form>
      <p class="front-foot">
        <Link to="/">{t('setPassword.back_to_sign_in')}</Link>
      </p>
    </Front>
  );
}
