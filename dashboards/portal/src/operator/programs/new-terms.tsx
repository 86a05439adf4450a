import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { ZONE_NAME } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { type Choice, Dialog, Form, Select, TextField } from '../../ui/forms.tsx';

const TYPES = [
  { value: 'percent', text: 'A share of the order' },
  { value: 'fixed', text: 'A fixed amount' },
  { value: 'hybrid', text: 'Both' },
] as const;
type Type = (typeof TYPES)[number]['value'];

const BPS = 100;

export function NewTerms(props: {
  campaigns: readonly Schemas['Campaign'][];
  affiliates: readonly Schemas['Affiliate'][];
  onClose: () => void;
  onMade: () => void;
}) {
  const { program } = useSession();
  const [attempt] = useState(newAttempt);
  const [scope, setScope] = useState({ campaign: '', affiliate: '' });
  const [type, setType] = useState<Type>('percent');
  const [fields, setFields] = useState({
    rate: '10',
    fixed: '0.00',
    levels: '3, 1',
    hold: '30',
    window: '30',
    minimum: '50.00',
    from: '',
  });
  const set = (name: keyof typeof fields) => (value: string) => setFields({ ...fields, [name]: value });
  const { run, busy, error } = useAction(async () => {
    const { currency } = program;
    const body = {
      program_id: program.id,
      ...(scope.campaign !== '' && { campaign_id: scope.campaign }),
      ...(scope.affiliate !== '' && { affiliate_id: scope.affiliate }),
      ...(fields.from !== '' && { from: new Date(fields.from).toISOString() }),
      commission_type: type,
      ...(type !== 'fixed' && { rate_bps: bpsOf(fields.rate) }),
      ...(type !== 'percent' && { fixed: { amount: fields.fixed, currency } }),
      level_rates_bps: fields.levels.split(',').flatMap((text) => (text.trim() === '' ? [] : [bpsOf(text)])),
      hold_days: Number(fields.hold),
      cookie_days: Number(fields.window),
      payout_min: { amount: fields.minimum, currency },
    };
    await take(api.POST('/v1/terms', { params: { header: attempt }, body }));
    props.onMade();
  });
  const faults = fieldProblems(error);
  const everybody: Choice = { value: '', text: 'Every partner' };
  return (
    <Dialog title="New terms" onClose={props.onClose}>
      <Form submit="Set the terms" busy={busy} error={error} onSubmit={() => void run()}>
        <div class="form-row">
          <Select
            label="Campaign"
            value={scope.campaign}
            onChange={(campaign) => setScope({ ...scope, campaign })}
            choices={[
              { value: '', text: 'Every campaign' },
              ...props.campaigns.map(({ id, name }) => ({ value: id, text: name })),
            ]}
          />
          <Select
            label="Partner"
            value={scope.affiliate}
            onChange={(affiliate) => setScope({ ...scope, affiliate })}
            choices={[everybody, ...props.affiliates.map(({ id, name }) => ({ value: id, text: name }))]}
          />
        </div>
        <Select
          label="A credited order pays"
          value={type}
          onChange={(value) => setType(value as Type)}
          choices={TYPES}
        />
        <div class="form-row">
          {type !== 'fixed' && (
            <TextField
              label="Share, %"
              inputMode="decimal"
              value={fields.rate}
              onChange={set('rate')}
              fault={faults.rate_bps}
              required
            />
          )}
          {type !== 'percent' && (
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
            label="Levels 2 and on, %"
            value={fields.levels}
            onChange={set('levels')}
            fault={faults.level_rates_bps}
            hint="For those who recruited the partner."
          />
        </div>
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
            label="Window, days"
            inputMode="numeric"
            value={fields.window}
            onChange={set('window')}
            fault={faults.cookie_days}
            required
          />
          <TextField
            label={`Paid from, ${program.currency}`}
            inputMode="decimal"
            value={fields.minimum}
            onChange={set('minimum')}
            fault={faults['payout_min.amount'] ?? faults.payout_min}
            required
          />
        </div>
        <TextField
          label={`In force from (${ZONE_NAME})`}
          type="datetime-local"
          value={fields.from}
          onChange={set('from')}
          fault={faults.from}
          hint="Empty: from now on. Orders of earlier clicks keep the terms there were."
        />
      </Form>
    </Dialog>
  );
}

/** "2.5" percent as 250 basis points. */
function bpsOf(percent: string): number {
  return Math.round(Number(percent.trim().replace(',', '.')) * BPS);
}
