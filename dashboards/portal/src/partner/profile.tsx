import { useState } from 'preact/hooks';
import { PasswordCard } from '../account/password.tsx';
import { SecondFactorCard } from '../account/second-factor.tsx';
import { SessionsCard } from '../account/sessions.tsx';
import { TaxFields, useTaxFields } from '../account/tax-data.tsx';
import { usePartner } from '../app/session.tsx';
import { api, type Schemas, take, takeVersion } from '../data/api.ts';
import { useAction, useData } from '../data/use-data.ts';
import { words } from '../text/format.ts';
import { fieldProblems } from '../text/problem-text.ts';
import { Button, Card, Loading, Page, Problem, When } from '../ui/basics.tsx';
import { Form, Segments, TextField } from '../ui/forms.tsx';
import { BlockedNotice } from '../ui/payout-items.tsx';
import { Status } from '../ui/status.tsx';

export function ProfilePage() {
  const { affiliateId } = usePartner();
  const { data, error, reload } = useData(
    async (signal) => {
      const path = { params: { path: { id: affiliateId } }, signal };
      const [profile, method, tax] = await Promise.all([
        takeVersion(api.GET('/v1/affiliates/{id}', path)),
        takeVersion(api.GET('/v1/affiliates/{id}/payout-method', path)),
        takeVersion(api.GET('/v1/affiliates/{id}/tax-data', path)),
      ]);
      return { profile, method, tax };
    },
    [affiliateId],
  );
  return (
    <Page title="Profile" lead="Your contact details, payout method and tax data.">
      <Problem error={error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && (
        <div class="grid">
          <ProfileCard key={data.profile.etag} {...data.profile} onSaved={reload} />
          <MethodCard key={data.method.etag} {...data.method} onSaved={reload} />
          <TaxCard key={data.tax.etag} {...data.tax} onSaved={reload} />
          <PasswordCard />
          <SecondFactorCard />
          <FactsCard affiliate={data.profile.data} />
        </div>
      )}
      <SessionsCard />
    </Page>
  );
}

function ProfileCard(props: { data: Schemas['Affiliate']; etag: string; onSaved: () => void }) {
  const { data, etag, onSaved } = props;
  const [name, setName] = useState(data.name);
  const [email, setEmail] = useState(data.email);
  const { run, busy, error } = useAction(async () => {
    const params = { path: { id: data.id }, header: { 'if-match': etag } };
    await take(api.PATCH('/v1/affiliates/{id}/profile', { params, body: { name, email } }));
    onSaved();
  });
  const faults = fieldProblems(error);
  const isOnFields = faults.name !== undefined || faults.email !== undefined;
  return (
    <Card title="You">
      <Form submit="Save" busy={busy} error={isOnFields ? undefined : error} onSubmit={() => void run()}>
        <TextField
          label="Name"
          value={name}
          onChange={setName}
          fault={faults.name}
          autocomplete="name"
          required
        />
        <TextField
          label="E-mail address"
          type="email"
          value={email}
          onChange={setEmail}
          fault={faults.email}
          hint="Receives mails about your account and changes of your payout method. You sign in with the address of your user."
          autocomplete="email"
          required
        />
      </Form>
    </Card>
  );
}

const KINDS = [
  { value: 'bank', text: 'Bank' },
  { value: 'paypal', text: 'PayPal' },
  { value: 'stripe', text: 'Stripe' },
] as const;
type Kind = (typeof KINDS)[number]['value'];

