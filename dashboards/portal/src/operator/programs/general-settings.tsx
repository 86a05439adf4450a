import { useState } from 'preact/hooks';
import { words } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
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
  const { run, busy, error } = useSave(props);
  const body = {
    name,
    status,
    fallback_url: fallback.trim() || null,
    tracking_domain: domain.trim() || null,
    pass_parameters: passed.split(',').flatMap((one) => one.trim() || []),
  };
  const faults = fieldProblems(error);
  const passFault = Object.entries(faults).find(([field]) => field.startsWith('pass_parameters'))?.[1];
  const isShown = faults.name || faults.fallback_url || faults.tracking_domain || passFault;
  return (
    <Card title="General">
      <Form submit="Save" busy={busy} error={isShown ? undefined : error} onSubmit={() => void run(body)}>
        <TextField label="Name" value={name} onChange={setName} fault={faults.name} required />
        <Select
          label="Status"
          value={status}
          onChange={(value) => setStatus(STATUSES.find((one) => one === value) ?? status)}
          choices={STATUSES.map((value) => ({ value, text: words(value) }))}
        />
        <TextField
          label="Fallback page"
          hint="Where links lead that cannot lead on: paused, expired or unknown ones."
          type="url"
          value={fallback}
          onChange={setFallback}
          fault={faults.fallback_url}
        />
        <TextField
          label="Tracking domain"
          hint="Host name of the links of this program; it must lead to the collector."
          placeholder="go.shop.example"
          value={domain}
          onChange={setDomain}
          fault={faults.tracking_domain}
        />
        <TextField
          label="Parameters that links pass on"
          hint="Names with commas between; * alone: all."
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
  const { run, busy, error } = useSave(props);
  const body = { anonymise_ip: anonymise, cookies, honour_opt_out: optOut };
  return (
    <Card title="Privacy" note="Counts for clicks from now on.">
      <Form submit="Save privacy" busy={busy} error={error} onSubmit={() => void run(body)}>
        <Check
          label="Cut visitors’ addresses before they are stored"
          checked={anonymise}
          onChange={setAnonymise}
        />
        <Check label="Set the click cookie" checked={cookies} onChange={setCookies} />
        <Check
          label="Do Not Track and Global Privacy Control: no cookie, a cut address, no fingerprint"
          checked={optOut}
          onChange={setOptOut}
        />
      </Form>
    </Card>
  );
}
