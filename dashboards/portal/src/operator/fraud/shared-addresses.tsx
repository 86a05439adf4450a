import { useSession } from '../../app/session.tsx';
import { api, take, takeAll } from '../../data/api.ts';
import { lastDays } from '../../data/period.ts';
import { readCompleteTo } from '../../data/report.ts';
import { useData } from '../../data/use-data.ts';
import { formatCount } from '../../text/format.ts';
import { t } from '../../text/t.ts';
import { Card, Empty, Problem } from '../../ui/basics.tsx';
import { Explored } from '../../ui/explored.tsx';
import { CompleteTo } from '../../ui/freshness.tsx';
import { Table } from '../../ui/table.tsx';

const DAYS = 7;

/** Partners whose visitors share addresses, a sign of one person with several accounts. */
export function SharedAddresses() {
  const { program } = useSession();
  const { data, error, reload } = useData(
    async (signal) => {
      const program_id = program.id;
      const query = { program_id, ...lastDays(DAYS), min_addresses: 1, limit: 20 };
      const completeTo = await readCompleteTo(signal);
      const [pairs, affiliates] = await Promise.all([
        take(api.GET('/v1/shared-addresses', { params: { query }, signal })),
        takeAll((cursor) =>
          api.GET('/v1/affiliates', { params: { query: { program_id, cursor, limit: 500 } }, signal }),
        ),
      ]);
      return { completeTo, pairs: pairs.data, names: new Map(affiliates.map(({ id, name }) => [id, name])) };
    },
    [program.id],
  );
  if (!data) return <Problem error={error} onRetry={reload} />;
  return (
    <Card
      title={t('sharedAddresses.partners_sharing_ip_addresses')}
      note={
        <>
          {t('sharedAddresses.clicks_of_the_last_days', { days: DAYS })} <CompleteTo at={data.completeTo} />
        </>
      }
    >
      {data.pairs.length === 0 ? (
        <Empty title={t('sharedAddresses.no_shared_addresses')}>
          {t('sharedAddresses.no_two_partners_have_clicks')}
        </Empty>
      ) : (
        <Table
          label={t('sharedAddresses.partners_sharing_ip_addresses')}
          rows={data.pairs}
          rowKey={({ affiliate_ids }) => affiliate_ids.join()}
          columns={[
            {
              title: t('common.partners'),
              head: true,
              cell: ({ affiliate_ids }) =>
                affiliate_ids.map((id) => (
                  <span class="sub" key={id}>
                    <Explored of="affiliate" value={id} name={data.names.get(id)} />
                  </span>
                )),
            },
            {
              title: t('sharedAddresses.addresses'),
              numeric: true,
              cell: ({ addresses }) => formatCount(addresses),
            },
            { title: t('common.clicks'), numeric: true, cell: ({ clicks }) => formatCount(clicks) },
          ]}
        />
      )}
    </Card>
  );
}
