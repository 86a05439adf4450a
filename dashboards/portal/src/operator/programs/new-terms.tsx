import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { bpsOf, words, ZONE_NAME } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { type Choice, Dialog, Form, Select, TextField } from '../../ui/forms.tsx';
import { NO_RATES, SpecialRates, specialRatesOf } from './special-rates.tsx';

const TYPES = [
  { value: 'percent', text: 'Share of the order value' },
  { value: 'fixed', text: 'Fixed amount' },
  { value: 'hybrid', text: 'Both' },
] as const;
type Type = (typeof TYPES)[number]['value'];

const INITIAL_FIELDS = {
  type: 'percent' as Type,
  rate: '10',
  fixed: '0.00',
  levels: '3; 1',
  hold: '30',
  window: '30',
  minimum: '50.00',
  from: '',
};
type Fields = typeof INITIAL_FIELDS;

const INITIAL_SCOPE = { campaign: '', affiliate: '', event: '' };
type Scope = typeof INITIAL_SCOPE;

interface FieldsProps {
  readonly fields: Fields;
  readonly set: (name: keyof Fields) => (value: string) => void;
  readonly faults: Readonly<Record<string, string>>;
}

interface NewTermsProps {
  readonly campaigns: readonly Schemas['Campaign'][];
  readonly affiliates: readonly Schemas['Affiliate'][];
  readonly onClose: () => void;
  readonly onMade: () => void;
}

export function NewTerms({ campaigns, affiliates, onClose, onMade }: NewTermsProps) {
  const { program } = useSession();
  const [attempt] = useState(newAttempt);
  const [scope, setScope] = useState(INITIAL_SCOPE);
  const [fields, setFields] = useState(INITIAL_FIELDS);
  const [rates, setRates] = useState(NO_RATES);
  const { run, busy, error } = useAction(async () => {
    const body = {
      program_id: program.id,
      ...bodyOf(scope, fields, program.currency),
      ...specialRatesOf(fields.type, rates, program.currency),
    };
    await take(api.POST('/v1/terms', { params: { header: attempt }, body }));
    onMade();
  });
  const faults = fieldProblems(error);
  const set: FieldsProps['set'] = (name) => (value) => setFields({ ...fields, [name]: value });
  return (
    <Dialog title="New terms" onClose={onClose}>
      <Form submit="Create terms" busy={busy} error={error} onSubmit={() => void run()}>
        <div class="form-row">
          <Select
            label="Campaign"
            value={scope.campaign}
            onChange={(campaign) => setScope({ ...scope, campaign })}
            choices={choicesOf('All campaigns', campaigns)}
          />
          <Select
            label="Partner"
            value={scope.affiliate}
            onChange={(affiliate) => setScope({ ...scope, affiliate })}
            choices={choicesOf('All partners', affiliates)}
          />
        </div>
        {program.events.length > 1 && (
          <Select
            label="Event"
            value={scope.event}
            onChange={(event) => setScope({ ...scope, event })}
            choices={[
              { value: '', text: 'All events without terms of their own' },
              ...program.events.map((event) => ({ value: event, text: words(event) })),
            ]}
          />
        )}
        <CommissionFields fields={fields} set={set} faults={faults} />
        <SpecialRates type={fields.type} rates={rates} onChange={setRates} faults={faults} />
        <PeriodFields fields={fields} set={set} faults={faults} />
      </Form>
    </Dialog>
  );
}

function choicesOf(all: string, named: readonly { id: string; name: string }[]): Choice[] {
  return [{ value: '', text: all }, ...named.map(({ id, name }) => ({ value: id, text: name }))];
}

function bodyOf(scope: Scope, fields: Fields, currency: string) {
  return {
    ...(scope.campaign !== '' && { campaign_id: scope.campaign }),
    ...(scope.affiliate !== '' && { affiliate_id: scope.affiliate }),
    ...(scope.event !== '' && { event_name: scope.event }),
    ...(fields.from !== '' && { from: new Date(fields.from).toISOString() }),
    commission_type: fields.type,
    ...(fields.type !== 'fixed' && { rate_bps: bpsOf(fields.rate) }),
    ...(fields.type !== 'percent' && { fixed: { amount: fields.fixed, currency } }),
    level_rates_bps: levelsIn(fields.levels).map(bpsOf),
    hold_days: Number(fields.hold),
    cookie_days: Number(fields.window),
    payout_min: { amount: fields.minimum, currency },
  };
}

/** `3; 1`, `3, 1` or `3 1`: a comma between digits is a decimal sign, as in the fields beside it. */
function levelsIn(text: string): string[] {
  return text.split(/[;\s]+|,(?!\d)/).filter((level) => level !== '');
}

/** A single `3,1` could be two levels as well. */
function twoReadings(text: string): string | undefined {
  const levels = levelsIn(text);
  const [only = ''] = levels;
  return levels.length === 1 && only.includes(',')
    ? `Has two readings: write ${only.replace(',', '.')} or ${only.replaceAll(',', '; ')}`
    : undefined;
}

/** Commission of the partner and of its recruiters. */
function CommissionFields({ fields, set, faults }: FieldsProps) {
  const { program } = useSession();
  return (
    <>
      <Select label="Commission" value={fields.type} onChange={set('type')} choices={TYPES} />
      <div class="form-row">
        {fields.type !== 'fixed' && (
          <TextField
            label="Share, %"
            inputMode="decimal"
            value={fields.rate}
            onChange={set('rate')}
            fault={faults.rate_bps}
            required
          />
        )}
        {fields.type !== 'percent' && (
          <TextField
            label={`Amount, ${program.currency}`}
            inputMode="decimal"
            value={fields.fixed}
            onChange={set('fixed')}
            fault={faults['fixed.amount'] ?? faults.fixed}
            required
          />
        )}
        <TextField
          label="Level 2 and above, %"
          value={fields.levels}
          onChange={set('levels')}
          fault={twoReadings(fields.levels) ?? faults.level_rates_bps}
          hint="Shares of the partner’s recruiters, such as 3; 1."
        />
      </div>
    </>
  );
}

/** Hold, attribution window, minimum payout, and the start of the terms. */
function PeriodFields({ fields, set, faults }: FieldsProps) {
  const { program } = useSession();
  return (
    <>
      <div class="form-row">
        <TextField
          label="Hold, days"
          inputMode="numeric"
          value={fields.hold}
          onChange={set('hold')}
          fault={faults.hold_days}
          required
        />
        <TextField
          label="Attribution window, days"
          inputMode="numeric"
          value={fields.window}
          onChange={set('window')}
          fault={faults.cookie_days}
          required
        />
        <TextField
          label={`Minimum payout, ${program.currency}`}
          inputMode="decimal"
          value={fields.minimum}
          onChange={set('minimum')}
          fault={faults['payout_min.amount'] ?? faults.payout_min}
          required
        />
      </div>
      <TextField
        label={`Valid from (${ZONE_NAME})`}
        type="datetime-local"
        value={fields.from}
        onChange={set('from')}
        fault={faults.from}
        hint="Empty: from now on. Orders of earlier clicks keep the earlier terms."
      />
    </>
  );
}
