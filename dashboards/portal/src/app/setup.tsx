import { useEffect, useState } from 'preact/hooks';
import { api, take } from '../data/api.ts';
import { useAction } from '../data/use-data.ts';
import { bpsOf } from '../text/format.ts';
import { fieldProblems } from '../text/problem-text.ts';
import { t } from '../text/t.ts';
import { Form, TextField } from '../ui/forms.tsx';
import { NumberField } from '../ui/number-field.tsx';
import { href } from './router.tsx';
import { markSignedIn } from './session-mark.ts';
import { Front } from './sign-in.tsx';

/** The token stands behind the `#`, and leaves the address and the history at once. */
function takeToken(): string {
  const token = window.location.hash.slice(1);
  if (token !== '') window.history.replaceState(null, '', window.location.pathname);
  return token;
}

const EMPTY = {
  email: '',
  operator: '',
  password: '',
  program: '',
  currency: 'EUR',
  rate: '10',
  window: '30',
  hold: '30',
  minimum: '0',
  landing: '',
  hosts: '',
  partner: '',
  partnerEmail: '',
};
type Fields = typeof EMPTY;
type FieldProps = {
  readonly fields: Fields;
  readonly set: (name: keyof Fields) => (value: string) => void;
  readonly faults: Readonly<Record<string, string>>;
};

