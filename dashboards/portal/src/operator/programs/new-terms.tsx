import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { words, ZONE_NAME } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { Problem } from '../../ui/basics.tsx';
import { type Choice, Dialog, Form, Select, TextArea, TextField } from '../../ui/forms.tsx';
import {
  CustomerRateFields,
  customerRatesText,
  namedRates,
  ratesBody,
  type TypedRates,
} from './special-rates.tsx';
import {
  bodyOf,
  type FieldName,
  type Fields,
  hiddenFields,
  type Inherited,
  listFault,
  namedFields,
  showField,
  type Terms,
} from './terms-fields.ts';

const TYPES = { percent: 'Share of the order value', fixed: 'Fixed amount', hybrid: 'Both' } as const;
const TIER_MODES = {
  marginal: 'Each part of an order at its rate',
  whole: 'The whole order at the rate reached',
};
const MODELS = { last_click: 'Last click', first_click: 'First click' } as const;
const SCHEDULES = { daily: 'Daily', weekly: 'Weekly', monthly: 'Monthly' } as const;
const WITHIN_ORDER = { false: 'Paid whole', true: 'Cut to the order value' } as const;

const INITIAL_SCOPE = { campaign: '', affiliate: '', event: '' };
type Scope = typeof INITIAL_SCOPE;

interface NewTermsProps {
  readonly terms: readonly Terms[];
  readonly campaigns: readonly Schemas['Campaign'][];
  readonly affiliates: readonly Schemas['Affiliate'][];
  readonly onClose: () => void;
  readonly onMade: () => void;
}

/** Terms name what is filled in, at first what the terms of the same scope name; the rest comes from wider terms. */
export function NewTerms({ terms, campaigns, affiliates, onClose, onMade }: NewTermsProps) {
  const { program } = useSession();
  const [attempt] = useState(newAttempt);
  const [scope, setScope] = useState(INITIAL_SCOPE);
  const [from, setFrom] = useState('');
  const [typed, setTyped] = useState<Partial<Fields>>({});
  const [typedRates, setRates] = useState<TypedRates>();
  const current = inForce(terms, scope, from);
  const fields = { ...namedFields(current), ...typed };
  const rates = typedRates ?? namedRates(current);
  const inherited = useInherited(scope, from, fields.commission_type);
  const type = (fields.commission_type ||
    inherited.data?.commission_type ||
    'percent') as Terms['commission_type'];
  const hidden = hiddenFields(type, scope.event);
  const { run, busy, error } = useAction(async () => {
    const body = {
      program_id: program.id,
      ...scopeOf(scope, from),
      ...bodyOf(fields, program.currency, hidden),
      ...ratesBody(type, rates, program.currency),
    };
    await take(api.POST('/v1/terms', { params: { header: attempt }, body }));
    onMade();
  });
  const faults = fieldProblems(error);
  const props = {
    fields,
    set: (name: FieldName) => (value: string) => setTyped({ ...typed, [name]: value }),
    fault: (name: FieldName) => listFault(name, fields[name]) ?? faultOf(faults, name),
    hint: (name: FieldName) => hintOf({ name, current, fields, inherited: inherited.data }),
    hidden,
  };
  return (
    <Dialog title="New terms" onClose={onClose}>
      <Form submit="Create terms" busy={busy} error={error} onSubmit={() => void run()}>
        <ScopeFields scope={scope} onChange={setScope} campaigns={campaigns} affiliates={affiliates} />
        <p class="hint">
          {current ? `In force for these: ${current.id}, whose own values are filled in. ` : ''}What is left
          empty comes from wider terms, or is a default.
        </p>
        <Problem error={inherited.error} onRetry={inherited.reload} />
        <CommissionFields {...props} />
        <VolumeFields {...props} />
        <details open={rates.named || fields.item_rates !== ''}>
          <summary>Other rates by customer and item</summary>
          <div class="stack">
            <CustomerRateFields
              type={type}
              rates={rates}
              onChange={setRates}
              faults={faults}
              hint={inherited.data && `If not: ${ratesOf(inherited.data)}.`}
            />
            <TextArea
              label="Items"
              value={fields.item_rates}
              onChange={props.set('item_rates')}
              fault={props.fault('item_rates')}
              hint={`One a line: sku A-1 = 20, brand Acme = 7, category fees = 0. In percent; 0 excludes the item, “none” names no item. ${props.hint('item_rates')}`}
            />
          </div>
        </details>
        <PeriodFields {...props} />
        <TextField
          label={`Valid from (${ZONE_NAME})`}
          type="datetime-local"
          value={from}
          onChange={setFrom}
          fault={faults.from}
          hint="Empty: from now on. Orders of earlier clicks keep the earlier terms."
        />
      </Form>
    </Dialog>
  );
}

