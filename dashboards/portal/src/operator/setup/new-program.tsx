import { useState } from 'preact/hooks';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { Form, TextField } from '../../ui/forms.tsx';

/** A new program; what it lacks then stands on its overview. */
export function NewProgram(props: {
  onMade: (program: Schemas['Program']) => void;
  onCancel?: (() => void) | undefined;
}) {
  const [name, setName] = useState('');
  const [currency, setCurrency] = useState('EUR');
  const [header] = useState(newAttempt);
  const { run, busy, error } = useAction(async () => {
    props.onMade(await take(api.POST('/v1/programs', { params: { header }, body: { name, currency } })));
  });
  const { name: nameFault, currency: currencyFault } = fieldProblems(error);
  return (
    <Form
      submit="Create program"
      busy={busy}
      error={nameFault || currencyFault ? undefined : error}
      onSubmit={() => void run()}
      onCancel={props.onCancel}
    >
      <TextField label="Name of the shop" value={name} onChange={setName} fault={nameFault} required />
      <TextField
        label="Currency"
        hint="Of every order, commission and payout; it never changes."
        value={currency}
        onChange={setCurrency}
        max={3}
        fault={currencyFault}
        required
      />
    </Form>
  );
}
