import { api, type Schemas, take } from '../data/api.ts';
import { useAction } from '../data/use-data.ts';
import { useList } from '../data/use-list.ts';
import { ZONE_NAME } from '../text/format.ts';
import { t } from '../text/t.ts';
import { Button, Card, Empty, Problem, When } from '../ui/basics.tsx';
import { ListTable } from '../ui/table.tsx';

type ListedSession = Schemas['ListedSession'];

/** Where the user is signed in, and signing out there. */
export function SessionsCard() {
  const list = useList((query, signal) => api.GET('/v1/sessions', { params: { query }, signal }), {
    prefix: 'session_',
  });
  const others = useAction(async () => {
    await take(api.DELETE('/v1/sessions'));
    list.reload();
  });
  const hasOthers = list.rows?.some(({ is_current }) => !is_current) ?? false;
  return (
    <Card
      title={t('sessions.where_you_are_signed_in')}
      note={t('sessions.a_session_ends_after_12')}
      actions={
        hasOthers && (
          <Button onClick={() => void others.run()} busy={others.busy}>
            {t('sessions.sign_out_all_others')}
          </Button>
        )
      }
    >
      <Problem error={others.error} />
      <ListTable
        label={t('sessions.sessions')}
        list={list}
        rowKey={({ id }) => id}
        empty={<Empty title={t('sessions.no_sessions')} />}
        columns={[
          {
            title: t('sessions.device'),
            head: true,
            cell: ({ device, is_current }) => (
              <>
                {device || t('sessions.unknown_browser')}
                {is_current && <span class="sub">{t('sessions.this_session')}</span>}
              </>
            ),
          },
          { title: t('common.address'), cell: ({ address }) => address },
          {
            title: t('sessions.signed_in_zone', { zone: ZONE_NAME }),
            cell: ({ created_at }) => <When at={created_at} />,
          },
          {
            title: t('common.last_used_zone', { zone: ZONE_NAME }),
            cell: ({ last_seen_at }) => <When at={last_seen_at} />,
          },
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
  const unnamed = t('sessions.unnamed');
  return (
    <>
      <Button
        onClick={() => void run()}
        busy={busy}
        label={t('sessions.end_named', { device: device || unnamed })}
      >
        {t('common.sign_out')}
      </Button>
      <Problem error={error} />
    </>
  );
}
