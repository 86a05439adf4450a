import { useState } from 'preact/hooks';
import { useParameter } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas } from '../../data/api.ts';
import { useNames } from '../../data/use-names.ts';
import { usePages } from '../../data/use-pages.ts';
import { ZONE_NAME } from '../../text/format.ts';
import { t } from '../../text/t.ts';
import { Button, Card, Empty, Page, When } from '../../ui/basics.tsx';
import { Dialog, TextField } from '../../ui/forms.tsx';
import { ListTable, Table } from '../../ui/table.tsx';

const PAGE_ROWS = 25;
const NAMED = ['affiliates', 'campaigns', 'links', 'users', 'keys'] as const;

/** Changes with actor, old and new values. */
export function AuditLogPage() {
  const { program, programs } = useSession();
  const [actor, setActor] = useParameter('actor');
  const [action, setAction] = useParameter('action');
  const [subject, setSubject] = useParameter('subject');
  const [shown, setShown] = useState<Schemas['AuditEntry']>();
  const names = useNames(NAMED);
  const list = usePages(
    (cursor, signal) => {
      const query = {
        limit: PAGE_ROWS,
        cursor,
        ...(programs.length > 1 && { program_id: program.id }),
        ...(actor !== '' && { actor }),
        ...(action !== '' && { action }),
        ...(subject !== '' && { subject }),
      };
      return api.GET('/v1/audit-log', { params: { query }, signal });
    },
    [program.id, actor, action, subject],
  );
  return (
    <Page title={t('common.audit_log')} lead={t('auditLog.every_change_with_its_author')}>
      <Card>
        <div class="filters above">
          <TextField
            label={t('auditLog.actor')}
            type="search"
            value={actor}
            onChange={setActor}
            placeholder="user:1"
          />
          <TextField
            label={t('auditLog.action')}
            type="search"
            value={action}
            onChange={setAction}
            placeholder="conversion.approve"
          />
          <TextField
            label={t('auditLog.subject')}
            type="search"
            value={subject}
            onChange={setSubject}
            placeholder="cnv_12"
          />
        </div>
        <ListTable
          label={t('common.audit_log')}
          list={list}
          rowKey={({ id }) => id}
          empty={
            <Empty title={t('auditLog.no_entries_found')}>
              {t('auditLog.filters_match_whole_names_such')}
            </Empty>
          }
          columns={[
            { title: t('common.at_zone', { zone: ZONE_NAME }), cell: ({ at }) => <When at={at} /> },
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
