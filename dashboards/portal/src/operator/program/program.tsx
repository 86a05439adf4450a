import { useState } from 'preact/hooks';
import { navigate } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take, takeVersion } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { words } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { Button, Card, Loading, Page, Problem } from '../../ui/basics.tsx';
import { Check, Dialog, Form, Select, TextField } from '../../ui/forms.tsx';
import { FraudRules } from './fraud-rules.tsx';
import { LinkTemplates } from './link-templates.tsx';
import { NewProgram } from './new-program.tsx';
import { SetupList } from './setup-list.tsx';

/** A form over a part of the program; `etag`: of the version that it shows. */
export interface ProgramFormProps {
  readonly data: Schemas['Program'];
  readonly etag: string;
  readonly onSaved: () => void;
}

/** The settings of the program that have no page of their own. */
export function ProgramPage() {
  const { program, user, reload: reloadSession, chooseProgram } = useSession();
  const [isCreating, setCreating] = useState(false);
  const params = { path: { id: program.id } };
  const { data, error, reload } = useData(
    async (signal) => {
      const [version, setup] = await Promise.all([
        takeVersion(api.GET('/v1/programs/{id}', { params, signal })),
        take(api.GET('/v1/programs/{id}/setup', { params, signal })),
      ]);
      return { version, setup };
    },
    [program.id],
  );
  const onSaved = () => {
    reload();
    reloadSession();
  };
  return (
    <Page
      title="Program settings"
      lead={`${program.name}, ${program.currency}, ${program.id}`}
      actions={user.program_id === null && <Button onClick={() => setCreating(true)}>New program</Button>}
    >
      <Problem error={error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && (
        <>
          <SetupList setup={data.setup} />
          <div class="grid" key={data.version.etag}>
            <General {...data.version} onSaved={onSaved} />
            <Privacy {...data.version} onSaved={onSaved} />
          </div>
          <FraudRules key={data.version.etag} {...data.version} onSaved={onSaved} />
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

const STATUSES = ['active', 'paused', 'ended'] as const;

function General({ data, etag, onSaved }: ProgramFormProps) {
  const [name, setName] = useState(data.name);
  const [status, setStatus] = useState(data.status);
  const [fallback, setFallback] = useState(data.fallback_url ?? '');
  const [domain, setDomain] = useState(data.tracking_domain ?? '');
  const [passed, setPassed] = useState(data.pass_parameters.join(', '));
  const { run, busy, error } = useAction(async () => {
    const body = {
      name,
      status,
      fallback_url: fallback.trim() || null,
      tracking_domain: domain.trim() || null,
      pass_parameters: passed.split(',').flatMap((one) => one.trim() || []),
    };
    const params = { path: { id: data.id }, header: { 'if-match': etag } };
    await take(api.PATCH('/v1/programs/{id}', { params, body }));
    onSaved();
  });
  const faults = fieldProblems(error);
  const passFault = Object.entries(faults).find(([field]) => field.startsWith('pass_parameters'))?.[1];
  const isShown = faults.name || faults.fallback_url || faults.tracking_domain || passFault;
  return (
    <Card title="General">
      <Form submit="Save" busy={busy} error={isShown ? undefined : error} onSubmit={() => void run()}>
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

function Privacy({ data, etag, onSaved }: ProgramFormProps) {
  const [anonymise, setAnonymise] = useState(data.anonymise_ip);
  const [cookies, setCookies] = useState(data.cookies);
  const [optOut, setOptOut] = useState(data.honour_opt_out);
  const { run, busy, error } = useAction(async () => {
    const body = { anonymise_ip: anonymise, cookies, honour_opt_out: optOut };
    const params = { path: { id: data.id }, header: { 'if-match': etag } };
    await take(api.PATCH('/v1/programs/{id}', { params, body }));
    onSaved();
  });
  return (
    <Card title="Privacy" note="Counts for clicks from now on.">
      <Form submit="Save privacy" busy={busy} error={error} onSubmit={() => void run()}>
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
