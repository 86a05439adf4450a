import { useSession } from '../../app/session.tsx';
import { api, type Schemas, take } from '../../data/api.ts';
import { useData } from '../../data/use-data.ts';
import { t } from '../../text/t.ts';
import { Card, Copy, Loading, Page, Problem } from '../../ui/basics.tsx';
import { Table } from '../../ui/table.tsx';

type Access = Schemas['AnalystAccess'];

const CLIENTS = ['grafana', 'metabase', 'dbeaver', 'superset', 'python', 'curl'] as const;

/** What to enter in other people's programs to read ClickHouse. */
export function AnalystsPage() {
  const { program, user } = useSession();
  const { data, error, reload } = useData(
    async (signal) => {
      const ofProgram = { program_id: program.id };
      const scopes = user.program_id === null ? [ofProgram, {}] : [ofProgram];
      return await Promise.all(
        scopes.map((query) => take(api.GET('/v1/analyst-access', { params: { query }, signal }))),
      );
    },
    [program.id, user.program_id],
  );
  return (
    <Page title={t('common.analysts')} lead={t('analysts.lead')}>
      <Problem error={error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data?.map((access) => (
        <Login key={access.user} access={access} program={program.name} />
      ))}
      {data?.[0] && <Clients access={data[0]} />}
    </Page>
  );
}

function Login({ access, program }: { access: Access; program: string }) {
  const { hostname, port } = new URL(access.url);
  const title =
    access.program_id === null ? t('analysts.every_program') : t('analysts.one_program', { program });
  const note = access.program_id === null ? t('analysts.reads_tables') : t('analysts.reads_views');
  const rows: [string, string][] = [
    [t('analysts.host'), hostname],
    [t('analysts.port'), port || (access.url.startsWith('https') ? '443' : '80')],
    [t('analysts.database'), access.database],
    [t('analysts.user'), access.user],
  ];
  return (
    <Card title={title} note={note}>
      <Table
        label={title}
        rows={rows}
        rowKey={([name]) => name}
        columns={[
          { title: t('analysts.field'), head: true, cell: ([name]) => name },
          {
            title: t('analysts.value'),
            cell: ([name, value]) => (
              <>
                <code>{value}</code> <Copy text={value} label={name} />
              </>
            ),
          },
        ]}
      />
      <p>{access.embedded ? t('analysts.password_embedded') : t('analysts.password_server')}</p>
      <Code text={access.command} label={t('analysts.command')} />
      {access.statements.length > 0 && (
        <>
          <p>{t('analysts.statements_note')}</p>
          <Code
            text={access.statements.map((statement) => `${statement};`).join('\n')}
            label={t('analysts.statements')}
          />
        </>
      )}
    </Card>
  );
}

function Clients({ access }: { access: Access }) {
  const { hostname, port } = new URL(access.url);
  const values = { host: hostname, port, user: access.user, database: access.database, url: access.url };
  return (
    <Card
      title={t('analysts.programs')}
      note={access.embedded ? t('analysts.loopback', { port }) : t('analysts.server_note')}
    >
      <Table
        label={t('analysts.programs')}
        rows={CLIENTS}
        rowKey={(name) => name}
        columns={[
          { title: t('analysts.client'), head: true, cell: (name) => t(`analystClient.${name}`) },
          {
            title: t('analysts.what_to_enter'),
            cell: (name) => <span class="sentences">{t(`analystEntry.${name}`, values)}</span>,
          },
        ]}
      />
    </Card>
  );
}

function Code({ text, label }: { text: string; label: string }) {
  return (
    <>
      <div class="code-head">
        <span>{label}</span>
        <Copy text={text} label={label} />
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard */}
      <pre class="code" tabIndex={0}>
        {text}
      </pre>
    </>
  );
}
