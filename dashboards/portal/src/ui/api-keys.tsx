import { useState } from 'preact/hooks';
import { useSession } from '../app/session.tsx';
import { api, newAttempt, type Schemas, take } from '../data/api.ts';
import { useAction } from '../data/use-data.ts';
import { useList } from '../data/use-list.ts';
import { words, ZONE_NAME } from '../text/format.ts';
import { rich, t } from '../text/t.ts';
import { Button, Card, CopyText, Empty, Page, Problem, When } from './basics.tsx';
import { Dialog, Form, Select, TextField } from './forms.tsx';
import { Status } from './status.tsx';
import { ListTable } from './table.tsx';

type Role = Schemas['ApiKey']['role'];

const TOOLS = { search: t('common.name'), days: true, file: '/v1/api-keys.csv' };

/** API keys of the user's own clients. */
export function ApiKeysPage({ roles }: { roles: readonly Role[] }) {
  const { program } = useSession();
  const [isMaking, setMaking] = useState(false);
  const [made, setMade] = useState<Schemas['CreatedApiKey']>();
  const list = useList((query, signal) => api.GET('/v1/api-keys', { params: { query }, signal }), {
    query: { program_id: program.id },
  });
  const make = (
    <Button kind="primary" onClick={() => setMaking(true)}>
      {t('apiKeys.new_key')}
    </Button>
  );
  return (
    <Page
      title={t('common.api_keys')}
      lead={rich('apiKeys.with_a_key_your_own', { link: (text) => <a href="/docs">{text}</a> })}
      actions={make}
    >
      <Card>
        <ListTable
          label={t('common.api_keys')}
          list={list}
          tools={TOOLS}
          rowKey={({ id }) => id}
          empty={
            <Empty title={t('apiKeys.no_keys_yet')}>
              {t('apiKeys.create_one_key_for_each')} {make}
            </Empty>
          }
          columns={[
            {
              title: t('common.name'),
              head: true,
              sort: 'name',
              cell: ({ id, name }) => (
                <>
                  {name}
                  <span class="sub">{id}</span>
                </>
              ),
            },
            { title: t('common.role'), sort: 'role', cell: ({ role }) => words(role) },
            {
              title: t('apiKeys.scopes'),
              cell: ({ scopes }) => (scopes === null ? t('apiKeys.all_of_the_role') : scopes.join(', ')),
            },
            { title: t('common.status'), cell: (key) => <Status of={stateOf(key)} /> },
            {
              title: t('common.created_zone', { zone: ZONE_NAME }),
              sort: 'created_at',
              cell: ({ created_at }) => <When at={created_at} />,
            },
            {
              title: t('common.last_used_zone', { zone: ZONE_NAME }),
              sort: 'last_used_at',
              cell: ({ last_used_at }) => <When at={last_used_at} none={t('common.never')} />,
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
        <Dialog
          title={t('apiKeys.the_key_apikey', { apiKey: made.api_key.name })}
          onClose={() => setMade(undefined)}
        >
          <div class="stack">
            <p>{t('apiKeys.copy_the_key_now_it')}</p>
            <CopyText text={made.key} label={t('apiKeys.the_key')} />
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
          {t('common.replace')}
        </Button>
        <Button
          kind={isSure ? 'danger' : 'plain'}
          onClick={() => (isSure ? void revoke.run() : setSure(true))}
          busy={revoke.busy}
        >
          {isSure ? t('apiKeys.confirm_revocation') : t('apiKeys.revoke')}
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
    <Dialog title={t('apiKeys.new_key')} onClose={props.onClose}>
      <Form submit={t('apiKeys.create_key')} busy={busy} error={error} onSubmit={() => void run()}>
        <TextField
          label={t('apiKeys.name_of_the_client')}
          value={name}
          onChange={setName}
          placeholder={t('apiKeys.reports_in_our_warehouse')}
          required
        />
        {props.roles.length > 1 && (
          <Select
            label={t('common.role')}
            value={role}
            onChange={(value) => setRole(value as Role)}
            choices={props.roles.map((value) => ({ value, text: words(value) }))}
          />
        )}
      </Form>
    </Dialog>
  );
}
