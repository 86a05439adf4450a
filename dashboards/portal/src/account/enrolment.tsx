import { useState } from 'preact/hooks';
import { api, type Schemas, take } from '../data/api.ts';
import { useAction, useData } from '../data/use-data.ts';
import { fieldProblems } from '../text/problem-text.ts';
import { Button, CopyText, Loading, Problem } from '../ui/basics.tsx';
import { Form, TextField } from '../ui/forms.tsx';
import { RecoveryCodes } from './recovery-codes.tsx';

/** Setting up a second factor: the secret as QR code, its first code, then the recovery codes. */
export function Enrolment({ onDone }: { onDone: () => void }) {
  const [codes, setCodes] = useState<readonly string[]>();
  const { data, error, reload } = useData(
    (signal) => take(api.POST('/v1/session/second-factor', { signal })),
    [],
  );
  if (codes) {
    return (
      <div class="stack">
        <p role="status">
          Your second factor is set up, and your other sessions are signed out. From now on you sign in with
          your password and a code.
        </p>
        <RecoveryCodes codes={codes} />
        <div class="form-end">
          <Button kind="primary" onClick={onDone}>
            I have stored the codes
          </Button>
        </div>
      </div>
    );
  }
  if (error !== undefined) return <Problem error={error} onRetry={reload} />;
  return data ? <FirstCode started={data} onConfirmed={setCodes} /> : <Loading />;
}

function FirstCode(props: {
  started: Schemas['StartedSecondFactor'];
  onConfirmed: (codes: readonly string[]) => void;
}) {
  const { secret, qr_svg } = props.started;
  const [code, setCode] = useState('');
  const { run, busy, error } = useAction(async () => {
    const body = { code };
    const { recovery_codes } = await take(api.POST('/v1/session/second-factor/confirm', { body }));
    props.onConfirmed(recovery_codes);
  });
  const faults = fieldProblems(error);
  return (
    <div class="stack">
      <p>
        Scan this code with an authenticator app on your phone, such as Aegis, Google Authenticator or your
        password manager.
      </p>
      <img
        class="qr"
        src={`data:image/svg+xml,${encodeURIComponent(qr_svg)}`}
        alt="QR code of the secret, which is below as text"
      />
      <p class="hint">Or type this secret into the app:</p>
      <CopyText text={secret} label="the secret" />
      <Form
        submit="Turn on"
        busy={busy}
        error={faults.code === undefined ? error : undefined}
        onSubmit={() => void run()}
      >
        <TextField
          label="Code"
          value={code}
          onChange={setCode}
          fault={faults.code}
          hint="The 6 digits that the app shows now."
          autocomplete="one-time-code"
          inputMode="numeric"
          max={10}
          required
        />
      </Form>
    </div>
  );
}
