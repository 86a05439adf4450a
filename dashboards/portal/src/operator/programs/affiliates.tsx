import { useState } from 'preact/hooks';
import { Link } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { useList } from '../../data/use-list.ts';
import { ZONE_NAME } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { rich, t } from '../../text/t.ts';
import { Amount, Button, Card, Empty, Loading, Page, Problem, When } from '../../ui/basics.tsx';
import { Dialog, Form, TextArea, TextField } from '../../ui/forms.tsx';
import { Status } from '../../ui/status.tsx';
import { ListTable } from '../../ui/table.tsx';
import { InvitationLink } from '../partners/invitation-link.tsx';
import { Similar } from '../partners/similar.tsx';
import { AffiliateActs } from './affiliate-acts.tsx';

type Affiliate = Schemas['Affiliate'];

const STATUSES = [
  { value: 'pending', text: t('affiliates.to_approve') },
  { value: 'active', text: t('common.active') },
  { value: 'suspended', text: t('affiliates.suspended') },
  { value: 'terminated', text: t('affiliates.terminated') },
];
const TOOLS = {
  search: t('list.name_or_address'),
  filters: [{ name: 'status', label: t('common.status'), choices: STATUSES }],
  days: true,
  file: '/v1/affiliates.csv',
};

export function AffiliatesPage() {
  const { program, user } = useSession();
  const [shown, setShown] = useState<Affiliate>();
  const [isInviting, setInviting] = useState(false);
  const [link, setLink] = useState<string>();
  const changed = (invitation?: string | null) => {
    setShown(undefined);
    setInviting(false);
    setLink(invitation ?? undefined);
    list.reload();
  };
  const list = useList((query, signal) => api.GET('/v1/affiliates', { params: { query }, signal }), {
    query: { program_id: program.id },
    filters: ['status'],
  });
  const invite = (
    <Button kind="primary" onClick={() => setInviting(true)}>
      {t('affiliates.invite_a_partner')}
    </Button>
  );
  return (
    <Page
      title={t('common.partners')}
      lead={t('affiliates.partners_send_visitors_links_and')}
      actions={user.role === 'operator' && invite}
    >
      <Card>
        <ListTable
          label={t('common.partners')}
          list={list}
          tools={TOOLS}
          rowKey={({ id }) => id}
          empty={
            list.selected.status === 'pending' ? (
              <Empty title={t('affiliates.no_pending_partners')}>
                {t('affiliates.applications_and_partners_imported_as')}
              </Empty>
            ) : (
              <Empty title={t('affiliates.no_partners')}>
                {rich('affiliates.invite_or_import_existing_ones', {
                  invite,
                  link: (text) => <Link to="/imports">{text}</Link>,
                })}
              </Empty>
            )
          }
          columns={[
            {
              title: t('common.partner'),
              head: true,
              sort: 'name',
              cell: ({ name, email }) => (
                <>
                  {name}
                  <span class="sub">{email}</span>
                </>
              ),
            },
            { title: t('common.reference'), cell: ({ ref_code, id }) => <code title={id}>{ref_code}</code> },
            { title: t('common.status'), sort: 'status', cell: ({ status }) => <Status of={status} /> },
            {
              title: t('common.joined_zone', { zone: ZONE_NAME }),
              sort: 'created_at',
              cell: ({ created_at }) => <When at={created_at} />,
            },
            {
              title: t('affiliates.approved_zone', { zone: ZONE_NAME }),
              cell: ({ approved_at }) => <When at={approved_at} />,
            },
            {
              title: '',
              cell: (affiliate) => (
                <div class="actions">
                  <Button
                    onClick={() => setShown(affiliate)}
                    label={
                      affiliate.status === 'pending'
                        ? t('affiliates.decide_named', { name: affiliate.name })
                        : t('common.open_named', { name: affiliate.name })
                    }
                  >
                    {affiliate.status === 'pending' ? t('affiliates.decide') : t('common.open')}
                  </Button>
                </div>
              ),
            },
          ]}
        />
      </Card>
      {shown && <Details affiliate={shown} onClose={() => setShown(undefined)} onChanged={changed} />}
      {isInviting && <Invite onClose={() => setInviting(false)} onMade={changed} />}
      {link !== undefined && <InvitationLink link={link} onClose={() => setLink(undefined)} />}
    </Page>
  );
}

