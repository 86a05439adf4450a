import { useParameter } from '../../app/router.tsx';
import { useSession } from '../../app/session.tsx';
import { api } from '../../data/api.ts';
import { useList } from '../../data/use-list.ts';
import { formatCount, formatShare, ZONE_NAME } from '../../text/format.ts';
import { t } from '../../text/t.ts';
import { Card, Empty, Page, When } from '../../ui/basics.tsx';
import { Explored } from '../../ui/explored.tsx';
import { Segments, Select } from '../../ui/forms.tsx';
import { CompleteTo, OrdersTo } from '../../ui/freshness.tsx';
import { ListTable } from '../../ui/table.tsx';
import { LookUp } from './explorer/look-up.tsx';
import { SharedAddresses } from './shared-addresses.tsx';

const KEYS = [
  { value: 'ip', text: t('common.address') },
  { value: 'subnet', text: t('explored.network') },
  { value: 'asn', text: t('explored.autonomous_system') },
  { value: 'fingerprint', text: t('explored.fingerprint') },
  { value: 'affiliate', text: t('common.partner') },
  { value: 'link', text: t('common.link') },
] as const;
type Key = (typeof KEYS)[number]['value'];
const DAY = '1440';
const WINDOWS = [
  { value: '5', text: t('velocity.5_minutes') },
  { value: '', text: t('velocity.1_hour') },
  { value: DAY, text: t('velocity.24_hours') },
] as const;
const SORTS = [
  { value: '', text: t('velocity.most_clicks') },
  { value: 'orders', text: t('velocity.most_orders') },
  { value: 'ratio', text: t('velocity.most_orders_per_click') },
  { value: 'first_seen', text: t('velocity.newest') },
] as const;
const FILTERS = ['minutes'] as const;
const EVERY_MS = 5_000;
/** A whole day takes longer to count, and changes less. */
const DAY_EVERY_MS = 60_000;

interface Row {
  readonly value: string;
  readonly name: string | null;
  readonly clicks: number;
  readonly orders: number;
  readonly ratio: number | null;
  readonly campaigns: number;
  readonly user_agents: number | null;
  readonly first_seen: string;
  readonly last_seen: string;
}

/** Who clicks and orders most, and who is new. */
export function VelocityPage() {
  const { user } = useSession();
  return (
    <Page
      title={t('common.velocity')}
      lead={user.program_id === null && t('velocity.addresses_are_of_all_programs')}
    >
      <LookUp />
      <Fastest />
      <SharedAddresses />
    </Page>
  );
}

function Fastest() {
  const [chosen, setKey] = useParameter('key', 'ip');
  const key = KEYS.find(({ value }) => value === chosen) ?? KEYS[0];
  const [minutes] = useParameter('minutes', '');
  const list = useList<Row>((query, signal) => api.GET('/v1/velocity', { params: { query }, signal }), {
    query: { key: key.value },
    filters: FILTERS,
    everyMs: minutes === DAY ? DAY_EVERY_MS : EVERY_MS,
  });
  const { selected, select } = list;
  return (
    <Card
      title={t('velocity.who_stands_out')}
      note={
        <>
          <CompleteTo at={list.completeTo} /> <OrdersTo at={list.ordersCompleteTo} />
        </>
      }
    >
      <div class="stack">
        {' '}
        <Segments label={t('common.by')} value={key.value} onChange={setKey} choices={KEYS} />
        <ListTable
          label={t('velocity.who_stands_out')}
          list={list}
          rowKey={({ value }) => value}
          tools={{
            search: t('velocity.beginning_of_an_address'),
            more: (
              <>
                <Select
                  label={t('velocity.first')}
                  value={selected.sort ?? ''}
                  onChange={(sort) => select({ sort })}
                  choices={SORTS}
                />
                <Select
                  label={t('common.within')}
                  value={selected.minutes ?? ''}
                  onChange={(minutes) => select({ minutes })}
                  choices={WINDOWS}
                />
              </>
            ),
          }}
          empty={<Empty title={t('velocity.no_results')}>{t('velocity.choose_a_longer_window')}</Empty>}
          columns={columnsOf(key.value, key.text)}
        />
      </div>{' '}
    </Card>
  );
}

function columnsOf(key: Key, title: string) {
  return [
    {
      title,
      head: true,
      cell: ({ value, name }: Row) => (
        <>
          <Explored of={key} value={value} name={key === 'asn' ? null : name} />
          {key === 'asn' && name !== null && <span class="sub">{name}</span>}
        </>
      ),
    },
    { title: t('common.clicks'), numeric: true, cell: ({ clicks }: Row) => formatCount(clicks) },
    { title: t('common.orders'), numeric: true, cell: ({ orders }: Row) => formatCount(orders) },
    {
      title: t('velocity.orders_per_click'),
      numeric: true,
      cell: ({ ratio }: Row) => formatShare(ratio ?? undefined),
    },
    { title: t('common.campaigns'), numeric: true, cell: ({ campaigns }: Row) => formatCount(campaigns) },
    {
      title: t('velocity.user_agents'),
      numeric: true,
      cell: ({ user_agents }: Row) => (user_agents === null ? '–' : formatCount(user_agents)),
    },
    {
      title: t('velocity.first_seen_zone', { zone: ZONE_NAME }),
      cell: ({ first_seen }: Row) => <When at={first_seen} />,
    },
    {
      title: t('velocity.last_seen_zone', { zone: ZONE_NAME }),
      cell: ({ last_seen }: Row) => <When at={last_seen} />,
    },
  ];
}