function MethodCard(props: { data: Schemas['PayoutMethod']; etag: string; onSaved: () => void }) {
  const { data, etag, onSaved } = props;
  const [kind, setKind] = useState<Kind>(data.kind ?? 'bank');
  const [fields, setFields] = useState({ holder: '', iban: '', email: '', account: '' });
  const set = (name: keyof typeof fields) => (value: string) => setFields({ ...fields, [name]: value });
  const { run, busy, error } = useAction(async () => {
    const { holder, iban, email, account } = fields;
    const body =
      kind === 'bank' ? { kind, holder, iban } : kind === 'paypal' ? { kind, email } : { kind, account };
    const params = { path: { id: data.affiliate_id }, header: { 'if-match': etag } };
    await take(api.PUT('/v1/affiliates/{id}/payout-method', { params, body }));
    onSaved();
  });
  const removal = useAction(async () => {
    await take(
      api.DELETE('/v1/affiliates/{id}/payout-method', { params: { path: { id: data.affiliate_id } } }),
    );
    onSaved();
  });
  const faults = fieldProblems(error);
  const isOnFields = Object.keys(fields).some((name) => faults[name] !== undefined);
  return (
    <Card
      title="Payout method"
      note={
        data.kind === null ? (
          'None set. Your balance stays available until you set one.'
        ) : (
          <>
            Now: {words(data.kind)} {data.hint}, set <When at={data.updated_at} />. Stored encrypted. A new
            one receives payouts after some days only; you and the program hear of the change by mail.
          </>
        )
      }
    >
      <div class="stack">
        <BlockedNotice method={data} />
        <Form
          submit={data.kind === null ? 'Set' : 'Replace'}
          busy={busy}
          error={isOnFields ? undefined : error}
          onSubmit={() => void run()}
        >
          <Segments label="Kind" value={kind} onChange={(value) => setKind(value as Kind)} choices={KINDS} />
          {kind === 'bank' && (
            <>
              <TextField
                label="Account holder"
                value={fields.holder}
                onChange={set('holder')}
                fault={faults.holder}
                required
              />
              <TextField
                label="IBAN"
                value={fields.iban}
                onChange={set('iban')}
                fault={faults.iban}
                required
              />
            </>
          )}
          {kind === 'paypal' && (
            <TextField
              label="PayPal address"
              type="email"
              value={fields.email}
              onChange={set('email')}
              fault={faults.email}
              required
            />
          )}
          {kind === 'stripe' && (
            <TextField
              label="Stripe account"
              value={fields.account}
              onChange={set('account')}
              fault={faults.account}
              hint="ID of your connected account, such as acct_1A2b."
              required
            />
          )}
        </Form>
        {data.kind !== null && (
          <>
            <Problem error={removal.error} />
            <div class="form-end">
              <Button kind="quiet" busy={removal.busy} onClick={() => void removal.run()}>
                Remove the payout method
              </Button>
            </div>
          </>
        )}
      </div>
    </Card>
  );
}

function TaxCard(props: { data: Schemas['AffiliateTaxData']; etag: string; onSaved: () => void }) {
  const { data, etag, onSaved } = props;
  const { fields, set, body } = useTaxFields(data.tax_data);
  const { run, busy, error } = useAction(async () => {
    const params = { path: { id: data.affiliate_id }, header: { 'if-match': etag } };
    await take(api.PUT('/v1/affiliates/{id}/tax-data', { params, body }));
    onSaved();
  });
  const faults = fieldProblems(error);
  return (
    <Card
      title="Tax data"
      note={
        data.required && data.tax_data === null
          ? 'The program pays no partner without them.'
          : 'They stand on the statements that are made from now on.'
      }
    >
      <Form
        submit="Save tax data"
        busy={busy}
        error={Object.keys(faults).length > 0 ? undefined : error}
        onSubmit={() => void run()}
      >
        <TaxFields fields={fields} set={set} faults={faults} withForm />
      </Form>
    </Card>
  );
}

function FactsCard({ affiliate }: { affiliate: Schemas['Affiliate'] }) {
  const { program } = usePartner();
  return (
    <Card title="Program">
      <dl class="facts">
        <dt>Name</dt>
        <dd>
          {program.name}, in {program.currency}
        </dd>
        <dt>Your ID</dt>
        <dd>
          <code>{affiliate.id}</code>
        </dd>
        <dt>Reference</dt>
        <dd>
          <code>{affiliate.ref_code}</code>
        </dd>
        <dt>Status</dt>
        <dd>
          <Status of={affiliate.status} />
        </dd>
        <dt>Since</dt>
        <dd>
          <When at={affiliate.approved_at ?? affiliate.created_at} />
        </dd>
      </dl>
    </Card>
  );
}
