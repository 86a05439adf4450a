import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { useList } from '../../data/use-list.ts';
import { useNames } from '../../data/use-names.ts';
import { words, ZONE_NAME } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { t } from '../../text/t.ts';
import { Button, Card, Empty, Page, Problem, When } from '../../ui/basics.tsx';
import { Dialog, Form, Select, TextField } from '../../ui/forms.tsx';
import { Status } from '../../ui/status.tsx';
import { ListTable } from '../../ui/table.tsx';
import { InvitationLink } from '../partners/invitation-link.tsx';

type User = Schemas['User'];

const ROLES = ['operator', 'finance', 'fraud', 'advertiser'] as const;

const TOOLS = {
  search: t('list.name_or_address'),
  filters: [
    {
      name: 'role',
      label: t('common.role'),
      choices: [...ROLES, 'affiliate'].map((value) => ({ value, text: words(value) })),
    },
    {
      name: 'status',
      label: t('common.status'),
      choices: ['active', 'disabled'].map((value) => ({ value, text: words(value) })),
    },
  ],
  days: true,
  file: '/v1/users.csv',
};

/** Users of the portal. */
export function UsersPage() {
  const { programs } = useSession();
  const partners = useNames();
  const [isInviting, setInviting] = useState(false);
  const [link, setLink] = useState<string>();
  const list = useList((query, signal) => api.GET('/v1/users', { params: { query }, signal }), {
    filters: ['role', 'status'],
  });
  const nameOf = (id: string | null) =>
    id === null ? undefined : (programs.find((program) => program.id === id)?.name ?? partners.get(id) ?? id);
  return (
    <Page
      title={t('common.users')}
      lead={t('users.users_of_the_portal_your')}
      actions={
        <Button kind="primary" onClick={() => setInviting(true)}>
          {t('users.invite_a_user')}
        </Button>
      }
    >
      <Card>
        <ListTable
          label={t('common.users')}
          list={list}
          tools={TOOLS}
          rowKey={({ id }) => id}
          empty={
            <Empty title={t('users.no_other_users')}>{t('users.invited_colleagues_receive_a_mail')}</Empty>
          }
          columns={[
            {
              title: t('common.name'),
              head: true,
              sort: 'name',
              cell: ({ name, email }) => (
                <>
                  {name}
                  <span class="sub">{email}</span>
                </>
              ),
            },
            { title: t('common.role'), sort: 'role', cell: ({ role }) => words(role) },
            {
              title: t('common.for'),
              cell: ({ affiliate_id, program_id }) =>
                nameOf(affiliate_id ?? program_id) ?? t('common.all_programs'),
            },
            {
              title: t('common.status'),
              sort: 'status',
              cell: ({ status, invited }) => (
                <Status
                  of={invited ? 'pending' : status}
                  text={invited ? t('users.invited') : words(status)}
                />
              ),
            },
            {
              title: t('users.last_sign_in_zone', { zone: ZONE_NAME }),
              cell: ({ last_login_at }) => <When at={last_login_at} none={t('common.never')} />,
            },
            { title: '', cell: (user) => <Controls user={user} onChanged={list.reload} onLink={setLink} /> },
          ]}
        />
      </Card>
      <RequirementCard />
      {isInviting && (
        <Invite
          onClose={() => setInviting(false)}
          onMade={(invitation) => {
            setLink(invitation ?? undefined);
            setInviting(false);
            list.reload();
          }}
        />
      )}
      {link !== undefined && <InvitationLink link={link} onClose={() => setLink(undefined)} />}
    </Page>
  );
}

