import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { originText, words, ZONE_NAME } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { t } from '../../text/t.ts';
import { Problem } from '../../ui/basics.tsx';
import { type Choice, Dialog, Form, Select, TextArea, TextField } from '../../ui/forms.tsx';
import { NumberField } from '../../ui/number-field.tsx';
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

const TYPES = {
  percent: t('newTerms.share_of_the_order_value'),
  fixed: t('newTerms.fixed_amount'),
  hybrid: t('newTerms.both'),
} as const;
const TIER_MODES = {
  marginal: t('newTerms.each_part_of_an_order'),
  whole: t('newTerms.the_whole_order_at_the'),
};
const MODELS = { last_click: t('newTerms.last_click'), first_click: t('newTerms.first_click') } as const;
const SCHEDULES = {
  daily: t('newTerms.daily'),
  weekly: t('newTerms.weekly'),
  monthly: t('newTerms.monthly'),
} as const;
const WITHIN_ORDER = { false: t('newTerms.paid_whole'), true: t('newTerms.cut_to_the_order_value') } as const;

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
    fault: (name: FieldName) => listFault(name, fields[name], program.currency) ?? faultOf(faults, name),
    hint: (name: FieldName) => hintOf({ name, current, fields, inherited: inherited.data }),
    hidden,
  };
  return (
    <Dialog title={t('common.new_terms')} onClose={onClose}>
      <Form submit={t('newTerms.create_terms')} busy={busy} error={error} onSubmit={() => void run()}>
        <ScopeFields scope={scope} onChange={setScope} campaigns={campaigns} affiliates={affiliates} />
        <p class="hint">
          {current && `${t('newTerms.in_force', { version: current.id })} `}
          {t('newTerms.left_empty')}
        </p>
        <Problem error={inherited.error} onRetry={inherited.reload} />
        <CommissionFields {...props} />
        <VolumeFields {...props} />
        <details open={rates.named || fields.item_rates !== ''}>
          <summary>{t('newTerms.other_rates_by_customer_and')}</summary>
          <div class="stack">
            <CustomerRateFields
              type={type}
              rates={rates}
              onChange={setRates}
              faults={faults}
              hint={inherited.data && t('newTerms.if_not', { rates: ratesOf(inherited.data) })}
            />
            <TextArea
              label={t('common.items')}
              value={fields.item_rates}
              onChange={props.set('item_rates')}
              fault={props.fault('item_rates')}
              hint={`${t('newTerms.item_hint')} ${props.hint('item_rates')}`}
            />
          </div>
        </details>
        <PeriodFields {...props} />
        <TextField
          label={t('newTerms.valid_from_zone', { zone: ZONE_NAME })}
          type="datetime-local"
          value={from}
          onChange={setFrom}
          fault={faults.from}
          hint={t('newTerms.empty_from_now_on_orders')}
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
  const was =
    before !== '' && before !== fields[name]
      ? t('newTerms.was', { before: before.replaceAll('\n', ', ') })
      : '';
  const empty =
    inherited &&
    t('newTerms.empty', { value: showField(name, inherited), origin: originText(inherited.origins[name]) });
  return [was, empty].filter(Boolean).join(' ');
}

function ratesOf(inherited: Inherited): string {
  const rates = customerRatesText(inherited.customer_rates) || t('common.none_given');
  return `${rates}, ${originText(inherited.origins.customer_rates)}`;
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
          label={t('common.campaign')}
          value={scope.campaign}
          onChange={(campaign) => onChange({ ...scope, campaign })}
          choices={choicesOf(t('newTerms.all_campaigns'), campaigns)}
        />
        <Select
          label={t('common.partner')}
          value={scope.affiliate}
          onChange={(affiliate) => onChange({ ...scope, affiliate })}
          choices={choicesOf(t('common.all_partners'), affiliates)}
        />
      </div>
      {program.events.length > 1 && (
        <Select
          label={t('common.event')}
          value={scope.event}
          onChange={(event) => onChange({ ...scope, event })}
          choices={[
            { value: '', text: t('newTerms.all_events_without_terms_of') },
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
    /** Of a number: whether it is whole; of an amount: its currency. */
    whole?: boolean;
    currency?: string;
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
  if (props.whole !== undefined)
    return <NumberField {...common} whole={props.whole} currency={props.currency} />;
  if (!choices) return <TextField {...common} />;
  const named = Object.entries(choices).map(([value, text]) => ({ value, text }));
  return <Select {...common} choices={[{ value: '', text: t('newTerms.as_in_wider_terms') }, ...named]} />;
}

/** Commission of the partner and of its recruiters. */
function CommissionFields(props: FieldsProps) {
  const { program } = useSession();
  return (
    <>
      <TermsField {...props} name="commission_type" label={t('common.commission')} choices={TYPES} />
      <div class="form-row">
        <TermsField {...props} name="rate_bps" label={t('newTerms.share')} whole={false} />
        <TermsField
          {...props}
          name="fixed"
          label={t('newTerms.amount_currency', { currency: program.currency })}
          whole={false}
          currency={program.currency}
        />
        <TermsField
          {...props}
          name="level_rates_bps"
          label={t('newTerms.level_2_and_above')}
          more={t('newTerms.of_the_partners_recruiters_3')}
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
      <summary>{t('newTerms.volume_tiers_subscriptions_limits')}</summary>
      <div class="stack">
        {!hidden.has('tiers') && (
          <TextArea
            label={t('newTerms.tiers')}
            rows={3}
            value={fields.tiers}
            onChange={set('tiers')}
            fault={fault('tiers')}
            hint={`${t('newTerms.tier_hint')} ${hint('tiers')}`}
          />
        )}
        <div class="form-row">
          <TermsField
            {...props}
            name="tier_mode"
            label={t('newTerms.tiers_count_for')}
            choices={TIER_MODES}
          />
          <TermsField
            {...props}
            name="recurring_months"
            label={t('newTerms.months_of_a_subscription')}
            whole
            more={t('newTerms.0_the_first_order_only')}
          />
          <TermsField
            {...props}
            name="fixed_within_order"
            label={t('newTerms.a_fixed_amount_is')}
            choices={WITHIN_ORDER}
          />
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
        <TermsField {...props} name="hold_days" label={t('common.hold_days')} whole />
        <TermsField {...props} name="cookie_days" label={t('newTerms.attribution_window_days')} whole />
        <TermsField {...props} name="attribution_model" label={t('newTerms.counts')} choices={MODELS} />
      </div>
      <div class="form-row">
        <TermsField
          {...props}
          name="payout_min"
          label={t('newTerms.minimum_payout_currency', { currency: program.currency })}
          whole={false}
          currency={program.currency}
        />
        <TermsField {...props} name="payout_schedule" label={t('common.paid')} choices={SCHEDULES} />
      </div>
    </>
  );
}
