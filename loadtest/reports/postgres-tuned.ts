import type { Postgres } from '../../core/postgres/postgres.ts';
import type { Span } from './conventional-rows.ts';
import { postgresStore } from './postgres-side.ts';
import type { Store } from './questions.ts';

/** The same rows as somebody keeps them who knows PostgreSQL and these questions. */

const CLICKS = `
  create table clicks (
    id uuid not null,
    affiliate_id uuid not null,
    link_id uuid,
    campaign_id integer not null,
    ip inet,
    user_agent text,
    referrer varchar(500),
    fingerprint varchar(64),
    created_at timestamptz not null
  ) partition by range (created_at)`;

const MOVE = `
  insert into clicks
  select c.id, c.affiliate_id, link_id, substr(l.campaign_name, length('Campaign ') + 1)::integer,
    ip, user_agent, referrer, fingerprint, c.created_at
  from affiliate_clicks c join affiliate_links l on l.id = c.link_id`;

/**
 * Clicks arrive in order of time, so a BRIN finds a span in a few pages. The others hold all that their question reads,
 * and VACUUM makes them enough without the table.
 */
const INDEXES = [
  'create unique index on clicks (id, created_at)',
  'create index on clicks using brin (created_at) with (pages_per_range = 32)',
  'create index on clicks (campaign_id, created_at)',
  'create index on clicks (ip, created_at)',
  'create index on clicks (fingerprint, created_at)',
];

/** Moves the clicks of the conventional tables, which are gone afterwards, into partitions of a week. */
export async function tunedStore(sql: Postgres, name: string, weeks: readonly Span[]): Promise<Store> {
  const partitions = weeks.map(
    ({ from, to }, i) => `create table clicks_${i} partition of clicks
      for values from ('${from.toISOString()}') to ('${to.toISOString()}')`,
  );
  // One transaction: a table that it makes needs no log.
  await sql.begin(async (tx) => {
    for (const statement of [CLICKS, ...partitions, MOVE, 'drop table affiliate_clicks'])
      await tx.unsafe(statement);
  });
  for (const index of INDEXES) await sql.unsafe(index);
  await sql.unsafe('vacuum (freeze, analyze) clicks');
  const [size] = await sql`
    select sum(pg_total_relation_size(inhrelid))::float8 as bytes from pg_inherits where inhparent = 'clicks'::regclass`;
  return postgresStore(sql, {
    name,
    bytes: Number(size?.bytes),
    table: sql`clicks`,
    ofCampaign: (campaign) => sql`campaign_id = ${campaign}`,
  });
}
