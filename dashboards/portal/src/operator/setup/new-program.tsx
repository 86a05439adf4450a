import { useState } from 'preact/hooks';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { t } from '../../text/t.ts';
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
      submit={t('newProgram.create_program')}
      busy={busy}
      error={nameFault || currencyFault ? undefined : error}
      onSubmit={() => void run()}
      onCancel={props.onCancel}
    >
      <TextField
        label={t('common.name_of_the_shop')}
        value={name}
        onChange={setName}
        fault={nameFault}
        required
      />
      <TextField
        label={t('common.currency')}
        hint={t('newProgram.of_every_order_commission_and')}
        value={currency}
        onChange={setCurrency}
        max={3}
        fault={currencyFault}
        required
      />
    </Form>
  );
}
