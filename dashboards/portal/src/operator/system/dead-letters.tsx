import { useState } from 'preact/hooks';
import { api, take } from '../../data/api.ts';
import { useAction, useData } from '../../data/use-data.ts';
import { useList } from '../../data/use-list.ts';
import { formatCount, words, ZONE_NAME } from '../../text/format.ts';
import { t } from '../../text/t.ts';
import { Button, Card, Empty, Loading, Page, Problem, When } from '../../ui/basics.tsx';
import { Dialog } from '../../ui/forms.tsx';
import { ListTable } from '../../ui/table.tsx';

const EVERY_MS = 10_000;
const TOOLS = { days: true, file: '/v1/dead-letters.csv' };

/** Batches of clicks that the loader could not load, kept with the reason. */
export function DeadLettersPage() {
  const [shown, setShown] = useState<string>();
  const list = useList((query, signal) => api.GET('/v1/dead-letters', { params: { query }, signal }), {
    everyMs: EVERY_MS,
  });
  return (
    <Page title={t('common.dead_letters')} lead={t('deadLetters.batches_of_clicks_that_could')}>
      <Card>
        <ListTable
          label={t('common.dead_letters')}
          list={list}
          tools={TOOLS}
          rowKey={({ id }) => id}
          empty={
            <Empty title={t('deadLetters.no_dead_letters')}>
              {t('deadLetters.all_batches_of_clicks_were')}
            </Empty>
          }
          columns={[
            {
              title: t('common.reason'),
              head: true,
              cell: ({ reason, detail }) => (
                <>
                  {words(reason)}
                  <span class="sub">{detail}</span>
                </>
              ),
            },
            {
              title: t('deadLetters.rejected_zone', { zone: ZONE_NAME }),
              cell: ({ at }) => <When at={at} />,
            },
            {
              title: t('deadLetters.stream_sequence'),
              numeric: true,
              cell: ({ stream_seq }) => formatCount(stream_seq),
            },
            { title: t('deadLetters.bytes'), numeric: true, cell: ({ bytes }) => formatCount(bytes) },
            {
              title: t('deadLetters.content'),
              cell: ({ whole }) => (whole ? t('deadLetters.complete') : t('deadLetters.truncated')),
            },
            {
              title: '',
              cell: ({ id }) => (
                <div class="actions">
                  <Button onClick={() => setShown(id)} label={t('deadLetters.open_id', { id })}>
                    {t('common.open')}
                  </Button>
                </div>
              ),
            },
          ]}
        />
      </Card>
      {shown && <Letter id={shown} onClose={() => setShown(undefined)} />}
    </Page>
  );
}

function Letter({ id, onClose }: { id: string; onClose: () => void }) {
  const params = { path: { id } };
  const [replayed, setReplayed] = useState<number>();
  const { data, error } = useData(
    async (signal) => await take(api.GET('/v1/dead-letters/{id}', { params, signal })),
    [id],
  );
  const replay = useAction(async () => {
    const { stream_seq } = await take(api.POST('/v1/dead-letters/{id}/replay', { params }));
    setReplayed(stream_seq);
  });
  return (
    <Dialog title={id} onClose={onClose}>
      <Problem error={error ?? replay.error} />
      {!data && error === undefined && <Loading />}
      {data && (
        <div class="stack">
          <p>{data.detail}</p>
          <dl class="facts">
            {data.headers.map(({ name, value }) => (
              <>
                <dt>{name}</dt>
                <dd>
                  <code>{value}</code>
                </dd>
              </>
            ))}
          </dl>
          <h3>{t('deadLetters.first_bytes')}</h3>
          <pre>{data.beginning.replaceAll(/(.{64})/g, '$1\n')}</pre>
          {replayed === undefined ? (
            <div class="form-end">
              <Button
                kind="primary"
                busy={replay.busy}
                disabled={!data.whole}
                onClick={() => void replay.run()}
              >
                {t('common.replay')}
              </Button>
            </div>
          ) : (
            <p class="notice good" role="status">
              {t('deadLetters.published_again_at_stream_sequence', { replayed: formatCount(replayed) })}
            </p>
          )}
        </div>
      )}
    </Dialog>
  );
}
