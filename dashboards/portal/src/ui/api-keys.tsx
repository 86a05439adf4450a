import { useState } from 'preact/hooks';
import { useSession } from '../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../data/api.ts';
import { useAction } from '../data/use-data.ts';
import { usePages } from '../data/use-pages.ts';
import { words, ZONE_NAME } from '../text/format.ts';
import { Button, Card, CopyText, Empty, Page, Problem, When } from './basics.tsx';
import { Dialog, Form, Select, TextField } from './forms.tsx';
import { Status } from './status.tsx';
import { ListTable } from './table.tsx';

type Role = Schemas['ApiKey']['role'];

/** API keys of the user's own clients. */
export function ApiKeysPage({ roles }: { roles: readonly Role[] }) {
  const { program } = useSession();
  const [isMaking, setMaking] = useState(false);
  const [made, setMade] = useState<Schemas['CreatedApiKey']>();
  const list = usePages(
    (cursor, signal) =>
      api.GET('/v1/api-keys', { params: { query: { program_id: program.id, cursor } }, signal }),
    [program.id],
  );
  const make = (
    <Button kind="primary" onClick={() => setMaking(true)}>
      New key
    </Button>
  );
  return (
    <Page
      title="API keys"
      lead={
        <>
          With a key your own software can use the API with your permissions. See the{' '}
          <a href="/docs">API documentation</a>.
        </>
      }
      actions={make}
    >
      <Card>
        <ListTable
          label="API keys"
          list={list}
          rowKey={({ id }) => id}
          empty={<Empty title="No keys yet">Create one key for each client of the API. {make}</Empty>}
          columns={[
            {
              title: 'Name',
              head: true,
              cell: ({ id, name }) => (
                <>
                  {name}
                  <span class="sub">{id}</span>
                </>
              ),
            },
            { title: 'Role', cell: ({ role }) => words(role) },
            {
              title: 'Scopes',
              cell: ({ scopes }) => (scopes === null ? 'all of the role' : scopes.join(', ')),
            },
            { title: 'Status', cell: (key) => <Status of={stateOf(key)} /> },
            { title: `Created (${ZONE_NAME})`, cell: ({ created_at }) => <When at={created_at} /> },
            {
              title: `Last used (${ZONE_NAME})`,
              cell: ({ last_used_at }) => <When at={last_used_at} none="never" />,
            },
            {
              title: '',
              cell: (key) =>
                stateOf(key) === 'active' && (
                  <Controls apiKey={key} onChanged={list.reload} onMade={setMade} />
                ),
            },
          ]}
        />
      </Card>
      {isMaking && (
        <NewKey
          roles={roles}
          onClose={() => setMaking(false)}
          onMade={(key) => {
            setMaking(false);
            setMade(key);
            list.reload();
          }}
        />
      )}
      {made && (
        <Dialog title={`The key ${made.api_key.name}`} onClose={() => setMade(undefined)}>
          <div class="stack">
            <p>Copy the key now. It is shown once and stored as a hash.</p>
            <CopyText text={made.key} label="the key" />
          </div>
        </Dialog>
      )}
    </Page>
  );
}

function stateOf({ revoked_at, expires_at }: Schemas['ApiKey']): string {
  if (revoked_at !== null) return 'revoked';
  return expires_at !== null && Date.parse(expires_at) < Date.now() ? 'expired' : 'active';
}

function Controls(props: {
  apiKey: Schemas['ApiKey'];
  onChanged: () => void;
  onMade: (key: Schemas['CreatedApiKey']) => void;
}) {
  const path = { id: props.apiKey.id };
  const [isSure, setSure] = useState(false);
  const rotate = useAction(async () => {
    const params = { path, header: newAttempt() };
    props.onMade(await take(api.POST('/v1/api-keys/{id}/rotate', { params, body: {} })));
    props.onChanged();
  });
  const revoke = useAction(async () => {
    await take(api.DELETE('/v1/api-keys/{id}', { params: { path } }));
    props.onChanged();
  });
  return (
    <>
      <div class="actions">
        <Button onClick={() => void rotate.run()} busy={rotate.busy}>
          Replace
        </Button>
        <Button
          kind={isSure ? 'danger' : 'plain'}
          onClick={() => (isSure ? void revoke.run() : setSure(true))}
          busy={revoke.busy}
        >
          {isSure ? 'Confirm revocation' : 'Revoke'}
        </Button>
      </div>
      <Problem error={rotate.error ?? revoke.error} />
    </>
  );
}

function NewKey(props: {
  roles: readonly Role[];
  onClose: () => void;
  onMade: (key: Schemas['CreatedApiKey']) => void;
}) {
  const { program, user } = useSession();
  const [attempt] = useState(newAttempt);
  const [name, setName] = useState('');
  const [role, setRole] = useState<Role>(props.roles[0] ?? 'affiliate');
  const { run, busy, error } = useAction(async () => {
    const own = user.affiliate_id === null ? {} : { affiliate_id: user.affiliate_id };
    const body = { role, name, program_id: program.id, ...own };
    props.onMade(await take(api.POST('/v1/api-keys', { params: { header: attempt }, body })));
  });
  return (
    <Dialog title="New key" onClose={props.onClose}>
      <Form submit="Create key" busy={busy} error={error} onSubmit={() => void run()}>
        <TextField
          label="Name of the client"
          value={name}
          onChange={setName}
          placeholder="Reports in our warehouse"
          required
        />
        {props.roles.length > 1 && (
          <Select
            label="Role"
            value={role}
            onChange={(value) => setRole(value as Role)}
            choices={props.roles.map((value) => ({ value, text: words(value) }))}
          />
        )}
      </Form>
    </Dialog>
  );
}
