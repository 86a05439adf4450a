import { useState } from 'preact/hooks';
import { navigate } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take, takeVersion } from '../../data/api.ts';
import { useData } from '../../data/use-data.ts';
import { words } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { Button, Card, Loading, Page, Problem } from '../../ui/basics.tsx';
import { Check, Dialog, Form, Select, TextField } from '../../ui/forms.tsx';
import { NewProgram } from '../setup/new-program.tsx';
import { SetupList } from '../setup/setup-list.tsx';
import { General, Privacy } from './general-settings.tsx';
import { LinkTemplates } from './link-templates.tsx';
import { type SettingsProps, useSave } from './save-settings.ts';

type Program = Schemas['Program'];

const BASES = {
  order_amount: 'All that was paid',
  net_of_tax: 'What was paid, without tax',
  net_of_tax_and_shipping: 'What was paid, without tax and shipping',
} as const satisfies Record<Program['commission_base'], string>;
const EVIDENCE = {
  coupon_wins: 'The coupon code',
  click_wins: 'The click, or the customer’s first order',
} as const satisfies Record<NonNullable<Program['coupon_evidence']>, string>;
const MATCHES = {
  off: 'Nothing',
  review: 'A review',
  credit: 'The commission',
} as const satisfies Record<NonNullable<Program['fingerprint_match']>, string>;

/** What a program is and lacks, what of its orders earns, and what decides between partners. */
export function SettingsPage() {
  const { program, user, reload: reloadSession, chooseProgram } = useSession();
  const [isCreating, setCreating] = useState(false);
  const { data, error, reload } = useData(
    async (signal) => {
      const params = { path: { id: program.id } };
      const [version, setup] = await Promise.all([
        takeVersion(api.GET('/v1/programs/{id}', { params, signal })),
        take(api.GET('/v1/programs/{id}/setup', { params, signal })),
      ]);
      return { ...version, setup };
    },
    [program.id],
  );
  const saved = () => {
    reload();
    reloadSession();
  };
  return (
    <Page
      title="Program settings"
      lead="Rates are in the terms; payout protection and tax data stand beside the payouts. Each change is in the audit log."
      actions={user.program_id === null && <Button onClick={() => setCreating(true)}>New program</Button>}
    >
      <Problem error={error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && (
        <>
          <SetupList setup={data.setup} />
          <div class="grid">
            <General key={`general ${data.etag}`} {...data} onSaved={saved} />
            <Privacy key={`privacy ${data.etag}`} {...data} onSaved={saved} />
            <Card title="Orders" note="Counts for orders that are decided from now on.">
              <OrderSettings key={data.etag} {...data} onSaved={saved} />
            </Card>
          </div>
          <Card
            title="Fraud rules"
            note="Thresholds from which an order is reviewed or rejected; empty: no such rule. Orders that are decided already keep theirs."
          >
            <FraudRules key={data.etag} {...data} onSaved={saved} />
          </Card>
          <LinkTemplates />
        </>
      )}
      {isCreating && (
        <Dialog title="New program" onClose={() => setCreating(false)}>
          <NewProgram
            onMade={({ id }) => {
              setCreating(false);
              chooseProgram(id);
              reloadSession();
              navigate('/');
            }}
          />
        </Dialog>
      )}
    </Page>
  );
}

function OrderSettings(props: SettingsProps) {
  const { data } = props;
  const [fields, setFields] = useState({
    events: data.events.join(', '),
    commission_base: data.commission_base as string,
    coupon_evidence: data.coupon_evidence ?? 'coupon_wins',
    fingerprint_match: data.fingerprint_match ?? 'off',
  });
  const set = (name: keyof typeof fields) => (value: string) => setFields({ ...fields, [name]: value });
  const { run, busy, error } = useSave(props);
  const faults = fieldProblems(error);
  const isOnFields = Object.keys(faults).some((name) => name.split('.')[0] === 'events');
  const events = fields.events.split(/[\s,;]+/).filter((name) => name !== '');
  const body = { ...fields, events } as Partial<Program>;
  return (
    <Form submit="Save" busy={busy} error={isOnFields ? undefined : error} onSubmit={() => void run(body)}>
      <TextField
        label="Events"
        value={fields.events}
        onChange={set('events')}
        fault={Object.entries(faults).find(([name]) => name.split('.')[0] === 'events')?.[1]}
        hint="What orders are of, such as sale, lead, install. Each may have terms of its own, and an order ID counts once per event."
        required
      />
      <Select
        label="Earns commissions"
        value={fields.commission_base}
        onChange={set('commission_base')}
        choices={choicesOf(BASES)}
        hint="Of orders that are reported with items; all others earn by their amount. Gift cards earn nothing."
      />
      <Select
        label="Of a click and a code of different partners counts"
        value={fields.coupon_evidence}
        onChange={set('coupon_evidence')}
        choices={choicesOf(EVIDENCE)}
        hint="Both stay in the evidence."
      />
      <Select
        label="An order without a click ID whose browser has clicked is worth"
        value={fields.fingerprint_match}
        onChange={set('fingerprint_match')}
        choices={choicesOf(MATCHES)}
      />
    </Form>
  );
}

function choicesOf(texts: Readonly<Record<string, string>>) {
  return Object.entries(texts).map(([value, text]) => ({ value, text }));
}

type Rules = NonNullable<Program['fraud_rules']>;
type RuleName = keyof Rules;

/** What is counted, or null where a rule is on or off. */
const UNITS = {
  bot_click: null,
  forced_click: null,
  high_conversion_rate_from_ip: 'conversions an hour',
  instant_conversion: 'seconds',
  click_velocity_ip: 'clicks in the hour before',
  click_velocity_subnet: 'clicks in the hour before',
  click_velocity_fingerprint: 'clicks in the hour before',
  geo_mismatch: null,
  data_centre: null,
  repeat_orders: 'orders of one customer a day',
  coupon_without_click: 'orders of one code without a click a day',
  fast_conversions: 'percent within two minutes',
} as const satisfies Record<RuleName, string | null>;
const RULE_NAMES = Object.keys(UNITS) as RuleName[];

function FraudRules(props: SettingsProps) {
  const before = props.data.fraud_rules ?? {};
  const [rules, setRules] = useState<Rules>(before);
  const { run, busy, error } = useSave(props);
  const faults = fieldProblems(error);
  const submit = () => {
    // Those that were not touched stay as they are, also where they are defaults.
    const changed = RULE_NAMES.filter((name) => rules[name] !== before[name]);
    void run({ fraud_rules: Object.fromEntries(changed.map((name) => [name, rules[name]])) });
  };
  return (
    <Form
      submit="Save thresholds"
      busy={busy}
      error={Object.keys(faults).length > 0 ? undefined : error}
      onSubmit={submit}
    >
      {RULE_NAMES.map((name) => {
        const unit = UNITS[name];
        const set = (threshold: number | boolean) => setRules({ ...rules, [name]: threshold });
        if (unit === null) {
          return <Check key={name} label={words(name)} checked={rules[name] === true} onChange={set} />;
        }
        return (
          <TextField
            key={name}
            label={`${words(name)}, ${unit}`}
            type="number"
            inputMode="numeric"
            value={typeof rules[name] === 'number' ? String(rules[name]) : ''}
            onChange={(text) => set(text.trim() === '' ? false : Number(text))}
            fault={faults[`fraud_rules.${name}`]}
            placeholder="off"
          />
        );
      })}
    </Form>
  );
}
