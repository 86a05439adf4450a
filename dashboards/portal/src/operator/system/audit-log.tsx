import { useState } from 'preact/hooks';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas } from '../../data/api.ts';
import { useList } from '../../data/use-list.ts';
import { useNames } from '../../data/use-names.ts';
import { ZONE_NAME } from '../../text/format.ts';
import { t } from '../../text/t.ts';
import { Button, Card, Empty, Page, When } from '../../ui/basics.tsx';
import { Dialog } from '../../ui/forms.tsx';
import { ListTable, Table } from '../../ui/table.tsx';

const FILTERS = ['actor', 'action', 'subject'];
const TOOLS = { search: t('list.actor_action_or_subject'), days: true, file: '/v1/audit-log.csv' };
const NAMED = ['affiliates', 'campaigns', 'links', 'users', 'keys'] as const;

/** Changes with actor, old and new values. */
export function AuditLogPage() {
  const { program, programs } = useSession();
  const [shown, setShown] = useState<Schemas['AuditEntry']>();
  const names = useNames(NAMED);
  const list = useList((query, signal) => api.GET('/v1/audit-log', { params: { query }, signal }), {
    query: programs.length > 1 ? { program_id: program.id } : {},
    filters: FILTERS,
  });
  return (
    <Page title={t('common.audit_log')} lead={t('auditLog.every_change_with_its_author')}>
      <Card>
        <ListTable
          label={t('common.audit_log')}
          list={list}
          tools={TOOLS}
          rowKey={({ id }) => id}
          empty={
            <Empty title={t('auditLog.no_entries_found')}>
              {t('auditLog.filters_match_whole_names_such')}
            </Empty>
          }
          columns={[
            {
              title: t('common.at_zone', { zone: ZONE_NAME }),
              sort: 'at',
              cell: ({ at }) => <When at={at} />,
            },
            { title: t('auditLog.actor'), cell: ({ actor: who }) => <Named id={who} names={names} /> },
            { title: t('auditLog.action'), head: true, cell: ({ action: what }) => what },
            { title: t('auditLog.subject'), cell: ({ subject: whom }) => <Named id={whom} names={names} /> },
            {
              title: '',
              cell: (entry) =>
                (entry.before !== null || entry.after !== null) && (
                  <div class="actions">
                    <Button
                      onClick={() => setShown(entry)}
                      label={t('auditLog.changes_by_action_of_subject', {
                        action: entry.action,
                        subject: entry.subject,
                      })}
                    >
                      {t('auditLog.changes')}
                    </Button>
                  </div>
                ),
            },
          ]}
        />
      </Card>
      {shown && <Change entry={shown} onClose={() => setShown(undefined)} />}
    </Page>
  );
}

/** An id, below its name where it has one. */
function Named({ id, names }: { id: string; names: ReadonlyMap<string, string> }) {
  const name = names.get(id);
  if (name === undefined) return <code>{id}</code>;
  return (
    <>
      {name}
      <span class="sub">
        <code>{id}</code>
      </span>
    </>
  );
}

function Change({ entry, onClose }: { entry: Schemas['AuditEntry']; onClose: () => void }) {
  const before = membersOf(entry.before);
  const after = membersOf(entry.after);
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return (
    <Dialog
      title={t('auditLog.action_of_subject', { action: entry.action, subject: entry.subject })}
      onClose={onClose}
    >
      <Table
        label={t('auditLog.changes')}
        rows={names}
        rowKey={(name) => name}
        columns={[
          { title: t('common.field'), head: true, cell: (name) => name },
          { title: t('auditLog.before'), cell: (name) => <code>{before[name] ?? ''}</code> },
          { title: t('auditLog.after'), cell: (name) => <code>{after[name] ?? ''}</code> },
        ]}
      />
    </Dialog>
  );
}

function membersOf(value: unknown): Readonly<Record<string, string>> {
  if (value === null || value === undefined) return {};
  if (typeof value !== 'object') return { value: String(value) };
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      typeof member === 'string' ? member : JSON.stringify(member),
    ]),
  );
}
