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
import { rich, t } from '../text/t.ts';
import { Button, Card, Loading, Page, Problem, When } from '../ui/basics.tsx';
import { Form, Segments, TextField } from '../ui/forms.tsx';
import { BlockedNotice } from '../ui/money/payout-items.tsx';
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
    <Page title={t('profile.profile')} lead={t('profile.your_contact_details_payout_method')}>
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
    <Card title={t('common.you')}>
      <Form
        submit={t('common.save')}
        busy={busy}
        error={isOnFields ? undefined : error}
        onSubmit={() => void run()}
      >
        <TextField
          label={t('common.name')}
          value={name}
          onChange={setName}
          fault={faults.name}
          autocomplete="name"
          required
        />
        <TextField
          label={t('common.e_mail_address')}
          type="email"
          value={email}
          onChange={setEmail}
          fault={faults.email}
          hint={t('profile.receives_mails_about_your_account')}
          autocomplete="email"
          required
        />
      </Form>
    </Card>
  );
}

const KINDS = [
  { value: 'bank', text: t('profile.bank') },
  { value: 'paypal', text: t('profile.paypal') },
  { value: 'stripe', text: t('common.stripe') },
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
      title={t('profile.payout_method')}
      note={
        data.kind === null
          ? t('profile.none_set_your_balance_stays')
          : rich('profile.now_kind_hint_set_updatedat', {
              kind: words(data.kind),
              hint: data.hint,
              updatedAt: <When at={data.updated_at} />,
            })
      }
    >
      <div class="stack">
        <BlockedNotice method={data} />
        <Form
          submit={data.kind === null ? t('profile.set') : t('common.replace')}
          busy={busy}
          error={isOnFields ? undefined : error}
          onSubmit={() => void run()}
        >
          <Segments
            label={t('common.kind')}
            value={kind}
            onChange={(value) => setKind(value as Kind)}
            choices={KINDS}
          />
          {kind === 'bank' && (
            <>
              <TextField
                label={t('profile.account_holder')}
                value={fields.holder}
                onChange={set('holder')}
                fault={faults.holder}
                required
              />
              <TextField
                label={t('profile.iban')}
                value={fields.iban}
                onChange={set('iban')}
                fault={faults.iban}
                required
              />
            </>
          )}
          {kind === 'paypal' && (
            <TextField
              label={t('profile.paypal_address')}
              type="email"
              value={fields.email}
              onChange={set('email')}
              fault={faults.email}
              required
            />
          )}
          {kind === 'stripe' && (
            <TextField
              label={t('profile.stripe_account')}
              value={fields.account}
              onChange={set('account')}
              fault={faults.account}
              hint={t('profile.id_of_your_connected_account')}
              required
            />
          )}
        </Form>
        {data.kind !== null && (
          <>
            <Problem error={removal.error} />
            <div class="form-end">
              <Button kind="quiet" busy={removal.busy} onClick={() => void removal.run()}>
                {t('profile.remove_the_payout_method')}
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
      title={t('profile.tax_data')}
      note={
        data.required && data.tax_data === null
          ? t('profile.the_program_pays_no_partner')
          : t('profile.they_stand_on_the_statements')
      }
    >
      <Form
        submit={t('common.save_tax_data')}
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
    <Card title={t('common.program')}>
      <dl class="facts">
        <dt>{t('common.name')}</dt>
        <dd>{t('profile.program_in_currency', { program: program.name, currency: program.currency })}</dd>
        <dt>{t('profile.your_id')}</dt>
        <dd>
          <code>{affiliate.id}</code>
        </dd>
        <dt>{t('common.reference')}</dt>
        <dd>
          <code>{affiliate.ref_code}</code>
        </dd>
        <dt>{t('common.status')}</dt>
        <dd>
          <Status of={affiliate.status} />
        </dd>
        <dt>{t('profile.since')}</dt>
        <dd>
          <When at={affiliate.approved_at ?? affiliate.created_at} />
        </dd>
      </dl>
    </Card>
  );
}
