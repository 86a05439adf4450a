import { useState } from 'preact/hooks';
import { api, type Schemas, take } from '../data/api.ts';
import { useAction, useData } from '../data/use-data.ts';
import { fieldProblems } from '../text/problem-text.ts';
import { t } from '../text/t.ts';
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
        <p role="status">{t('enrolment.your_second_factor_is_set')}</p>
        <RecoveryCodes codes={codes} />
        <div class="form-end">
          <Button kind="primary" onClick={onDone}>
            {t('enrolment.i_have_stored_the_codes')}
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
      <p>{t('enrolment.scan_this_code_with_an')}</p>
      <img
        class="qr"
        src={`data:image/svg+xml,${encodeURIComponent(qr_svg)}`}
        alt={t('enrolment.qr_code_of_the_secret')}
      />
      <p class="hint">{t('enrolment.or_type_this_secret_into')}</p>
      <CopyText text={secret} label={t('common.the_secret')} />
      <Form
        submit={t('enrolment.turn_on')}
        busy={busy}
        error={faults.code === undefined ? error : undefined}
        onSubmit={() => void run()}
      >
        <TextField
          label={t('common.code')}
          value={code}
          onChange={setCode}
          fault={faults.code}
          hint={t('enrolment.the_6_digits_that_the')}
          autocomplete="one-time-code"
          inputMode="numeric"
          max={10}
          required
        />
      </Form>
    </div>
  );
}
