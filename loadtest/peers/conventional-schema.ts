import { openPostgres } from '../../core/postgres/postgres.ts';
import type { BenchLink } from '../collector/links.ts';

/**
 * The conventional design's tables for clicks: types, keys and indexes as such designs are published. `affiliates.ref_code`
 * is the code of a link; an index that finds a link by its affiliate is added in the design's favour.
 */
export const CONVENTIONAL_SCHEMA = `
  create table users (id uuid primary key default gen_random_uuid());
  create table affiliates (
    id uuid primary key default gen_random_uuid(),
    user_id uuid unique not null references users(id),
    ref_code varchar(20) unique not null,
    status varchar(20) not null default 'pending'
      check (status in ('pending','active','suspended','terminated')),
    commission_rate numeric(5,2) not null default 10,
    commission_type varchar(20) not null default 'percent'
      check (commission_type in ('percent','fixed','hybrid')),
    fixed_amount numeric(12,2),
    cookie_days integer not null default 30,
    payout_min numeric(12,2) not null default 1000,
    approved_at timestamptz,
    created_at timestamptz not null default now());
  create table affiliate_links (
    id uuid primary key default gen_random_uuid(),
    affiliate_id uuid not null references affiliates(id),
    campaign_name varchar(200),
    landing_url varchar(500) not null,
    params jsonb default '{}',
    created_at timestamptz not null default now());
  create index on affiliate_links (affiliate_id);
  create table affiliate_clicks (
    id uuid primary key default gen_random_uuid(),
    affiliate_id uuid not null references affiliates(id),
    link_id uuid references affiliate_links(id),
    ip inet,
    user_agent text,
    referrer varchar(500),
    fingerprint varchar(64),
    created_at timestamptz not null default now());
  create index idx_affiliate_clicks_date on affiliate_clicks (affiliate_id, created_at desc);`;

/** Makes the tables and one affiliate a link. */
export async function createConventionalLinks(
  databaseUrl: string,
  links: readonly BenchLink[],
): Promise<void> {
  const sql = openPostgres({ url: databaseUrl, max: 1, name: 'bench', as: 'owner' });
  await sql.unsafe(CONVENTIONAL_SCHEMA);
  const codes = links.map(({ code }) => code);
  const landings = links.map(({ landingUrl }) => landingUrl);
  await sql`with person as (insert into users select from generate_series(1, ${links.length}::int) returning id),
    numbered as (select id, row_number() over () as n from person)
    insert into affiliates (user_id, ref_code, status)
    select id, (${codes}::text[])[n], 'active' from numbered`;
  await sql`insert into affiliate_links (affiliate_id, campaign_name, landing_url)
    select a.id, 'Campaign ' || n % 100, link.landing_url
    from unnest(${codes}::text[], ${landings}::text[]) with ordinality as link (code, landing_url, n)
    join affiliates a on a.ref_code = link.code`;
  await sql.unsafe('analyze affiliates; analyze affiliate_links');
  await sql.end();
}
