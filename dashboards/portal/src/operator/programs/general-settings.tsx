import { useState } from 'preact/hooks';
import { words } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { t } from '../../text/t.ts';
import { Card } from '../../ui/basics.tsx';
import { Check, Form, Select, TextField } from '../../ui/forms.tsx';
import { type SettingsProps, useSave } from './save-settings.ts';

/** What a program is, where its links live, and what it keeps of visitors. */

const STATUSES = ['active', 'paused', 'ended'] as const;

export function General(props: SettingsProps) {
  const { data } = props;
  const [name, setName] = useState(data.name);
  const [status, setStatus] = useState(data.status);
  const [fallback, setFallback] = useState(data.fallback_url ?? '');
  const [domain, setDomain] = useState(data.tracking_domain ?? '');
  const [passed, setPassed] = useState(data.pass_parameters.join(', '));
  const body = {
    name,
    status,
    fallback_url: fallback.trim() || null,
    tracking_domain: domain.trim() || null,
    pass_parameters: passed.split(',').flatMap((one) => one.trim() || []),
  };
  const { run, busy, error } = useSave(props, body);
  const faults = fieldProblems(error);
  const passFault = Object.entries(faults).find(([field]) => field.startsWith('pass_parameters'))?.[1];
  const isShown = faults.name || faults.fallback_url || faults.tracking_domain || passFault;
  return (
    <Card title={t('generalSettings.general')}>
      <Form
        submit={t('common.save')}
        busy={busy}
        error={isShown ? undefined : error}
        onSubmit={() => void run(body)}
      >
        <TextField label={t('common.name')} value={name} onChange={setName} fault={faults.name} required />
        <Select
          label={t('common.status')}
          value={status}
          onChange={(value) => setStatus(STATUSES.find((one) => one === value) ?? status)}
          choices={STATUSES.map((value) => ({ value, text: words(value) }))}
        />
        <TextField
          label={t('generalSettings.fallback_page')}
          hint={t('generalSettings.where_links_lead_that_cannot')}
          type="url"
          value={fallback}
          onChange={setFallback}
          fault={faults.fallback_url}
        />
        <TextField
          label={t('generalSettings.tracking_domain')}
          hint={t('generalSettings.host_name_of_the_links')}
          placeholder="go.shop.example"
          value={domain}
          onChange={setDomain}
          fault={faults.tracking_domain}
        />
        <TextField
          label={t('generalSettings.parameters_that_links_pass_on')}
          hint={t('generalSettings.names_with_commas_between_alone')}
          value={passed}
          onChange={setPassed}
          fault={passFault}
        />
      </Form>
    </Card>
  );
}

export function Privacy(props: SettingsProps) {
  const { data } = props;
  const [anonymise, setAnonymise] = useState(data.anonymise_ip);
  const [cookies, setCookies] = useState(data.cookies);
  const [optOut, setOptOut] = useState(data.honour_opt_out);
  const body = { anonymise_ip: anonymise, cookies, honour_opt_out: optOut };
  const { run, busy, error } = useSave(props, body);
  return (
    <Card title={t('generalSettings.privacy')} note={t('generalSettings.counts_for_clicks_from_now')}>
      <Form
        submit={t('generalSettings.save_privacy')}
        busy={busy}
        error={error}
        onSubmit={() => void run(body)}
      >
        <Check
          label={t('generalSettings.cut_visitors_addresses_before_they')}
          checked={anonymise}
          onChange={setAnonymise}
        />
        <Check label={t('generalSettings.set_the_click_cookie')} checked={cookies} onChange={setCookies} />
        <Check label={t('generalSettings.do_not_track_and_global')} checked={optOut} onChange={setOptOut} />
      </Form>
    </Card>
  );
}
