import { useSession } from '../../app/session.tsx';
import type { Schemas } from '../../data/api.ts';
import { bpsOf, formatBps, formatMoney, percentOf } from '../../text/format.ts';
import { listed, t } from '../../text/t.ts';
import { Check } from '../../ui/forms.tsx';
import { NumberField } from '../../ui/number-field.tsx';

/** Rates of terms by who bought. */

type Terms = Schemas['Terms'];
type CommissionType = Terms['commission_type'];
type CustomerRates = Terms['customer_rates'];

const KINDS = {
  new: t('specialRates.new_customers'),
  returning: t('specialRates.returning_customers'),
  renewal: t('specialRates.renewals'),
} as const;
type Kind = keyof typeof KINDS;
const KIND_NAMES = Object.keys(KINDS) as Kind[];
const HINTS = {
  new: t('specialRates.empty_as_all_others'),
  returning: t('specialRates.empty_as_all_others_0'),
  renewal: t('specialRates.empty_as_all_others_later'),
} as const;

/** The rates as they are typed; those that are not `named` come from wider terms. */
export type TypedRates = Readonly<Record<Kind, { readonly rate: string; readonly fixed: string }>> & {
  readonly named: boolean;
};

/** What a version of terms names. */
export function namedRates(terms: Terms | undefined): TypedRates {
  const named = terms?.origins.customer_rates === 'named';
  const typed = (kind: Kind) => {
    const rate = named ? terms.customer_rates[kind] : undefined;
    return {
      rate: rate?.rate_bps === undefined ? '' : percentOf(rate.rate_bps),
      fixed: rate?.fixed?.amount ?? '',
    };
  };
  return { named, new: typed('new'), returning: typed('returning'), renewal: typed('renewal') };
}

/** As the API takes them; nothing where they are not named. */
export function ratesBody(
  type: CommissionType,
  rates: TypedRates,
  currency: string,
): { customer_rates?: CustomerRates } {
  if (!rates.named) return {};
  const customers = KIND_NAMES.flatMap((kind) => {
    const { rate, fixed } = rates[kind];
    const special = {
      ...(type !== 'fixed' && rate.trim() !== '' && { rate_bps: bpsOf(rate) }),
      ...(type !== 'percent' && fixed.trim() !== '' && { fixed: { amount: fixed.trim(), currency } }),
    };
    return Object.keys(special).length === 0 ? [] : [[kind, special] as const];
  });
  return { customer_rates: Object.fromEntries(customers) };
}

/** "20% for new customers, 0% for returning customers". */
export function customerRatesText(customer_rates: CustomerRates): string {
  const customers = KIND_NAMES.flatMap((kind) => {
    const special = customer_rates[kind];
    if (!special) return [];
    const { rate_bps, fixed } = special;
    const pays = [
      ...(rate_bps === undefined ? [] : [formatBps(rate_bps)]),
      ...(fixed ? [formatMoney(fixed)] : []),
    ];
    return [t('specialRates.rate_for', { rate: listed(pays), customers: KINDS[kind].toLowerCase() })];
  });
  return customers.join(', ');
}

/** Fields of the rates by customer; `hint` tells of the wider terms. */
export function CustomerRateFields(props: {
  type: CommissionType;
  rates: TypedRates;
  onChange: (rates: TypedRates) => void;
  faults: Readonly<Record<string, string>>;
  hint: string | undefined;
}) {
  const { type, rates, onChange, faults, hint } = props;
  const { program } = useSession();
  const parts = [
    ...(type === 'fixed' ? [] : [{ part: 'rate', name: 'rate_bps', unit: '%' } as const]),
    ...(type === 'percent' ? [] : [{ part: 'fixed', name: 'fixed.amount', unit: program.currency } as const]),
  ];
  return (
    <>
      <Check
        label={t('specialRates.rates_by_customer_of_their')}
        checked={rates.named}
        onChange={(named) => onChange({ ...rates, named })}
      />
      {hint && <p class="hint">{hint}</p>}
      {rates.named &&
        parts.map(({ part, name, unit }) => (
          <div class="form-row" key={part}>
            {KIND_NAMES.map((kind) => (
              <NumberField
                key={kind}
                label={`${KINDS[kind]}, ${unit}`}
                currency={part === 'fixed' ? program.currency : undefined}
                value={rates[kind][part]}
                onChange={(value) => onChange({ ...rates, [kind]: { ...rates[kind], [part]: value } })}
                fault={faults[`customer_rates.${kind}.${name}`] ?? faults[`customer_rates.${kind}`]}
                hint={HINTS[kind]}
              />
            ))}
          </div>
        ))}
    </>
  );
}
