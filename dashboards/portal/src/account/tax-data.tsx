import { useState } from 'preact/hooks';
import type { Schemas } from '../data/api.ts';
import { t } from '../text/t.ts';
import { Select, TextArea, TextField } from '../ui/forms.tsx';

/** Fields of tax data, of a partner or of the program. */

const US_FORMS: readonly { readonly value: string; readonly text: string }[] = [
  { value: '', text: t('common.none') },
  { value: 'w9', text: 'W-9' },
  { value: 'w8ben', text: 'W-8BEN' },
  { value: 'w8bene', text: 'W-8BEN-E' },
  { value: 'w8eci', text: 'W-8ECI' },
  { value: 'w8exp', text: 'W-8EXP' },
  { value: 'w8imy', text: 'W-8IMY' },
];

type UsForm = NonNullable<Schemas['TaxData']['us_form']>;

interface Fields {
  readonly name: string;
  readonly address: string;
  readonly country: string;
  readonly vatId: string;
  readonly usForm: string;
}

/** The fields as they are typed, and what they say to the API. */
export function useTaxFields(data: Schemas['TaxData'] | null) {
  const [fields, setFields] = useState<Fields>({
    name: data?.name ?? '',
    address: data?.address.join('\n') ?? '',
    country: data?.country ?? '',
    vatId: data?.vat_id ?? '',
    usForm: data?.us_form ?? '',
  });
  const lines = fields.address.split('\n').map((line) => line.trim());
  const body = {
    name: fields.name.trim(),
    address: lines.filter((line) => line !== ''),
    country: fields.country.trim().toUpperCase(),
    vat_id: fields.vatId.trim() === '' ? null : fields.vatId.trim(),
    us_form: fields.usForm === '' ? null : (fields.usForm as UsForm),
  };
  const set = (changes: Partial<Fields>) => setFields({ ...fields, ...changes });
  return { fields, set, body };
}

/** `faults` by the API's names of the fields. */
export function TaxFields(props: {
  fields: Fields;
  set: (changes: Partial<Fields>) => void;
  faults: Readonly<Record<string, string | undefined>>;
  withForm: boolean;
}) {
  const { fields, set, faults, withForm } = props;
  return (
    <>
      <TextField
        label={t('taxData.legal_name')}
        value={fields.name}
        onChange={(name) => set({ name })}
        fault={faults.name}
        autocomplete="organization"
        required
      />
      <TextArea
        label={t('common.address')}
        hint={t('taxData.up_to_five_lines_without')}
        rows={3}
        value={fields.address}
        onChange={(address) => set({ address })}
        fault={faults.address}
        required
      />
      <TextField
        label={t('taxData.country')}
        hint={t('taxData.two_letters_such_as_de')}
        value={fields.country}
        onChange={(country) => set({ country })}
        fault={faults.country}
        autocomplete="country"
        max={2}
        required
      />
      <TextField
        label={t('taxData.vat_number')}
        hint={t('taxData.empty_without_one')}
        value={fields.vatId}
        onChange={(vatId) => set({ vatId })}
        fault={faults.vat_id}
      />
      {withForm && (
        <Select
          label={t('taxData.form_of_the_united_states')}
          hint={t('taxData.only_if_the_program_asked')}
          value={fields.usForm}
          onChange={(usForm) => set({ usForm })}
          choices={US_FORMS}
        />
      )}
    </>
  );
}