/** The version of the same scope that the new one ends. */
function inForce(terms: readonly Terms[], scope: Scope, from: string): Terms | undefined {
  const at = from === '' ? Date.now() : Date.parse(from);
  return terms.find(
    ({ campaign_id, affiliate_id, event_name, valid_from, valid_to }) =>
      (campaign_id ?? '') === scope.campaign &&
      (affiliate_id ?? '') === scope.affiliate &&
      (event_name ?? '') === scope.event &&
      (valid_from === null || Date.parse(valid_from) <= at) &&
      (valid_to === null || Date.parse(valid_to) > at),
  );
}

function scopeOf(scope: Scope, from: string) {
  return {
    ...(scope.campaign !== '' && { campaign_id: scope.campaign }),
    ...(scope.affiliate !== '' && { affiliate_id: scope.affiliate }),
    ...(scope.event !== '' && { event_name: scope.event }),
    ...(from !== '' && { from: new Date(from).toISOString() }),
  };
}

function useInherited(scope: Scope, from: string, type: string) {
  const { program } = useSession();
  const query = {
    program_id: program.id,
    ...scopeOf(scope, from),
    ...(type !== '' && { commission_type: type as Terms['commission_type'] }),
  };
  return useData(
    async (signal) => await take(api.GET('/v1/terms/inherited', { params: { query }, signal })),
    [query],
  );
}

/** What a field comes to that is left empty. */
function hintOf(options: {
  name: FieldName;
  current: Terms | undefined;
  fields: Fields;
  inherited: Inherited | undefined;
}): string {
  const { name, current, fields, inherited } = options;
  const before = namedFields(current)[name];
  const was = before !== '' && before !== fields[name] ? `Was ${before.replaceAll('\n', ', ')}. ` : '';
  return inherited ? `${was}Empty: ${showField(name, inherited)}, ${originOf(inherited, name)}.` : was;
}

function originOf({ origins }: Inherited, name: keyof Inherited['origins']): string {
  const origin = origins[name];
  return origin === 'default' ? 'by default' : `from ${origin}`;
}

function ratesOf(inherited: Inherited): string {
  return `${customerRatesText(inherited.customer_rates) || 'none'}, ${originOf(inherited, 'customer_rates')}`;
}

/** Of a field, or of what is in it. */
function faultOf(faults: Readonly<Record<string, string>>, name: FieldName): string | undefined {
  return faults[name] ?? Object.entries(faults).find(([field]) => field.startsWith(`${name}.`))?.[1];
}

function ScopeFields(props: {
  scope: Scope;
  onChange: (scope: Scope) => void;
  campaigns: readonly Schemas['Campaign'][];
  affiliates: readonly Schemas['Affiliate'][];
}) {
  const { program } = useSession();
  const { scope, onChange, campaigns, affiliates } = props;
  return (
    <>
      <div class="form-row">
        <Select
          label="Campaign"
          value={scope.campaign}
          onChange={(campaign) => onChange({ ...scope, campaign })}
          choices={choicesOf('All campaigns', campaigns)}
        />
        <Select
          label="Partner"
          value={scope.affiliate}
          onChange={(affiliate) => onChange({ ...scope, affiliate })}
          choices={choicesOf('All partners', affiliates)}
        />
      </div>
      {program.events.length > 1 && (
        <Select
          label="Event"
          value={scope.event}
          onChange={(event) => onChange({ ...scope, event })}
          choices={[
            { value: '', text: 'All events without terms of their own' },
            ...program.events.map((event) => ({ value: event, text: words(event) })),
          ]}
        />
      )}
    </>
  );
}

