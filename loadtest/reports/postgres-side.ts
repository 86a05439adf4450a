import { totalmem } from 'node:os';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import type { Postgres } from '../../core/postgres/postgres.ts';
import type { Fragment } from '../../core/postgres/sql.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';
import { CONVENTIONAL_SCHEMA } from '../peers/conventional-schema.ts';
import {
  AFFILIATES,
  CLICK_COLUMNS,
  fingerprintOf,
  LINKS,
  type Span,
  selectClicks,
  USERS,
} from './conventional-rows.ts';
import type { Answer, Asked, Store } from './questions.ts';

/** The conventional design's tables in PostgreSQL with the clicks of a warehouse. */

const MEGABYTE = 1024 ** 2;
/** Of the machine's memory, as PostgreSQL's manual advises a server that works on reports. */
const memory = (share: number): string => `${Math.floor((totalmem() * share) / MEGABYTE)}MB`;

/** Of the server, for each of its designs. */
export const POSTGRES_SETTINGS = {
  shared_buffers: memory(1 / 4),
  effective_cache_size: memory(5 / 8),
  work_mem: '128MB',
  maintenance_work_mem: '1GB',
  // One for each core beside the session's own process.
  max_parallel_workers_per_gather: '2',
  max_parallel_maintenance_workers: '2',
  // A solid-state disk with most of it in memory.
  random_page_cost: '1.1',
  // Campaigns differ in size by a thousand times: a plan for the values asked, not one for all.
  plan_cache_mode: 'force_custom_plan',
  max_wal_size: '16GB',
  // What is loaded here needs no log: it halves the time and the disk of the load.
  wal_level: 'minimal',
  max_wal_senders: '0',
};

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

export async function loadConventional(
  url: string,
  sql: Postgres,
  { warehouse, days }: { warehouse: Warehouse; days: readonly Span[] },
): Promise<void> {
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
  // A table that is emptied in the transaction that fills it needs no log.
  await client.query('begin; truncate affiliate_clicks');
  for (const day of days) {
    const clicks = selectClicks(day, "formatDateTime(ts, '%Y-%m-%d %H:%i:%S.%f+00')");
    await copy(client, warehouse, `affiliate_clicks (${CLICK_COLUMNS})`, clicks);
  }
  await client.query('commit');
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
  return postgresStore(sql, {
    name,
    bytes: Number(size?.bytes),
    table: sql`affiliate_clicks`,
    ofCampaign: (campaign) => sql`link_id in
      (select id from affiliate_links where campaign_name = ${`Campaign ${campaign}`})`,
  });
}

/** The questions to a table of clicks in PostgreSQL. */
export function postgresStore(
  sql: Postgres,
  options: { name: string; bytes: number; table: Fragment; ofCampaign: (campaign: number) => Fragment },
): Store {
  const { name, bytes, table, ofCampaign } = options;
  const recent = (now: Asked['now'], who: Fragment): Promise<Answer> => clicksOf(sql, { table, now, who });
  return {
    name,
    bytes,
    select1: async () => await sql`select 1`,
    async clicksByHour({ campaign, from, to }) {
      const rows = await sql`
        select date_trunc('hour', created_at) as hour, count(*)::int as clicks
        from ${table} where ${ofCampaign(campaign)} and created_at >= ${from} and created_at < ${to}
        group by 1 order by 1`;
      return rows.map(({ hour, clicks }): [string, number] => [
        (hour as Date).toISOString().replace('.000Z', 'Z'),
        Number(clicks),
      ]);
    },
    async clicksByDay({ from, to }) {
      const rows = await sql`
        select date_trunc('day', created_at) as day, count(*)::int as clicks
        from ${table} where created_at >= ${from} and created_at < ${to} group by 1 order by 1`;
      return rows.map(({ day, clicks }): [string, number] => [
        (day as Date).toISOString().slice(0, 10),
        Number(clicks),
      ]);
    },
    clicksOfIp: ({ ip, now }) => recent(now, sql`ip = ${ip}`),
    clicksOfFingerprint: ({ fingerprint, now }) =>
      recent(now, sql`fingerprint = ${fingerprintOf(fingerprint)}`),
  };
}

/** Clicks of the last 5 minutes, hour and day. */
async function clicksOf(
  sql: Postgres,
  { table, now, who }: { table: Fragment; now: Asked['now']; who: Fragment },
): Promise<Answer> {
  const [row] = await sql`
    select count(*) filter (where created_at >= ${now}::timestamptz - interval '5 minutes')::int as m5,
      count(*) filter (where created_at >= ${now}::timestamptz - interval '1 hour')::int as m60,
      count(*)::int as h24
    from ${table}
    where ${who} and created_at >= ${now}::timestamptz - interval '24 hours' and created_at <= ${now}`;
  return [
    ['5 minutes', Number(row?.m5)],
    ['1 hour', Number(row?.m60)],
    ['24 hours', Number(row?.h24)],
  ];
}
