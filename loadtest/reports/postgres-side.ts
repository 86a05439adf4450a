import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import type { Postgres } from '../../core/postgres/postgres.ts';
import type { Fragment } from '../../core/postgres/sql.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';
import { CONVENTIONAL_SCHEMA } from '../peers/conventional-schema.ts';
import type { Answer, Asked, Store } from './questions.ts';

/** The conventional design's tables in PostgreSQL with the clicks of a warehouse. */

/** Ids of the design are UUIDs: those of a number, the same on both sides. */
const UUID_OF = (column: string): string =>
  `concat('00000000-0000-4000-8000-', leftPad(lower(hex(${column})), 12, '0'))`;
/** The design keeps 32 hexadecimal digits of the hash of which the warehouse keeps 16. */
const FINGERPRINT = (digits: string): string => `concat(${digits}, ${digits})`;

const CLICKS = `SELECT ${UUID_OF('affiliate_id')}, ${UUID_OF('link_id')},
    replaceRegexpOne(IPv6NumToString(ip), '^::ffff:', ''), user_agent, referrer,
    ${FINGERPRINT("leftPad(lower(hex(fingerprint)), 16, '0')")},
    formatDateTime(ts, '%Y-%m-%d %H:%i:%S.%f+00')
  FROM clicks`;
const LINKS = `SELECT DISTINCT ${UUID_OF('link_id')}, ${UUID_OF('affiliate_id')}, concat('Campaign ', toString(campaign_id)),
    concat('https://shop.example/landing/', toString(campaign_id)) FROM clicks`;
const AFFILIATES = `SELECT DISTINCT ${UUID_OF('affiliate_id')}, ${UUID_OF('affiliate_id')},
    concat('a', toString(affiliate_id)), 'active' FROM clicks`;
const USERS = `SELECT DISTINCT ${UUID_OF('affiliate_id')} FROM clicks`;

/** The indexes of the clicks' table as published, made after the load as every bulk load does. */
const PRIMARY_KEY = 'alter table affiliate_clicks add primary key (id)';
const DATE_INDEX =
  'create index idx_affiliate_clicks_date on affiliate_clicks (affiliate_id, created_at desc)';

/** What somebody adds who sees these questions take seconds. */
const MORE_INDEXES = [
  'create index on affiliate_clicks (link_id, created_at)',
  'create index on affiliate_clicks (ip, created_at)',
  'create index on affiliate_clicks (fingerprint, created_at)',
];

export async function loadConventional(url: string, sql: Postgres, warehouse: Warehouse): Promise<void> {
  await sql.unsafe(CONVENTIONAL_SCHEMA);
  await sql.unsafe(
    'alter table affiliate_clicks drop constraint affiliate_clicks_pkey; drop index idx_affiliate_clicks_date',
  );
  const client = new pg.Client(url);
  await client.connect();
  // Foreign keys hold by the way the rows are made; checking each would only take longer.
  await client.query('set session_replication_role = replica');
  await copy(client, warehouse, 'users (id)', USERS);
  await copy(client, warehouse, 'affiliates (id, user_id, ref_code, status)', AFFILIATES);
  await copy(client, warehouse, 'affiliate_links (id, affiliate_id, campaign_name, landing_url)', LINKS);
  const columns = 'affiliate_id, link_id, ip, user_agent, referrer, fingerprint, created_at';
  await copy(client, warehouse, `affiliate_clicks (${columns})`, CLICKS);
  await client.end();
  await sql.unsafe(PRIMARY_KEY);
  await sql.unsafe(DATE_INDEX);
  await vacuum(sql);
}

export async function addIndexes(sql: Postgres): Promise<void> {
  for (const index of MORE_INDEXES) await sql.unsafe(index);
  await vacuum(sql);
}

async function copy(client: pg.Client, warehouse: Warehouse, target: string, select: string): Promise<void> {
  const rows = await warehouse.stream(select, { format: 'TabSeparated' });
  await pipeline(rows, client.query(copyFrom(`copy ${target} from stdin`)));
}

async function vacuum(sql: Postgres): Promise<void> {
  for (const table of ['affiliates', 'affiliate_links', 'affiliate_clicks'])
    await sql.unsafe(`vacuum (analyze) ${table}`);
}

export async function conventionalStore(sql: Postgres, name: string): Promise<Store> {
  const [size] = await sql`select pg_total_relation_size('affiliate_clicks')::float8 as bytes`;
  return {
    name,
    bytes: Number(size?.bytes),
    async clicksByHour({ campaign, from, to }) {
      const rows = await sql`
        select date_trunc('hour', c.created_at) as hour, count(*)::int as clicks
        from affiliate_clicks c join affiliate_links l on l.id = c.link_id
        where l.campaign_name = ${`Campaign ${campaign}`} and c.created_at >= ${from} and c.created_at < ${to}
        group by 1 order by 1`;
      return rows.map(({ hour, clicks }): [string, number] => [
        (hour as Date).toISOString().replace('.000Z', 'Z'),
        Number(clicks),
      ]);
    },
    clicksOfIp: ({ ip, now }) => recent(sql, now, sql`ip = ${ip}`),
    clicksOfFingerprint({ fingerprint, now }) {
      const digits = BigInt(fingerprint).toString(16).padStart(16, '0');
      return recent(sql, now, sql`fingerprint = ${digits + digits}`);
    },
  };
}

/** Clicks of the last 5 minutes, hour and day. */
async function recent(sql: Postgres, now: Asked['now'], who: Fragment): Promise<Answer> {
  const [row] = await sql`
    select count(*) filter (where created_at >= ${now}::timestamptz - interval '5 minutes')::int as m5,
      count(*) filter (where created_at >= ${now}::timestamptz - interval '1 hour')::int as m60,
      count(*)::int as h24
    from affiliate_clicks
    where ${who} and created_at >= ${now}::timestamptz - interval '24 hours' and created_at <= ${now}`;
  return [
    ['5 minutes', Number(row?.m5)],
    ['1 hour', Number(row?.m60)],
    ['24 hours', Number(row?.h24)],
  ];
}
