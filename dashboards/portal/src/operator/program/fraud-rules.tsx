import { useState } from 'preact/hooks';
import { api, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { Card } from '../../ui/basics.tsx';
import { Check, Form, Select, TextField } from '../../ui/forms.tsx';
import type { ProgramFormProps } from './program.tsx';

type Rules = NonNullable<Schemas['Program']['fraud_rules']>;
type RuleName = keyof Rules;

/** What sends an order to review, as the form says it; `more`: a number is compared. */
const RULES: readonly { readonly name: RuleName; readonly text: string; readonly more?: string }[] = [
  { name: 'bot_click', text: 'The click is of a robot' },
  { name: 'forced_click', text: 'The click was loaded by a page, without a visitor' },
  { name: 'geo_mismatch', text: 'Click and order come from different countries' },
  { name: 'data_centre', text: 'The click comes from a data centre' },
  {
    name: 'high_conversion_rate_from_ip',
    text: 'Many orders from one address',
    more: 'More than so many an hour',
  },
  { name: 'instant_conversion', text: 'The order follows the click at once', more: 'Within so many seconds' },
  { name: 'click_velocity_ip', text: 'Many clicks of one address', more: 'More than so many an hour' },
  { name: 'click_velocity_subnet', text: 'Many clicks of one network', more: 'More than so many an hour' },
  {
    name: 'click_velocity_fingerprint',
    text: 'Many clicks of one fingerprint',
    more: 'More than so many an hour',
  },
  { name: 'repeat_orders', text: 'Many orders of one customer', more: 'More than so many a day' },
  {
    name: 'coupon_without_click',
    text: 'Many orders of one coupon without a click',
    more: 'More than so many a day',
  },
  {
    name: 'fast_conversions',
    text: 'Most orders of a partner follow within two minutes',
    more: 'More than so many percent',
  },
];

const FINGERPRINT_MATCHES = [
  { value: 'off', text: 'Nothing' },
  { value: 'review', text: 'A review' },
  { value: 'credit', text: 'The commission' },
] as const;

/** Which orders a person looks at before they earn. */
export function FraudRules({ data, etag, onSaved }: ProgramFormProps) {
  const [match, setMatch] = useState(data.fingerprint_match ?? 'off');
  const [rules, setRules] = useState<Rules>(data.fraud_rules ?? {});
  const { run, busy, error } = useAction(async () => {
    const params = { path: { id: data.id }, header: { 'if-match': etag } };
    const body = { fingerprint_match: match, fraud_rules: rules };
    await take(api.PATCH('/v1/programs/{id}', { params, body }));
    onSaved();
  });
  const faults = fieldProblems(error);
  const isShown = RULES.some(({ name }) => faults[`fraud_rules.${name}`]);
  return (
    <Card
      title="Fraud rules"
      note="An order that a rule fires for goes to the review queue. Counts for decisions from now on."
    >
      <Form submit="Save rules" busy={busy} error={isShown ? undefined : error} onSubmit={() => void run()}>
        <div class="rules">
          {RULES.map(({ name, text, more }) => (
            <Rule
              key={name}
              text={text}
              more={more}
              value={rules[name] ?? false}
              fault={faults[`fraud_rules.${name}`]}
              onChange={(value) => setRules((before) => ({ ...before, [name]: value }))}
            />
          ))}
        </div>
        <Select
          label="Worth of an order without a click ID whose browser and network match a click"
          value={match}
          onChange={(value) =>
            setMatch(FINGERPRINT_MATCHES.find((one) => one.value === value)?.value ?? match)
          }
          choices={FINGERPRINT_MATCHES}
        />
      </Form>
    </Card>
  );
}

function Rule(props: {
  text: string;
  more: string | undefined;
  value: number | boolean;
  fault: string | undefined;
  onChange: (value: number | boolean) => void;
}) {
  const { text, more, value, fault, onChange } = props;
  // Switched on again it has the number that it had.
  const [last, setLast] = useState(typeof value === 'number' ? value : 0);
  const isOn = value !== false;
  return (
    <div class="rule-setting">
      <Check label={text} checked={isOn} onChange={(on) => onChange(on ? (more ? last : true) : false)} />
      {more && isOn && (
        <TextField
          label={more}
          type="number"
          inputMode="numeric"
          value={String(value)}
          onChange={(typed) => {
            setLast(Number(typed));
            onChange(Number(typed));
          }}
          fault={fault}
          required
        />
      )}
    </div>
  );
}