/** The setup of a platform that has no operator yet, for the reader of what `npm start` prints. */
export function Setup() {
  const [linked] = useState(takeToken);
  const [token, setToken] = useState(linked);
  const [fields, setFields] = useState(EMPTY);
  const set = (name: keyof Fields) => (value: string) =>
    setFields((before) => ({ ...before, [name]: value }));
  const { run, busy, error } = useAction(async () => {
    await take(api.POST('/v1/setup', { body: bodyOf(token, fields) }));
    await take(api.POST('/v1/session', { body: { email: fields.email, password: fields.password } }));
    markSignedIn();
    // From the start again: with a session, and without what this page knew.
    window.location.replace(href('/'));
  });
  const faults = fieldProblems(error);
  const isShown = Object.keys(faults).some((name) => SHOWN_FAULTS.has(name));
  useEffect(() => {
    document.querySelector<HTMLElement>('.at-fault input')?.focus();
  }, [error]);
  return (
    <Front title={t('setup.set_up_your_platform')} wide>
      <p>{t('setup.everything_can_be_changed_later')}</p>
      <Form
        submit={t('setup.set_up')}
        busy={busy}
        error={isShown ? undefined : error}
        onSubmit={() => void run()}
      >
        {(linked === '' || faults.token) && (
          <TextField
            label={t('setup.one_time_token')}
            hint={t('setup.behind_the_of_the_link')}
            value={token}
            onChange={(text) => setToken(text.trim().replace(/^.*#/, ''))}
            fault={faults.token}
            required
          />
        )}
        <OperatorFields fields={fields} set={set} faults={faults} />
        <ProgramFields fields={fields} set={set} faults={faults} />
        <FirstPartnerFields fields={fields} set={set} faults={faults} />
      </Form>
    </Front>
  );
}

function OperatorFields({ fields, set, faults }: FieldProps) {
  return (
    <fieldset class="stack">
      <legend>{t('setup.you_the_operator')}</legend>
      <TextField
        label={t('setup.your_name')}
        value={fields.operator}
        onChange={set('operator')}
        autocomplete="name"
        fault={faults['operator.name']}
        required
      />
      <TextField
        label={t('setup.your_e_mail_address')}
        type="email"
        value={fields.email}
        onChange={set('email')}
        autocomplete="username"
        fault={faults['operator.email']}
        required
      />
      <TextField
        label={t('setup.your_password')}
        type="password"
        hint={t('setup.at_least_10_characters')}
        value={fields.password}
        onChange={set('password')}
        autocomplete="new-password"
        fault={faults['operator.password']}
        required
      />
    </fieldset>
  );
}

function ProgramFields({ fields, set, faults }: FieldProps) {
  return (
    <fieldset class="stack">
      <legend>{t('setup.your_program')}</legend>
      <TextField
        label={t('common.name_of_the_shop')}
        value={fields.program}
        onChange={set('program')}
        fault={faults['program.name']}
        required
      />
      <div class="form-row">
        <TextField
          label={t('common.currency')}
          value={fields.currency}
          onChange={set('currency')}
          max={3}
          fault={faults['program.currency']}
          required
        />
        <NumberField
          label={t('setup.commission')}
          value={fields.rate}
          onChange={set('rate')}
          fault={faults['terms.rate_bps']}
          required
        />
        <NumberField
          label={t('setup.click_window_days')}
          hint={t('setup.from_the_click_to_the')}
          whole
          value={fields.window}
          onChange={set('window')}
          fault={faults['terms.cookie_days']}
          required
        />
        <NumberField
          label={t('common.hold_days')}
          hint={t('setup.for_refunds_before_it_is')}
          whole
          value={fields.hold}
          onChange={set('hold')}
          fault={faults['terms.hold_days']}
          required
        />
        <NumberField
          label={t('setup.minimum_payout')}
          currency={fields.currency}
          value={fields.minimum}
          onChange={set('minimum')}
          fault={faults['terms.payout_min']}
          required
        />
      </div>
    </fieldset>
  );
}

function FirstPartnerFields({ fields, set, faults }: FieldProps) {
  return (
    <fieldset class="stack">
      <legend>{t('setup.your_first_campaign_and_partner')}</legend>
      <p class="hint">{t('setup.leave_empty_what_you_do')}</p>
      <TextField
        label={t('setup.page_of_the_shop_that')}
        type="url"
        placeholder="https://shop.example/"
        value={fields.landing}
        onChange={set('landing')}
        fault={faults['campaign.landing_url']}
      />
      <TextField
        label={t('setup.further_hosts_that_links_may')}
        placeholder="*.shop.example, blog.example"
        value={fields.hosts}
        onChange={set('hosts')}
        fault={hostFault(faults)}
      />
      <div class="form-row">
        <TextField
          label={t('setup.name_of_the_partner')}
          value={fields.partner}
          onChange={set('partner')}
          fault={faults['affiliate.name']}
        />
        <TextField
          label={t('setup.e_mail_address_of_the')}
          type="email"
          value={fields.partnerEmail}
          onChange={set('partnerEmail')}
          fault={faults['affiliate.email']}
        />
      </div>
    </fieldset>
  );
}

/** Of the list, the first fault. */
function hostFault(faults: FieldProps['faults']): string | undefined {
  const name = Object.keys(faults).find((field) => field.startsWith('campaign.allowed_hosts'));
  return name === undefined ? undefined : faults[name];
}

const SHOWN_FAULTS = new Set([
  'token',
  'operator.name',
  'operator.email',
  'operator.password',
  'program.name',
  'program.currency',
  'terms.rate_bps',
  'terms.cookie_days',
  'terms.hold_days',
  'terms.payout_min',
  'campaign.landing_url',
  'affiliate.name',
  'affiliate.email',
]);

const CAMPAIGN_NAME = t('setup.everything');

function bodyOf(token: string, fields: Fields) {
  const hosts = fields.hosts.split(',').map((host) => host.trim());
  const hasPartner = fields.partner !== '' || fields.partnerEmail !== '';
  return {
    token,
    operator: { email: fields.email, name: fields.operator, password: fields.password },
    program: { name: fields.program, currency: fields.currency },
    terms: {
      rate_bps: bpsOf(fields.rate),
      cookie_days: Number(fields.window),
      hold_days: Number(fields.hold),
      payout_min: fields.minimum,
    },
    ...(fields.landing !== '' && {
      campaign: {
        name: CAMPAIGN_NAME,
        landing_url: fields.landing,
        allowed_hosts: hosts.filter((host) => host !== ''),
      },
    }),
    ...(hasPartner && { affiliate: { name: fields.partner, email: fields.partnerEmail } }),
  };
}
