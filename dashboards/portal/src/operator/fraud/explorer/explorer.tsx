import { Link } from '../../../app/router.tsx';
import { api, type Schemas, take } from '../../../data/api.ts';
import { useData } from '../../../data/use-data.ts';
import { formatCount, formatMoney, words } from '../../../text/format.ts';
import { t } from '../../../text/t.ts';
import { Amount, Card, Empty, Loading, Page, Problem, When } from '../../../ui/basics.tsx';
import { Explored, type ExplorerKey, KEY_NAMES, shortValue } from '../../../ui/explored.tsx';
import { CompleteTo, OrdersTo } from '../../../ui/freshness.tsx';
import { Stat } from '../../../ui/stat.tsx';
import { Status } from '../../../ui/status.tsx';
import { Table } from '../../../ui/table.tsx';
import { Clicks, Orders } from './lists.tsx';
import { LookUp } from './look-up.tsx';
import { Timeline } from './timeline.tsx';

type Exploration = Schemas['Exploration'];
type Related = Schemas['RelatedKey'];

/** What block lists call the keys that can be blocked. */
const BLOCKED_AS: Readonly<Partial<Record<ExplorerKey, string>>> = {
  ip: 'address',
  subnet: 'network',
  asn: 'asn',
};

function isKey(key: string | undefined): key is ExplorerKey {
  return key !== undefined && Object.hasOwn(KEY_NAMES, key);
}

/** Everything about one address, network, fingerprint, partner, link, customer or payout account. */
export function ExplorerPage({ params }: { params: Readonly<Record<string, string>> }) {
  const { key, value = '' } = params;
  // Lists and chart of another value start again.
  return isKey(key) ? <Explorer key={`${key} ${value}`} of={key} value={value} /> : <LookUpPage />;
}

function LookUpPage() {
  return (
    <Page title={t('explorer.explorer')}>
      <LookUp />
    </Page>
  );
}

function Explorer({ of, value }: { of: ExplorerKey; value: string }) {
  const { data, error, reload } = useData(
    async (signal) =>
      await take(api.GET('/v1/explorer/{key}/{value}', { params: { path: { key: of, value } }, signal })),
    [of, value],
  );
  // A shortened address is answered as its network.
  const key = data?.key ?? of;
  const kind = BLOCKED_AS[key];
  return (
    <Page
      title={t('explorer.kind_value', {
        kind: KEY_NAMES[key],
        value: data?.name || shortValue(key, data?.value ?? value),
      })}
      lead={
        <>
          {data && t('explorer.of_the_last_days', { days: data.days })} <CompleteTo at={data?.complete_to} />{' '}
          <OrdersTo at={data?.orders_complete_to} />
          {data?.account?.is_partial && (
            <span class="sub">{t('explorer.of_so_many_affiliates', { count: data.account.affiliates })}</span>
          )}
        </>
      }
      actions={
        data &&
        kind !== undefined && (
          <Link class="button" to={`/blocks?kind=${kind}&value=${encodeURIComponent(data.value)}`}>
            {t('explorer.block')}
          </Link>
        )
      }
    >
      <LookUp />
      <Problem error={error} onRetry={reload} />
      {!data && error === undefined && <Loading />}
      {data && (
        <>
          <Figures data={data} />
          <Timeline of={of} value={value} days={data.clicks.days} />
          <RelatedKeys data={data} />
          <Orders of={of} value={value} />
          <Clicks of={of} value={value} />
        </>
      )}
    </Page>
  );
}

function Figures({ data }: { data: Exploration }) {
  const { clicks, orders } = data;
  const flagged = Object.entries(clicks.by_flag_group).filter(([group]) => group !== 'ok');
  return (
    <Card
      title={t('explorer.figures')}
      note={clicks.days < data.days && t('explorer.clicks_are_counted_for', { count: clicks.days })}
    >
      <dl class="stats">
        <Stat
          title={t('common.clicks')}
          figure={formatCount(clicks.total)}
          note={flagged.map(([group, count]) => `${words(group)}: ${formatCount(count)}`).join(', ')}
        />
        <Stat
          title={t('common.orders')}
          figure={formatCount(orders.total)}
          note={orders.is_partial ? t('explorer.the_newest_of_more') : ''}
        />
      </dl>
      <dl class="facts">
        <dt>{t('explorer.first_seen')}</dt>
        <dd>
          <When at={clicks.first_seen} />
        </dd>
        <dt>{t('explorer.last_seen')}</dt>
        <dd>
          <When at={clicks.last_seen} />
        </dd>
        {orders.commissions.length > 0 && (
          <>
            <dt>{t('common.commissions')}</dt>
            <dd>
              {orders.commissions
                .map(({ state, amount }) => `${words(state)} ${formatMoney(amount)}`)
                .join(', ')}
            </dd>
          </>
        )}
      </dl>
      {orders.by_state.length > 0 && (
        <Table
          label={t('explorer.orders_by_state')}
          rows={orders.by_state}
          rowKey={({ state, amount }) => `${state} ${amount.currency}`}
          columns={[
            { title: t('explorer.orders_by_state'), head: true, cell: ({ state }) => <Status of={state} /> },
            { title: t('common.orders'), numeric: true, cell: (row) => formatCount(row.orders) },
            { title: t('common.amount'), numeric: true, cell: ({ amount }) => <Amount money={amount} /> },
            {
              title: t('explorer.refunded'),
              numeric: true,
              cell: ({ refunded }) => <Amount money={refunded} />,
            },
          ]}
        />
      )}
    </Card>
  );
}

const KEYS = Object.keys(KEY_NAMES) as ExplorerKey[];

/** What goes with it, by kind. */
function RelatedKeys({ data }: { data: Exploration }) {
  const kinds = KEYS.map((key) => ({ key, rows: data.related.filter((row) => row.key === key) }));
  const shown = kinds.filter(({ rows }) => rows.length > 0);
  return (
    <Card
      title={t('explorer.what_goes_with_it')}
      note={t('explorer.of_the_newest_clicks', { count: data.sampled_clicks })}
    >
      {shown.length === 0 && <Empty title={t('explorer.nothing_goes_with_it')} />}
      <div class="grid">
        {shown.map(({ key, rows }) => (
          <Table<Related>
            key={key}
            label={KEY_NAMES[key]}
            rows={rows}
            rowKey={({ value, seen_in }) => `${value} ${seen_in}`}
            columns={[
              {
                title: KEY_NAMES[key],
                head: true,
                cell: ({ value, name }) => <RelatedValue of={key} value={value} name={name} />,
              },
              { title: t('explorer.seen_in'), cell: ({ seen_in }) => words(seen_in) },
              {
                title: t('explorer.count'),
                numeric: true,
                cell: ({ count }) => (count === null ? '–' : formatCount(count)),
              },
            ]}
          />
        ))}
      </div>
    </Card>
  );
}

/** Systems are known by their number, and accounts by whose they are, beside their names. */
function RelatedValue({ of, value, name }: { of: ExplorerKey; value: string; name: string | null }) {
  if (of === 'asn') {
    return (
      <>
        <Explored of={of} value={value} /> <span class="sub">{name}</span>
      </>
    );
  }
  return (
    <>
      <Explored of={of} value={value} name={name} />
      {of === 'account' && <span class="sub">{value}</span>}
    </>
  );
}