const VERBS = {
  approve: { path: '/v1/affiliates/{id}/approve', text: t('common.approve'), from: ['pending', 'suspended'] },
  suspend: {
    path: '/v1/affiliates/{id}/suspend',
    text: t('affiliates.suspend'),
    from: ['pending', 'active'],
  },
  terminate: {
    path: '/v1/affiliates/{id}/terminate',
    text: t('affiliates.terminate'),
    from: ['pending', 'active', 'suspended'],
  },
} as const;

interface DecidedProps {
  readonly affiliate: Affiliate;
  /** With the link of a new login, where no mail brings it. */
  readonly onChanged: (link?: string | null) => void;
}

function Details(props: DecidedProps & { onClose: () => void }) {
  const { affiliate } = props;
  const { user } = useSession();
  const params = { path: { id: affiliate.id } };
  const { data, error } = useData(
    async (signal) => {
      const [balance, tree, similar, users] = await Promise.all([
        user.role === 'fraud' ? undefined : take(api.GET('/v1/affiliates/{id}/balance', { params, signal })),
        take(api.GET('/v1/affiliates/{id}/tree', { params, signal })),
        take(api.GET('/v1/affiliates/{id}/similar', { params, signal })),
        user.role === 'operator'
          ? take(api.GET('/v1/users', { params: { query: { affiliate_id: affiliate.id } }, signal }))
          : undefined,
      ]);
      return { balance, tree: tree.data, similar: similar.data, users: users?.data };
    },
    [affiliate.id],
  );
  const parent = data?.tree.find(({ id }) => id === affiliate.parent_id);
  const recruits = data?.tree.filter(({ depth }) => depth > 0).length ?? 0;
  return (
    <Dialog title={affiliate.name} onClose={props.onClose}>
      <div class="stack">
        <Problem error={error} />
        {!data && error === undefined && <Loading />}
        {data && (
          <dl class="facts">
            <dt>{t('common.status')}</dt>
            <dd>
              <Status of={affiliate.status} />
            </dd>
            {affiliate.status_note !== null && (
              <>
                <dt>{t('affiliates.note')}</dt>
                <dd class="message">{affiliate.status_note}</dd>
              </>
            )}
            <dt>{t('common.e_mail_address')}</dt>
            <dd>{affiliate.email}</dd>
            {data.users && (
              <>
                <dt>{t('affiliates.login')}</dt>
                <dd>{data.users.map(({ email }) => email).join(', ') || t('common.none_given')}</dd>
              </>
            )}
            <dt>{t('affiliates.id_and_reference')}</dt>
            <dd>
              <code>{affiliate.id}</code>, <code>{affiliate.ref_code}</code>
            </dd>
            <dt>{t('affiliates.recruited_by')}</dt>
            <dd>{parent?.name ?? t('common.none_given')}</dd>
            <dt>{t('common.sub_affiliates')}</dt>
            <dd>{recruits}</dd>
            {data.balance && <BalanceFacts balance={data.balance} />}
          </dl>
        )}
        {data && <Similar affiliates={data.similar} />}
        {data?.users?.length === 0 && affiliate.status === 'active' && (
          <NewLogin affiliate={affiliate} onChanged={props.onChanged} />
        )}
        {user.role === 'operator' && <Decision affiliate={affiliate} onChanged={props.onChanged} />}
        {user.role !== 'fraud' && <AffiliateActs affiliate={affiliate} onChanged={props.onChanged} />}
      </div>
    </Dialog>
  );
}

function BalanceFacts({ balance }: { balance: Schemas['Balance'] }) {
  return (
    <>
      <dt>{t('affiliates.pending_available')}</dt>
      <dd>
        <Amount money={balance.pending} />, <Amount money={balance.available} />
      </dd>
      <dt>{t('affiliates.in_transit_paid')}</dt>
      <dd>
        <Amount money={balance.in_transit} />, <Amount money={balance.paid} />
      </dd>
      <dt>{t('affiliates.debt_adjustments')}</dt>
      <dd>
        <Amount money={balance.debt} />, <Amount money={balance.adjustments} />
      </dd>
    </>
  );
}

