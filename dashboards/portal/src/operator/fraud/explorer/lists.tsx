import { Link } from '../../../app/router.tsx';
import { useSession } from '../../../app/session.tsx';
import { api, type Schemas } from '../../../data/api.ts';
import { useList } from '../../../data/use-list.ts';
import { useNames } from '../../../data/use-names.ts';
import { words, ZONE_NAME } from '../../../text/format.ts';
import { reasonText } from '../../../text/reasons.ts';
import { listed, t } from '../../../text/t.ts';
import { Amount, Card, Empty, When } from '../../../ui/basics.tsx';
import { Explored, type ExplorerKey } from '../../../ui/explored.tsx';
import { CompleteTo, OrdersTo } from '../../../ui/freshness.tsx';
import { Status } from '../../../ui/status.tsx';
import { ListTable } from '../../../ui/table.tsx';

const PAGE_ROWS = 25;
const KINDS = ['affiliates', 'campaigns', 'links'] as const;
/** A user of one program sees it whatever is asked for. */
interface Of {
  readonly of: ExplorerKey;
  readonly value: string;
}

type Click = Schemas['ExploredClick'];
type Order = Schemas['ExploredOrder'];

/** A value where there is one. */
function cellOf(of: ExplorerKey, value: string | null, name?: string) {
  return value === null ? <span class="muted">–</span> : <Explored of={of} value={value} name={name} />;
}

export function Clicks({ of, value }: Of) {
  const { program } = useSession();
  const names = useNames(KINDS);
  const path = { key: of, value };
  const list = useList<Click>(
    (query, signal) => api.GET('/v1/explorer/{key}/{value}/clicks', { params: { path, query }, signal }),
    { prefix: 'clicks_', pageRows: PAGE_ROWS },
  );
  return (
    <Card
      title={t('common.clicks')}
      note={
        <>
          {t('explorer.newest_first_zone', { zone: ZONE_NAME })} <CompleteTo at={list.completeTo} />
        </>
      }
    >
      <ListTable
        key={program.id}
        label={t('common.clicks')}
        list={list}
        rowKey={({ click_id }) => click_id}
        empty={<Empty title={t('explorer.no_clicks')}>{t('explorer.addresses_are_kept')}</Empty>}
        columns={[
          {
            title: t('explorer.time'),
            head: true,
            cell: ({ at, click_id }) => (
              <>
                <When at={at} />
                <span class="sub">
                  <code>{click_id}</code>
                </span>
              </>
            ),
          },
          {
            title: t('common.partner'),
            cell: ({ affiliate, link, campaign_id }) => (
              <>
                <Explored of="affiliate" value={affiliate} name={names.get(affiliate)} />
                <span class="sub">
                  <Explored of="link" value={link} name={names.get(link)} />
                </span>
                <span class="sub">{names.get(campaign_id) ?? campaign_id}</span>
              </>
            ),
          },
          {
            title: t('common.address'),
            cell: ({ ip, subnet, asn, organisation, country }) => (
              <>
                {cellOf('ip', ip)}
                <span class="sub">{cellOf('subnet', subnet)}</span>
                {asn !== null && (
                  <span class="sub">
                    <Explored of="asn" value={asn} /> {organisation}
                  </span>
                )}
                {country !== '' && <span class="sub">{country}</span>}
              </>
            ),
          },
          {
            title: t('explorer.browser'),
            cell: ({ fingerprint, user_agent, referrer }) => (
              <>
                {cellOf('fingerprint', fingerprint)}
                <span class="sub">{user_agent}</span>
                {referrer !== '' && <span class="sub">{t('explorer.from_page', { page: referrer })}</span>}
              </>
            ),
          },
          {
            title: t('explorer.flags'),
            cell: ({ flags }) => (flags.length === 0 ? '–' : listed(flags.map(flagText))),
          },
        ]}
      />
    </Card>
  );
}

function flagText(flag: string): string {
  return words(flag).toLowerCase();
}

export function Orders({ of, value }: Of) {
  const names = useNames();
  const path = { key: of, value };
  const list = useList<Order>(
    (query, signal) => api.GET('/v1/explorer/{key}/{value}/orders', { params: { path, query }, signal }),
    { prefix: 'orders_', pageRows: PAGE_ROWS },
  );
  return (
    <Card
      title={t('common.orders')}
      note={
        <>
          {t('explorer.newest_first_zone', { zone: ZONE_NAME })}{' '}
          {of === 'fingerprint' && t('explorer.orders_of_the_shop')} <OrdersTo at={list.ordersCompleteTo} />
        </>
      }
    >
      <ListTable
        label={t('common.orders')}
        list={list}
        rowKey={({ conversion_id }) => conversion_id}
        empty={<Empty title={t('explorer.no_orders')} />}
        columns={[
          {
            title: t('common.order'),
            head: true,
            cell: ({ order_id, at }) => (
              <>
                <Link to={`/conversions?search=${encodeURIComponent(order_id)}`}>{order_id}</Link>
                <span class="sub">
                  <When at={at} />
                </span>
              </>
            ),
          },
          { title: t('common.amount'), numeric: true, cell: ({ amount }) => <Amount money={amount} /> },
          {
            title: t('common.status'),
            cell: ({ state, reason }) => (
              <>
                <Status of={state} />
                {reason !== null && <span class="sub">{reasonText(reason)}</span>}
              </>
            ),
          },
          {
            title: t('common.partner'),
            cell: ({ affiliate }) =>
              cellOf('affiliate', affiliate, affiliate === null ? undefined : names.get(affiliate)),
          },
          {
            title: t('common.customer'),
            cell: ({ customers }) =>
              customers.length === 0
                ? cellOf('customer', null)
                : customers.map((customer) => <div key={customer}>{cellOf('customer', customer)}</div>),
          },
          {
            title: t('common.address'),
            cell: ({ ip, subnet, fingerprint }) => (
              <>
                {ip === null ? cellOf('subnet', subnet) : cellOf('ip', ip)}
                {fingerprint !== null && <span class="sub">{cellOf('fingerprint', fingerprint)}</span>}
              </>
            ),
          },
        ]}
      />
    </Card>
  );
}
