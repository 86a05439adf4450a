import { useState } from 'preact/hooks';
import { TaxFields, useTaxFields } from '../../account/tax-data.tsx';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take, takeVersion } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { t } from '../../text/t.ts';
import { Card, Loading, Problem } from '../../ui/basics.tsx';
import { Check, Form } from '../../ui/forms.tsx';
import { NumberField } from '../../ui/number-field.tsx';

/** Who runs the program, what it asks of tax data, and which tax its statements show. */
export function TaxSettings({ onSaved }: { onSaved: () => void }) {
  const { program, user } = useSession();
  const { data, error, reload } = useData(
    async (signal) =>
      await takeVersion(
        api.GET('/v1/programs/{id}/tax-data', { params: { path: { id: program.id } }, signal }),
      ),
    [program.id],
  );
  if (user.role !== 'operator') return null;
  return (
    <Card
      title={t('taxSettings.tax_data_and_statements')}
      note={t('taxSettings.stands_on_the_statements_that')}
    >
      <Problem error={error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && (
        <SettingsForm
          key={data.etag}
          {...data}
          onSaved={() => {
            reload();
            onSaved();
          }}
        />
      )}
    </Card>
  );
}

function SettingsForm(props: { data: Schemas['ProgramTaxData']; etag: string; onSaved: () => void }) {
  const { data, etag, onSaved } = props;
  const { fields, set, body } = useTaxFields(data.tax_data);
  const [required, setRequired] = useState(data.rules.required_for_payout);
  const [selfBilling, setSelfBilling] = useState(data.rules.vat === 'self_billing');
  const [rate, setRate] = useState(data.rules.vat_rate === null ? '' : String(Number(data.rules.vat_rate)));
  const { run, busy, error } = useAction(async () => {
    const params = { path: { id: data.program_id }, header: { 'if-match': etag } };
    const rules = {
      required_for_payout: required,
      vat: selfBilling ? ('self_billing' as const) : ('none' as const),
      vat_rate: selfBilling ? rate : null,
    };
    await take(api.PUT('/v1/programs/{id}/tax-data', { params, body: { tax_data: body, rules } }));
    onSaved();
  });
  const faults = fieldProblems(error);
  return (
    <Form
      submit={t('common.save_tax_data')}
      busy={busy}
      error={Object.keys(faults).length > 0 ? undefined : error}
      onSubmit={() => void run()}
    >
      <TaxFields fields={fields} set={set} faults={byLastName(faults)} withForm={false} />
      <Check
        label={t('taxSettings.no_payout_without_a_partners')}
        checked={required}
        onChange={setRequired}
      />
      <Check
        label={t('taxSettings.statements_are_self_billing_invoices')}
        checked={selfBilling}
        onChange={setSelfBilling}
      />
      {selfBilling && (
        <NumberField
          label={t('taxSettings.vat')}
          hint={t('taxSettings.within_what_is_paid_for')}
          value={rate}
          onChange={setRate}
          fault={byLastName(faults).vat_rate}
          required
        />
      )}
    </Form>
  );
}

/** `tax_data.country` as `country`. */
function byLastName(faults: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(faults).map(([name, fault]) => [name.split('.').at(-1) ?? name, fault]),
  );
}
