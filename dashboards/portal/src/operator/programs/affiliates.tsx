import { useState } from 'preact/hooks';
import { Link, useParameter } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { usePages } from '../../data/use-pages.ts';
import { ZONE_NAME } from '../../text/format.ts';
import { fieldProblems } from '../../text/problem-text.ts';
import { Amount, Button, Card, Empty, Loading, Page, Problem, When } from '../../ui/basics.tsx';
import { Dialog, Form, Segments, TextArea, TextField } from '../../ui/forms.tsx';
import { InvitationLink } from '../../ui/invitation-link.tsx';
import { Status } from '../../ui/status.tsx';
import { ListTable } from '../../ui/table.tsx';
import { Similar } from '../partners/similar.tsx';
import { AffiliateActs } from './affiliate-acts.tsx';

type Affiliate = Schemas['Affiliate'];

const STATUSES = [
  { value: '', text: 'All' },
  { value: 'pending', text: 'To approve' },
  { value: 'active', text: 'Active' },
  { value: 'suspended', text: 'Suspended' },
  { value: 'terminated', text: 'Terminated' },
];

export function AffiliatesPage() {
  const { program, user } = useSession();
  const [status, setStatus] = useParameter('status');
  const [shown, setShown] = useState<Affiliate>();
  const [isInviting, setInviting] = useState(false);
  const [link, setLink] = useState<string>();
  const changed = (invitation?: string | null) => {
    setShown(undefined);
    setInviting(false);
    setLink(invitation ?? undefined);
    list.reload();
  };
  const list = usePages(
    (cursor, signal) => {
      const query = {
        program_id: program.id,
        cursor,
        ...(status !== '' && { status: status as Affiliate['status'] }),
      };
      return api.GET('/v1/affiliates', { params: { query }, signal });
    },
    [program.id, status],
  );
  const invite = (
    <Button kind="primary" onClick={() => setInviting(true)}>
      Invite a partner
    </Button>
  );
  return (
    <Page
      title="Partners"
      lead="Partners send visitors. Links and credit start with the approval."
      actions={user.role === 'operator' && invite}
    >
      <Card>
        <div class="filters above">
          <Segments label="Status" value={status} onChange={setStatus} choices={STATUSES} />
        </div>
        <ListTable
          label="Partners"
          list={list}
          rowKey={({ id }) => id}
          empty={
            status === 'pending' ? (
              <Empty title="No pending partners">
                Applications and partners imported as pending appear here.
              </Empty>
            ) : (
              <Empty title="No partners">
                {invite} or <Link to="/imports">import</Link> existing ones.
              </Empty>
            )
          }
          columns={[
            {
              title: 'Partner',
              head: true,
              cell: ({ name, email }) => (
                <>
                  {name}
                  <span class="sub">{email}</span>
                </>
              ),
            },
            { title: 'Reference', cell: ({ ref_code, id }) => <code title={id}>{ref_code}</code> },
            { title: 'Status', cell: ({ status: one }) => <Status of={one} /> },
            { title: `Joined (${ZONE_NAME})`, cell: ({ created_at }) => <When at={created_at} /> },
            { title: `Approved (${ZONE_NAME})`, cell: ({ approved_at }) => <When at={approved_at} /> },
            {
              title: '',
              cell: (affiliate) => (
                <div class="actions">
                  <Button
                    onClick={() => setShown(affiliate)}
                    label={`${affiliate.status === 'pending' ? 'Decide' : 'Open'} ${affiliate.name}`}
                  >
                    {affiliate.status === 'pending' ? 'Decide' : 'Open'}
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
  approve: { path: '/v1/affiliates/{id}/approve', text: 'Approve', from: ['pending', 'suspended'] },
  suspend: { path: '/v1/affiliates/{id}/suspend', text: 'Suspend', from: ['pending', 'active'] },
  terminate: {
    path: '/v1/affiliates/{id}/terminate',
    text: 'Terminate',
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
            <dt>Status</dt>
            <dd>
              <Status of={affiliate.status} />
            </dd>
            {affiliate.status_note !== null && (
              <>
                <dt>Note</dt>
                <dd class="message">{affiliate.status_note}</dd>
              </>
            )}
            <dt>E-mail address</dt>
            <dd>{affiliate.email}</dd>
            {data.users && (
              <>
                <dt>Login</dt>
                <dd>{data.users.map(({ email }) => email).join(', ') || 'none'}</dd>
              </>
            )}
            <dt>ID and reference</dt>
            <dd>
              <code>{affiliate.id}</code>, <code>{affiliate.ref_code}</code>
            </dd>
            <dt>Recruited by</dt>
            <dd>{parent?.name ?? 'none'}</dd>
            <dt>Sub-affiliates</dt>
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
      <dt>Pending, available</dt>
      <dd>
        <Amount money={balance.pending} />, <Amount money={balance.available} />
      </dd>
      <dt>In transit, paid</dt>
      <dd>
        <Amount money={balance.in_transit} />, <Amount money={balance.paid} />
      </dd>
      <dt>Debt, adjustments</dt>
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
        No one can sign in for this partner yet.{' '}
        <Button onClick={() => void run()} busy={busy}>
          Invite {affiliate.email}
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
  if (verbs.length === 0) return <p class="muted">This partner is terminated. A termination is final.</p>;
  return (
    <>
      <TextArea
        label="Note"
        rows={2}
        value={note}
        onChange={setNote}
        hint="Mailed to the partner with the decision, and kept in the audit log. Each decision needs one."
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
    <Dialog title="Invite a partner" onClose={onClose}>
      <Form
        submit="Send the invitation"
        busy={busy}
        error={isOnFields ? undefined : error}
        onSubmit={() => void run()}
      >
        <TextField label="Name" value={fields.name} onChange={set('name')} fault={faults.name} required />
        <TextField
          label="E-mail address"
          type="email"
          value={fields.email}
          onChange={set('email')}
          fault={faults.email}
          hint="Receives a link to set a password, valid for one week."
          required
        />
        <TextField
          label="Reference"
          value={fields.ref_code}
          onChange={set('ref_code')}
          fault={faults.ref_code}
          hint="A short name, unique in the program."
          required
        />
        <TextField
          label="Recruited by"
          value={fields.parent_id}
          onChange={set('parent_id')}
          fault={faults.parent_id}
          placeholder="aff_12"
          hint="Optional: ID of the partner who earns level 2."
        />
      </Form>
    </Dialog>
  );
}
