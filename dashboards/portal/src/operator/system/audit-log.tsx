import { useState } from 'preact/hooks';
import { useParameter } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api, type Schemas } from '../../data/api.ts';
import { usePages } from '../../data/use-pages.ts';
import { ZONE_NAME } from '../../text/format.ts';
import { Button, Card, Empty, Page, When } from '../../ui/basics.tsx';
import { Dialog, TextField } from '../../ui/forms.tsx';
import { ListTable, Table } from '../../ui/table.tsx';

const PAGE_ROWS = 25;

/** Changes with actor, old and new values. */
export function AuditLogPage() {
  const { program, programs } = useSession();
  const [actor, setActor] = useParameter('actor');
  const [action, setAction] = useParameter('action');
  const [subject, setSubject] = useParameter('subject');
  const [shown, setShown] = useState<Schemas['AuditEntry']>();
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
    <Page
      title="Audit log"
      lead="Every change with its author, written in the transaction of the change. Entries cannot be edited."
    >
      <Card>
        <div class="filters above">
          <TextField label="Actor" type="search" value={actor} onChange={setActor} placeholder="user:1" />
          <TextField
            label="Action"
            type="search"
            value={action}
            onChange={setAction}
            placeholder="conversion.approve"
          />
          <TextField
            label="Subject"
            type="search"
            value={subject}
            onChange={setSubject}
            placeholder="cnv_12"
          />
        </div>
        <ListTable
          label="Audit log"
          list={list}
          rowKey={({ id }) => id}
          empty={
            <Empty title="No entries found">Filters match whole names, such as conversion.approve.</Empty>
          }
          columns={[
            { title: `At (${ZONE_NAME})`, cell: ({ at }) => <When at={at} /> },
            { title: 'Actor', cell: ({ actor: who }) => <code>{who}</code> },
            { title: 'Action', head: true, cell: ({ action: what }) => what },
            { title: 'Subject', cell: ({ subject: whom }) => <code>{whom}</code> },
            {
              title: '',
              cell: (entry) =>
                (entry.before !== null || entry.after !== null) && (
                  <div class="actions">
                    <Button
                      onClick={() => setShown(entry)}
                      label={`Changes by ${entry.action} of ${entry.subject}`}
                    >
                      Changes
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

function Change({ entry, onClose }: { entry: Schemas['AuditEntry']; onClose: () => void }) {
  const before = membersOf(entry.before);
  const after = membersOf(entry.after);
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return (
    <Dialog title={`${entry.action} of ${entry.subject}`} onClose={onClose}>
      <Table
        label="Changes"
        rows={names}
        rowKey={(name) => name}
        columns={[
          { title: 'Field', head: true, cell: (name) => name },
          { title: 'Before', cell: (name) => <code>{before[name] ?? ''}</code> },
          { title: 'After', cell: (name) => <code>{after[name] ?? ''}</code> },
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