function choicesOf(all: string, named: readonly { id: string; name: string }[]): Choice[] {
  return [{ value: '', text: all }, ...named.map(({ id, name }) => ({ value: id, text: name }))];
}

interface FieldsProps {
  readonly fields: Fields;
  readonly set: (name: FieldName) => (value: string) => void;
  readonly fault: (name: FieldName) => string | undefined;
  readonly hint: (name: FieldName) => string;
  /** Those that say nothing of these terms. */
  readonly hidden: ReadonlySet<FieldName>;
}

/** A field of terms as text, or as a choice with one for what is not named. */
function TermsField(
  props: FieldsProps & {
    name: FieldName;
    label: string;
    choices?: Readonly<Record<string, string>>;
    inputMode?: 'decimal' | 'numeric';
    more?: string;
  },
) {
  const { name, label, choices, fields, hidden, more = '' } = props;
  if (hidden.has(name)) return null;
  const common = {
    label,
    value: fields[name],
    onChange: props.set(name),
    fault: props.fault(name),
    hint: `${more} ${props.hint(name)}`.trim(),
  };
  if (!choices) return <TextField {...common} inputMode={props.inputMode} />;
  const named = Object.entries(choices).map(([value, text]) => ({ value, text }));
  return <Select {...common} choices={[{ value: '', text: 'As in wider terms' }, ...named]} />;
}

/** Commission of the partner and of its recruiters. */
function CommissionFields(props: FieldsProps) {
  const { program } = useSession();
  return (
    <>
      <TermsField {...props} name="commission_type" label="Commission" choices={TYPES} />
      <div class="form-row">
        <TermsField {...props} name="rate_bps" label="Share, %" inputMode="decimal" />
        <TermsField {...props} name="fixed" label={`Amount, ${program.currency}`} inputMode="decimal" />
        <TermsField
          {...props}
          name="level_rates_bps"
          label="Level 2 and above, %"
          more="Of the partner’s recruiters: 3; 1, or “none”."
        />
      </div>
    </>
  );
}

/** What changes the commission by volume or time. */
function VolumeFields(props: FieldsProps) {
  const { fields, set, fault, hint, hidden } = props;
  const names = ['tiers', 'tier_mode', 'recurring_months', 'fixed_within_order'] as const;
  return (
    <details open={names.some((name) => fields[name] !== '' && !hidden.has(name))}>
      <summary>Volume tiers, subscriptions, limits</summary>
      <div class="stack">
        {!hidden.has('tiers') && (
          <TextArea
            label="Tiers"
            rows={3}
            value={fields.tiers}
            onChange={set('tiers')}
            fault={fault('tiers')}
            hint={`Share by the volume of a month, one a line: 1000 = 12. “none” names no tier. ${hint('tiers')}`}
          />
        )}
        <div class="form-row">
          <TermsField {...props} name="tier_mode" label="Tiers count for" choices={TIER_MODES} />
          <TermsField
            {...props}
            name="recurring_months"
            label="Months of a subscription"
            inputMode="numeric"
            more="0: the first order only."
          />
          <TermsField {...props} name="fixed_within_order" label="A fixed amount is" choices={WITHIN_ORDER} />
        </div>
      </div>
    </details>
  );
}

/** Hold, attribution window and payouts. */
function PeriodFields(props: FieldsProps) {
  const { program } = useSession();
  return (
    <>
      <div class="form-row">
        <TermsField {...props} name="hold_days" label="Hold, days" inputMode="numeric" />
        <TermsField {...props} name="cookie_days" label="Attribution window, days" inputMode="numeric" />
        <TermsField {...props} name="attribution_model" label="Counts" choices={MODELS} />
      </div>
      <div class="form-row">
        <TermsField
          {...props}
          name="payout_min"
          label={`Minimum payout, ${program.currency}`}
          inputMode="decimal"
        />
        <TermsField {...props} name="payout_schedule" label="Paid" choices={SCHEDULES} />
      </div>
    </>
  );
}
