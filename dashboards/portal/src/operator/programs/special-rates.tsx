import { useSession } from '../../app/session.tsx';
import type { Schemas } from '../../data/api.ts';
import { bpsOf } from '../../text/format.ts';
import { TextArea, TextField } from '../../ui/forms.tsx';

/** The part of the terms' form that most programs leave closed: rates by who bought and by what was bought. */

const KINDS = { new: 'New customers', returning: 'Returning customers', renewal: 'Renewals' } as const;
type Kind = keyof typeof KINDS;
const KIND_NAMES = Object.keys(KINDS) as Kind[];

export const NO_RATES = {
  new: { rate: '', fixed: '' },
  returning: { rate: '', fixed: '' },
  renewal: { rate: '', fixed: '' },
  items: '',
};
type Rates = typeof NO_RATES;
type CommissionType = Schemas['Terms']['commission_type'];
type NewTerms = Schemas['Terms'];

interface SpecialRatesProps {
  readonly type: CommissionType;
  readonly rates: Rates;
  readonly onChange: (rates: Rates) => void;
  readonly faults: Readonly<Record<string, string>>;
}

export function SpecialRates({ type, rates, onChange, faults }: SpecialRatesProps) {
  const { program } = useSession();
  const set = (kind: Kind, part: 'rate' | 'fixed') => (value: string) =>
    onChange({ ...rates, [kind]: { ...rates[kind], [part]: value } });
  const itemFault =
    wrongLine(rates.items) ?? Object.entries(faults).find(([field]) => field.startsWith('item_rates'))?.[1];
  return (
    <details>
      <summary>Other rates by customer and item</summary>
      <div class="stack">
        {type !== 'fixed' && (
          <div class="form-row">
            {KIND_NAMES.map((kind) => (
              <TextField
                key={kind}
                label={`${KINDS[kind]}, %`}
                inputMode="decimal"
                value={rates[kind].rate}
                onChange={set(kind, 'rate')}
                fault={faults[`customer_rates.${kind}.rate_bps`]}
                hint={HINTS[kind]}
              />
            ))}
          </div>
        )}
        {type !== 'percent' && (
          <div class="form-row">
            {KIND_NAMES.map((kind) => (
              <TextField
                key={kind}
                label={`${KINDS[kind]}, ${program.currency}`}
                inputMode="decimal"
                value={rates[kind].fixed}
                onChange={set(kind, 'fixed')}
                fault={faults[`customer_rates.${kind}.fixed.amount`]}
                hint={HINTS[kind]}
              />
            ))}
          </div>
        )}
        <TextArea
          label="Items"
          value={rates.items}
          onChange={(items) => onChange({ ...rates, items })}
          fault={itemFault}
          hint="One a line: sku A-1 = 20, brand Acme = 7, category fees = 0. In percent; 0 excludes the item."
        />
      </div>
    </details>
  );
}

const HINTS = {
  new: 'Empty: as above.',
  returning: 'Empty: as above. 0 credits new customers only.',
  renewal: 'Empty: as above. Later orders of a subscription.',
} as const;

/** The fields of the API; none where nothing was filled in, so that they come from wider terms. */
export function specialRatesOf(
  type: CommissionType,
  rates: Rates,
  currency: string,
): Partial<Pick<NewTerms, 'customer_rates' | 'item_rates'>> {
  const customers = KIND_NAMES.flatMap((kind) => {
    const { rate, fixed } = rates[kind];
    const special = {
      ...(type !== 'fixed' && rate.trim() !== '' && { rate_bps: bpsOf(rate) }),
      ...(type !== 'percent' && fixed.trim() !== '' && { fixed: { amount: fixed.trim(), currency } }),
    };
    return Object.keys(special).length === 0 ? [] : [[kind, special] as const];
  });
  const items = linesOf(rates.items);
  return {
    ...(customers.length > 0 && { customer_rates: Object.fromEntries(customers) }),
    ...(items.length > 0 && { item_rates: items.map(itemRateOf) }),
  };
}

const ITEM_LINE = /^\s*(sku|brand|category)\s+(.+?)\s*=\s*(\d+(?:[.,]\d+)?)\s*%?\s*$/i;

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line.trim() !== '');
}

/** What is wrong with the first line that is no rate of an item. */
function wrongLine(text: string): string | undefined {
  const wrong = linesOf(text).find((line) => !ITEM_LINE.test(line));
  return wrong && `Not a rate: ${wrong.trim()}`;
}

/** `sku A-1 = 20`; of a line that is none, which the form shows, the API takes nothing. */
function itemRateOf(line: string): Schemas['Terms']['item_rates'][number] {
  const [, mark = 'sku', name = '', percent = ''] = ITEM_LINE.exec(line) ?? [];
  return { [mark.toLowerCase()]: name, rate_bps: bpsOf(percent) };
}
