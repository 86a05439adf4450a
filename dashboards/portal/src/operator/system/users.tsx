import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction } from '../../data/use-data.ts';
import { usePages } from '../../data/use-pages.ts';
import { words, ZONE_NAME } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { Button, Card, Empty, Page, Problem, When } from '../../ui/basics.tsx';
import { Dialog, Form, Select, TextField } from '../../ui/forms.tsx';
import { InvitationLink } from '../../ui/invitation-link.tsx';
import { Status } from '../../ui/status.tsx';
import { ListTable } from '../../ui/table.tsx';

type User = Schemas['User'];

const ROLES = ['operator', 'finance', 'fraud', 'advertiser'] as const;

/** Users of the portal. */
export function UsersPage() {
  const [isInviting, setInviting] = useState(false);
  const [link, setLink] = useState<string>();
  const list = usePages(
    (cursor, signal) => api.GET('/v1/users', { params: { query: { cursor } }, signal }),
    [],
  );
  return (
    <Page
      title="Users"
      lead="Users of the portal: your colleagues and the partners."
      actions={
        <Button kind="primary" onClick={() => setInviting(true)}>
          Invite a user
        </Button>
      }
    >
      <Card>
        <ListTable
          label="Users"
          list={list}
          rowKey={({ id }) => id}
          empty={<Empty title="No other users">Invited colleagues receive a mail with a link.</Empty>}
          columns={[
            {
              title: 'Name',
              head: true,
              cell: ({ name, email }) => (
                <>
                  {name}
                  <span class="sub">{email}</span>
                </>
              ),
            },
            { title: 'Role', cell: ({ role }) => words(role) },
            {
              title: 'For',
              cell: ({ affiliate_id, program_id }) => affiliate_id ?? program_id ?? 'all programs',
            },
            {
              title: 'Status',
              cell: ({ status, invited }) => (
                <Status of={invited ? 'pending' : status} text={invited ? 'Invited' : words(status)} />
              ),
            },
            {
              title: `Last sign-in (${ZONE_NAME})`,
              cell: ({ last_login_at }) => <When at={last_login_at} none="never" />,
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
      title="Second factor"
      note={
        isRequired
          ? `Operators and finance of ${program.name} must have a second factor.`
          : `Operators and finance of ${program.name} may sign in with a password alone.`
      }
      actions={
        <Button onClick={() => void run()} busy={busy}>
          {isRequired ? 'No longer require it' : 'Require a second factor'}
        </Button>
      }
    >
      <p class="hint">
        Users without one set it up at their next page, before anything else. Each does so under “Your
        account”.
      </p>
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
            Send again
          </Button>
        )}
        {user.id !== me.id && (
          <Button
            onClick={() => void toggle.run()}
            busy={toggle.busy}
            label={`${user.status === 'active' ? 'Disable' : 'Enable'} ${user.name}`}
          >
            {user.status === 'active' ? 'Disable' : 'Enable'}
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
  const [scope, setScope] = useState(user.program_id === null ? '' : program.id);
  const { run, busy, error } = useAction(async () => {
    const body = { name, email, role, ...(scope !== '' && { program_id: scope }) };
    const made = await take(api.POST('/v1/users', { params: { header: attempt }, body }));
    onMade(made.invitation_link);
  });
  const faults = fieldProblems(error);
  const isOnFields = faults.name !== undefined || faults.email !== undefined;
  return (
    <Dialog title="Invite a user" onClose={onClose}>
      <Form
        submit="Send the invitation"
        busy={busy}
        error={isOnFields ? undefined : error}
        onSubmit={() => void run()}
      >
        <TextField label="Name" value={name} onChange={setName} fault={faults.name} required />
        <TextField
          label="E-mail address"
          type="email"
          value={email}
          onChange={setEmail}
          fault={faults.email}
          required
        />
        <div class="form-row">
          <Select
            label="Role"
            value={role}
            onChange={(value) => setRole(value as typeof role)}
            choices={ROLES.map((value) => ({ value, text: words(value) }))}
          />
          <Select
            label="For"
            value={scope}
            onChange={setScope}
            choices={[
              ...(user.program_id === null ? [{ value: '', text: 'All programs' }] : []),
              { value: program.id, text: program.name },
            ]}
          />
        </div>
      </Form>
    </Dialog>
  );
}
