import { useEffect, useRef, useState } from 'preact/hooks';
import { Link, navigate } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take, takeVersion } from '../../data/api.ts';
import { useData } from '../../data/use-data.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { rich, t } from '../../text/t.ts';
import { Button, Card, Loading, Page, Problem } from '../../ui/basics.tsx';
import { Dialog, Form, Select, TextField } from '../../ui/forms.tsx';
import { NewProgram } from '../setup/new-program.tsx';
import { SetupList } from '../setup/setup-list.tsx';
import { General, Privacy } from './general-settings.tsx';
import { LinkTemplates } from './link-templates.tsx';
import { type SettingsProps, useSave } from './save-settings.ts';

type Program = Schemas['Program'];

const BASES = {
  order_amount: t('settings.all_that_was_paid'),
  net_of_tax: t('settings.what_was_paid_without_tax'),
  net_of_tax_and_shipping: t('settings.what_was_paid_without_tax_and'),
} as const satisfies Record<Program['commission_base'], string>;
const EVIDENCE = {
  coupon_wins: t('settings.the_coupon_code'),
  click_wins: t('settings.the_click_or_the_customers'),
} as const satisfies Record<NonNullable<Program['coupon_evidence']>, string>;
const MATCHES = {
  off: t('settings.nothing'),
  review: t('settings.a_review'),
  credit: t('settings.the_commission'),
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
  const version = useRef('');
  useEffect(() => {
    if (data) version.current = data.etag;
  }, [data]);
  /** Of each card the version that it was opened with: a card that is saved is opened again, the others are not. */
  const versions = useRef<Record<string, string>>({});
  const saved = useRef<{ card: string; etag: string }>(undefined);
  if (data && saved.current && saved.current.etag !== data.etag) {
    versions.current[saved.current.card] = data.etag;
    saved.current = undefined;
  }
  const keyOf = (card: string) => `${card} ${versions.current[card] ?? ''}`;
  const save = (card: string) => () => {
    saved.current = { card, etag: data?.etag ?? '' };
    reload();
    reloadSession();
  };
  return (
    <Page
      title={t('common.program_settings')}
      lead={t('settings.rates_are_in_the_terms')}
      actions={
        user.program_id === null && (
          <Button onClick={() => setCreating(true)}>{t('settings.new_program')}</Button>
        )
      }
    >
      <Problem error={error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && (
        <>
          <SetupList setup={data.setup} />
          <div class="grid">
            <General key={keyOf('general')} data={data.data} version={version} onSaved={save('general')} />
            <Privacy key={keyOf('privacy')} data={data.data} version={version} onSaved={save('privacy')} />
            <Card title={t('common.orders')} note={t('settings.counts_for_orders_that_are')}>
              <OrderSettings
                key={keyOf('orders')}
                data={data.data}
                version={version}
                onSaved={save('orders')}
              />
            </Card>
          </div>
          <Card title={t('common.fraud_rules')}>
            <p>
              {rich('settings.thresholds_have_a_page', {
                link: (text) => <Link to="/fraud-rules">{text}</Link>,
              })}
            </p>
          </Card>
          <LinkTemplates />
        </>
      )}
      {isCreating && (
        <Dialog title={t('settings.new_program')} onClose={() => setCreating(false)}>
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
  const events = fields.events.split(/[\s,;]+/).filter((name) => name !== '');
  const body = { ...fields, events } as Partial<Program>;
  const { run, busy, error } = useSave(props, body);
  const faults = fieldProblems(error);
  const isOnFields = Object.keys(faults).some((name) => name.split('.')[0] === 'events');
  return (
    <Form
      submit={t('common.save')}
      busy={busy}
      error={isOnFields ? undefined : error}
      onSubmit={() => void run(body)}
    >
      <TextField
        label={t('common.events')}
        value={fields.events}
        onChange={set('events')}
        fault={Object.entries(faults).find(([name]) => name.split('.')[0] === 'events')?.[1]}
        hint={t('settings.what_orders_are_of_such')}
        required
      />
      <Select
        label={t('settings.earns_commissions')}
        value={fields.commission_base}
        onChange={set('commission_base')}
        choices={choicesOf(BASES)}
        hint={t('settings.of_orders_that_are_reported')}
      />
      <Select
        label={t('settings.of_a_click_and_a')}
        value={fields.coupon_evidence}
        onChange={set('coupon_evidence')}
        choices={choicesOf(EVIDENCE)}
        hint={t('settings.both_stay_in_the_evidence')}
      />
      <Select
        label={t('settings.an_order_without_a_click')}
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