/** For a partner that was made without a login: by an import or a call of the API. */
function NewLogin({ affiliate, onChanged }: DecidedProps) {
  const [attempt] = useState(newAttempt);
  const { run, busy, error } = useAction(async () => {
    const { id: affiliate_id, program_id, name, email } = affiliate;
    const body = { role: 'affiliate' as const, affiliate_id, program_id, name, email };
    const made = await take(api.POST('/v1/users', { params: { header: attempt }, body }));
    onChanged(made.invitation_link);
  });
  return (
    <>
      <Problem error={error} />
      <p class="muted">
        {' '}
        {t('affiliates.no_login_yet')}{' '}
        <Button onClick={() => void run()} busy={busy}>
          {' '}
          {t('affiliates.invite_address', { email: affiliate.email })}
        </Button>
      </p>
    </>
  );
}

/** Changes of a partner's status by an operator, each with a note. */
function Decision({ affiliate, onChanged }: DecidedProps) {
  const [note, setNote] = useState('');
  const params = { path: { id: affiliate.id } };
  const act = useAction(async (verb: keyof typeof VERBS) => {
    const body = { note };
    if (verb === 'approve') {
      onChanged((await take(api.POST(VERBS.approve.path, { params, body }))).invitation_link);
    } else {
      await take(api.POST(VERBS[verb].path, { params, body }));
      onChanged();
    }
  });
  const verbs = (Object.keys(VERBS) as (keyof typeof VERBS)[]).filter((verb) =>
    (VERBS[verb].from as readonly string[]).includes(affiliate.status),
  );
  if (verbs.length === 0) return <p class="muted">{t('affiliates.this_partner_is_terminated_a')}</p>;
  return (
    <>
      <TextArea
        label={t('affiliates.note')}
        rows={2}
        value={note}
        onChange={setNote}
        hint={t('affiliates.recorded_in_the_audit_log')}
        required
      />
      <Problem error={act.error} />
      <div class="form-end">
        {verbs.map((verb) => (
          <Button
            key={verb}
            kind={verb === 'approve' ? 'primary' : verb === 'terminate' ? 'danger' : 'plain'}
            busy={act.busy}
            disabled={note.trim() === ''}
            onClick={() => void act.run(verb)}
          >
            {VERBS[verb].text}
          </Button>
        ))}
      </div>
    </>
  );
}

function Invite(props: { onClose: () => void; onMade: (link: string | null) => void }) {
  const { onClose, onMade } = props;
  const { program } = useSession();
  const [attempt] = useState(newAttempt);
  const [fields, setFields] = useState({ name: '', email: '', ref_code: '', parent_id: '' });
  const set = (field: keyof typeof fields) => (value: string) => setFields({ ...fields, [field]: value });
  const { run, busy, error } = useAction(async () => {
    const { parent_id, ...rest } = fields;
    const body = {
      program_id: program.id,
      ...rest,
      ...(parent_id !== '' && { parent_id }),
      status: 'active' as const,
    };
    const made = await take(api.POST('/v1/affiliates/invite', { params: { header: attempt }, body }));
    onMade(made.invitation_link);
  });
  const faults = fieldProblems(error);
  const isOnFields = Object.keys(fields).some((field) => faults[field] !== undefined);
  return (
    <Dialog title={t('affiliates.invite_a_partner')} onClose={onClose}>
      <Form
        submit={t('common.send_the_invitation')}
        busy={busy}
        error={isOnFields ? undefined : error}
        onSubmit={() => void run()}
      >
        <TextField
          label={t('common.name')}
          value={fields.name}
          onChange={set('name')}
          fault={faults.name}
          required
        />
        <TextField
          label={t('common.e_mail_address')}
          type="email"
          value={fields.email}
          onChange={set('email')}
          fault={faults.email}
          hint={t('affiliates.receives_a_link_to_set')}
          required
        />
        <TextField
          label={t('common.reference')}
          value={fields.ref_code}
          onChange={set('ref_code')}
          fault={faults.ref_code}
          hint={t('affiliates.a_short_name_unique_in')}
          required
        />
        <TextField
          label={t('affiliates.recruited_by')}
          value={fields.parent_id}
          onChange={set('parent_id')}
          fault={faults.parent_id}
          placeholder="aff_12"
          hint={t('affiliates.optional_id_of_the_partner')}
        />
      </Form>
    </Dialog>
  );
}
