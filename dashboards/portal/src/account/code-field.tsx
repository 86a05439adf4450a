import { TextField } from '../ui/forms.tsx';

/** The code of an authenticator app, or a recovery code. */
export function CodeField(props: {
  value: string;
  onChange: (value: string) => void;
  fault: string | undefined;
}) {
  return (
    <TextField
      label="Code"
      {...props}
      hint="The 6 digits that your authenticator app shows for Afflux, or one of your recovery codes."
      autocomplete="one-time-code"
      max={40}
      required
    />
  );
}