/** Whether operators and finance of the program must have a second factor. */
function RequirementCard() {
  const { program, reload } = useSession();
  const { require_second_factor: isRequired } = program;
  const { run, busy, error } = useAction(async () => {
    const body = { require_second_factor: !isRequired };
    await take(api.PATCH('/v1/programs/{id}', { params: { path: { id: program.id } }, body }));
    reload();
  });
  return (
    <Card
      title={t('common.second_factor')}
      note={
        isRequired
          ? t('users.operators_and_finance_of_program', { program: program.name })
          : t('users.operators_and_finance_of_program_may', { program: program.name })
      }
      actions={
        <Button onClick={() => void run()} busy={busy}>
          {isRequired ? t('users.no_longer_require_it') : t('users.require_a_second_factor')}
        </Button>
      }
    >
      <p class="hint">{t('users.users_without_one_set_it')}</p>
      <Problem error={error} />
    </Card>
  );
}

function Controls(props: { user: User; onChanged: () => void; onLink: (link: string) => void }) {
  const { user, onChanged, onLink } = props;
  const { user: me } = useSession();
  const path = { id: user.id };
  const toggle = useAction(async () => {
    const status = user.status === 'active' ? ('disabled' as const) : ('active' as const);
    await take(api.PATCH('/v1/users/{id}', { params: { path }, body: { status } }));
    onChanged();
  });
  const invite = useAction(async () => {
    const { invitation_link: link } = await take(api.POST('/v1/users/{id}/invite', { params: { path } }));
    if (link !== null) onLink(link);
  });
  return (
    <>
      <div class="actions">
        {user.invited && (
          <Button onClick={() => void invite.run()} busy={invite.busy}>
            {t('common.send_again')}
          </Button>
        )}
        {user.id !== me.id && (
          <Button
            onClick={() => void toggle.run()}
            busy={toggle.busy}
            label={
              user.status === 'active'
                ? t('users.disable_named', { name: user.name })
                : t('users.enable_named', { name: user.name })
            }
          >
            {user.status === 'active' ? t('common.disable') : t('common.enable')}
          </Button>
        )}
      </div>
      <Problem error={toggle.error ?? invite.error} />
    </>
  );
}

function Invite(props: { onClose: () => void; onMade: (link: string | null) => void }) {
  const { onClose, onMade } = props;
  const { program, user } = useSession();
  const [attempt] = useState(newAttempt);
  const [name, setName] = useState('');
  const [email, setEmail] = useState('');
  const [role, setRole] = useState<(typeof ROLES)[number]>('operator');
  // The developer of a shop is of one program.
  const mayBeOfAll = user.program_id === null && role !== 'advertiser';
  const [scope, setScope] = useState(program.id);
  const { run, busy, error } = useAction(async () => {
    const body = {
      name,
      email,
      role,
      ...((scope !== '' || !mayBeOfAll) && { program_id: scope || program.id }),
    };
    const made = await take(api.POST('/v1/users', { params: { header: attempt }, body }));
    onMade(made.invitation_link);
  });
  const faults = fieldProblems(error);
  const isOnFields = faults.name !== undefined || faults.email !== undefined;
  return (
    <Dialog title={t('users.invite_a_user')} onClose={onClose}>
      <Form
        submit={t('common.send_the_invitation')}
        busy={busy}
        error={isOnFields ? undefined : error}
        onSubmit={() => void run()}
      >
        <TextField label={t('common.name')} value={name} onChange={setName} fault={faults.name} required />
        <TextField
          label={t('common.e_mail_address')}
          type="email"
          value={email}
          onChange={setEmail}
          fault={faults.email}
          required
        />
        <div class="form-row">
          <Select
            label={t('common.role')}
            value={role}
            onChange={(value) => setRole(value as typeof role)}
            choices={ROLES.map((value) => ({ value, text: words(value) }))}
          />
          <Select
            label={t('common.for')}
            value={mayBeOfAll ? scope : program.id}
            onChange={setScope}
            choices={[
              ...(mayBeOfAll ? [{ value: '', text: t('users.all_programs') }] : []),
              { value: program.id, text: program.name },
            ]}
          />
        </div>
      </Form>
    </Dialog>
  );
}
