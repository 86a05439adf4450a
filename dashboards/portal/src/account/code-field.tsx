import { t } from '../text/t.ts';
import { TextField } from '../ui/forms.tsx';

/** The code of an authenticator app, or a recovery code. */
export function CodeField(props: {
  value: string;
  onChange: (value: string) => void;
  fault: string | undefined;
}) {
  return (
    <TextField
      label={t('common.code')}
      {...props}
      hint={t('codeField.the_6_digits_that_your')}
      autocomplete="one-time-code"
      max={40}
      required
    />
  );
}
