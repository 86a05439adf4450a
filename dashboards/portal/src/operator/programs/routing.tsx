import type { Schemas } from '../../data/api.ts';
import { t } from '../../text/t.ts';
import { Button } from '../../ui/basics.tsx';
import { TextField } from '../../ui/forms.tsx';
import { NumberField } from '../../ui/number-field.tsx';

/** Routing by country, device, system, language and time; the first matching rule applies. */

export type RoutingInput = Schemas['RoutingInput'];
type Rule = RoutingInput['rules'][number];
type Destination = Rule['destinations'][number];
type When = Rule['when'];

const CONDITIONS = [
  { name: 'countries', label: t('routing.countries'), placeholder: 'DE, AT' },
  { name: 'devices', label: t('routing.devices'), placeholder: 'mobile, tablet' },
  { name: 'os', label: t('routing.systems'), placeholder: 'iOS' },
  { name: 'languages', label: t('routing.languages'), placeholder: 'de, fr' },
] as const;
type Condition = (typeof CONDITIONS)[number]['name'];

export function describeRouting(routing: Schemas['Routing'] | null): string {
  if (routing === null) return '–';
  const rules = routing.rules.length;
  const parts = [
    ...(rules > 0 ? [t('routing.rules', { count: rules })] : []),
    ...(routing.destinations ? [t('routing.split_over', { count: routing.destinations.length })] : []),
  ];
  return parts.join(', ') || '–';
}

export function RoutingEditor(props: {
  routing: RoutingInput | null;
  onChange: (routing: RoutingInput | null) => void;
}) {
  const routing = props.routing ?? { rules: [] };
  const change = (next: RoutingInput): void => {
    const isPlain = next.rules.length === 0 && !next.destinations?.length;
    props.onChange(isPlain ? null : next);
  };
  const replace = (i: number, rule: Rule | undefined): void => {
    const rules = routing.rules.flatMap((one, j) => (j === i ? (rule ? [rule] : []) : [one]));
    change({ ...routing, rules });
  };
  return (
    <fieldset class="stack">
      <legend>{t('common.routing')}</legend>
      <p class="hint">{t('routing.the_first_matching_rule_applies')}</p>
      {routing.rules.map((rule, i) => (
        // Rules have no ids: the key is the position in the list.
        <RuleEditor key={`rule ${i + 1}`} number={i + 1} rule={rule} onChange={(next) => replace(i, next)} />
      ))}
      <div class="form-end">
        <Button
          onClick={() =>
            change({
              ...routing,
              rules: [...routing.rules, { when: {}, destinations: [{ url: '', weight: 1 }] }],
            })
          }
        >
          {t('routing.add_rule')}
        </Button>
      </div>
    </fieldset>
  );
}

function RuleEditor(props: { number: number; rule: Rule; onChange: (rule: Rule | undefined) => void }) {
  const { number, rule, onChange } = props;
  const setDestination = (i: number, destination: Destination | undefined): void => {
    const destinations = rule.destinations.flatMap((one, j) =>
      j === i ? (destination ? [destination] : []) : [one],
    );
    onChange({ ...rule, destinations });
  };
  return (
    <div class="rule">
      <div class="timeline-head">
        <h3>{t('routing.rule_number', { number })}</h3>
        <Button
          kind="quiet"
          onClick={() => onChange(undefined)}
          label={t('routing.remove_rule_number', { number })}
        >
          {t('common.remove')}
        </Button>
      </div>
      <div class="form-row">
        {CONDITIONS.map(({ name, label, placeholder }) => (
          <TextField
            key={name}
            label={label}
            placeholder={placeholder}
            value={(rule.when[name] ?? []).join(', ')}
            onChange={(text) => onChange({ ...rule, when: withCondition(rule.when, name, text) })}
          />
        ))}
      </div>
      {rule.when.schedule && (
        <p class="hint">
          {t('routing.only_at', {
            days: rule.when.schedule.days.join(', '),
            from: rule.when.schedule.from,
            to: rule.when.schedule.to,
            zone: rule.when.schedule.timezone,
          })}
        </p>
      )}
      {rule.destinations.map((destination, i) => (
        <div class="destination" key={`destination ${i + 1}`}>
          <TextField
            label={i === 0 ? t('routing.destination') : t('routing.further_destination')}
            type="url"
            value={destination.url}
            onChange={(url) => setDestination(i, { ...destination, url })}
            required
          />
          <NumberField
            label={t('routing.weight')}
            whole
            value={String(destination.weight)}
            onChange={(weight) => setDestination(i, { ...destination, weight: Number(weight) })}
          />
          {rule.destinations.length > 1 && (
            <Button
              kind="quiet"
              onClick={() => setDestination(i, undefined)}
              label={t('routing.remove_destination_i', { i: i + 1 })}
            >
              ✕
            </Button>
          )}
        </div>
      ))}
      <div class="form-end">
        <Button
          kind="quiet"
          onClick={() => onChange({ ...rule, destinations: [...rule.destinations, { url: '', weight: 1 }] })}
        >
          {t('routing.add_destination')}
        </Button>
      </div>
    </div>
  );
}

/** Input stays unchanged until the server has checked it. */
function withCondition(when: When, name: Condition, text: string): When {
  const { [name]: _, ...others } = when;
  if (text.trim() === '') return others;
  return { ...others, [name]: text.split(/,\s*/) } as When;
}
