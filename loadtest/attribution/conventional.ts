import { APP_ROLE } from '../../core/login.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import { AFFILIATES, type BenchOrder, type BenchProgram } from './data.ts';

/**
 * The conventional design, for comparison: one row a click in PostgreSQL, and for each order the queries one by one, each
 * committed on its own, floats rounded per level, as web frameworks do it by default.
 */

const SCHEMA = `
  create table conventional_affiliates (
    id uuid primary key default gen_random_uuid(), n integer unique not null, parent integer,
    status varchar(20) not null default 'active', commission_rate numeric(5,2) not null default 10,
    cookie_days integer not null default 30, hold_days integer not null default 30);
  create table conventional_clicks (
    id uuid primary key, affiliate_id uuid not null references conventional_affiliates(id), ip inet, user_agent text,
    referrer varchar(500), fingerprint varchar(64), created_at timestamptz not null);
  create index on conventional_clicks (affiliate_id, created_at desc);
  create table conventional_conversions (
    id uuid primary key default gen_random_uuid(), affiliate_id uuid not null references conventional_affiliates(id),
    click_id uuid references conventional_clicks(id), order_id uuid, order_amount numeric(15,2),
    commission numeric(15,2) not null, status varchar(20) not null default 'pending', rejection_reason varchar(200),
    hold_days integer not null default 30, available_at date, created_at timestamptz not null default now());`;

/** A click's id as a UUID that its number gives. */
const uuidOf = (n: number): string => `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`;

export async function prepareConventional(
  owner: Database,
  program: BenchProgram,
  options: { clicks: number; progress: (done: number) => void },
): Promise<void> {
  const STEP = 500_000;
  const { clicks, progress } = options;
  await owner.unsafe(SCHEMA);
  await owner.unsafe(
    `grant all on conventional_affiliates, conventional_clicks, conventional_conversions to ${APP_ROLE}`,
  );
  const third = Math.floor(AFFILIATES / 3);
  await owner`
    insert into conventional_affiliates (n, parent)
    select i, case when i >= ${third} then i - ${third} end from generate_series(0, ${AFFILIATES - 1}) as i`;
  // As a load does that has to be quick: keys are checked, foreign keys are not.
  await owner`set session_replication_role = replica`;
  for (let from = 0; from < clicks; from += STEP) {
    const to = Math.min(from + STEP, clicks);
    await owner`
      insert into conventional_clicks (id, affiliate_id, ip, user_agent, referrer, fingerprint, created_at)
      select ('00000000-0000-4000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, a.id,
        ('10.' || (i * 7919 % 256) || '.' || (i * 104729 % 256) || '.' || i % 256)::inet,
        'Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/145.0', '', md5((i % 5000)::text),
        to_timestamp((${program.startMs}::bigint + i * ${program.stepMs}::bigint) / 1000.0)
      from generate_series(${from}::bigint, ${to - 1}::bigint) as i
      join conventional_affiliates a on a.n = ${2 * third} + i % ${AFFILIATES - 2 * third}`;
    progress(to);
  }
  await owner`set session_replication_role = default`;
  await owner`analyze conventional_clicks`;
}

interface StoredClick {
  readonly id: string;
  readonly affiliateId: string;
  readonly ip: string;
  readonly createdAt: Date;
}

interface StoredAffiliate {
  readonly id: string;
  readonly cookieDays: number;
  readonly holdDays: number;
  readonly commissionRate: string;
  readonly parent: number | null;
}

const RATES: Readonly<Record<number, number>> = { 2: 3, 3: 1 };

/** Records and attributes one order. */
async function attribute(sql: Database, order: BenchOrder): Promise<void> {
  const [click] = await sql<
    StoredClick[]
  >`select * from conventional_clicks where id = ${uuidOf(order.click)}`;
  if (!click) throw new Error('a click is there');
  const [affiliate] = await sql<
    StoredAffiliate[]
  >`select * from conventional_affiliates where id = ${click.affiliateId}`;
  if (!affiliate || Date.now() - click.createdAt.getTime() > affiliate.cookieDays * 86_400_000) return;
  const amount = Number(order.amountMinor) / 100;
  const commission = Math.round(amount * Number(affiliate.commissionRate)) / 100;
  const availableAt = new Date(Date.now() + affiliate.holdDays * 86_400_000);
  const [conversion] = await sql<[{ id: string }]>`
    insert into conventional_conversions (affiliate_id, click_id, order_amount, commission, available_at)
    values (${affiliate.id}, ${click.id}, ${amount}, ${commission}, ${availableAt}) returning id`;
  const [recent] = await sql`
    select count(*) from conventional_conversions v join conventional_clicks c on c.id = v.click_id
    where c.ip = ${click.ip} and v.created_at >= now() - interval '1 hour'`;
  if (Number(recent?.count) > 10)
    await sql`update conventional_conversions set status = 'rejected' where id = ${conversion.id}`;
  let parent: number | null = affiliate.parent;
  for (let level = 2; level <= 3 && parent !== null; level++) {
    const [above] = await sql<StoredAffiliate[]>`select * from conventional_affiliates where n = ${parent}`;
    if (!above) return;
    await sql`
      insert into conventional_conversions (affiliate_id, order_amount, commission, available_at)
      values (${above.id}, ${amount}, ${Math.round(amount * (RATES[level] ?? 0)) / 100}, ${availableAt})`;
    parent = above.parent;
  }
}

/** Attributes the orders with so many connections at once; returns orders a second. Ends early after `maxMs`. */
export async function runConventional(
  sql: Database,
  options: { orders: readonly BenchOrder[]; connections: number; maxMs: number },
): Promise<{ orders: number; perSecond: number }> {
  const { orders, connections, maxMs } = options;
  const startedAt = performance.now();
  let next = 0;
  let done = 0;
  await Promise.all(
    Array.from({ length: connections }, async () => {
      for (let order = orders[next++]; order; order = orders[next++]) {
        if (performance.now() - startedAt > maxMs) return;
        await attribute(sql, order);
        done++;
      }
    }),
  );
  return { orders: done, perSecond: (done * 1_000) / (performance.now() - startedAt) };
}
