import { api, type Schemas, take } from '../data/api.ts';
import { useAction } from '../data/use-data.ts';
import { usePages } from '../data/use-pages.ts';
import { ZONE_NAME } from '../text/format.ts';
import { Button, Card, Empty, Problem, When } from '../ui/basics.tsx';
import { ListTable } from '../ui/table.tsx';

type ListedSession = Schemas['ListedSession'];

/** Where the user is signed in, and signing out there. */
export function SessionsCard() {
  const list = usePages(
    (cursor, signal) => api.GET('/v1/sessions', { params: { query: { cursor } }, signal }),
    [],
  );
  const others = useAction(async () => {
    await take(api.DELETE('/v1/sessions'));
    list.reload();
  });
  const hasOthers = list.rows?.some(({ is_current }) => !is_current) ?? false;
  return (
    <Card
      title="Where you are signed in"
      note="A session ends after 12 hours without use, and after 7 days."
      actions={
        hasOthers && (
          <Button onClick={() => void others.run()} busy={others.busy}>
            Sign out all others
          </Button>
        )
      }
    >
      <Problem error={others.error} />
      <ListTable
        label="Sessions"
        list={list}
        rowKey={({ id }) => id}
        empty={<Empty title="No sessions" />}
        columns={[
          {
            title: 'Device',
            head: true,
            cell: ({ device, is_current }) => (
              <>
                {device || 'Unknown browser'}
                {is_current && <span class="sub">This session</span>}
              </>
            ),
          },
          { title: 'Address', cell: ({ address }) => address },
          { title: `Signed in (${ZONE_NAME})`, cell: ({ created_at }) => <When at={created_at} /> },
          { title: `Last used (${ZONE_NAME})`, cell: ({ last_seen_at }) => <When at={last_seen_at} /> },
          { title: '', cell: (session) => <EndButton session={session} onEnded={list.reload} /> },
        ]}
      />
    </Card>
  );
}

function EndButton({ session, onEnded }: { session: ListedSession; onEnded: () => void }) {
  const { id, device, is_current } = session;
  const { run, busy, error } = useAction(async () => {
    await take(api.DELETE('/v1/sessions/{id}', { params: { path: { id } } }));
    onEnded();
  });
  if (is_current) return null;
  return (
    <>
      <Button onClick={() => void run()} busy={busy} label={`Sign out ${device || 'this session'}`}>
        Sign out
      </Button>
      <Problem error={error} />
    </>
  );
}
