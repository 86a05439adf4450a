import { createHash, randomUUID } from 'node:crypto';
import { applicationUrl } from '../../core/login.ts';
import { createLogger } from '../../core/service/log.ts';
import { recordConversion } from '../../ledger/conversions/conversions.ts';
import { recordDecisions } from '../../ledger/decisions/decisions.ts';
import { forgetPostbackCalls } from '../../ledger/integrations/postback-calls.ts';
import { connectDatabase, connectOwner, type Database, inTransaction } from '../../ledger/postgres/db.ts';
import { migrateLedger } from '../../ledger/postgres/migrate.ts';
import { createAffiliate } from '../../ledger/programs/affiliates.ts';
import { createCampaign } from '../../ledger/programs/campaigns.ts';
import { createLink } from '../../ledger/programs/links.ts';
import { createProgram } from '../../ledger/programs/programs.ts';
import { setTerms } from '../../ledger/programs/terms.ts';
import { cpuMs } from '../attribution/record.ts';
import { type BenchRow, report, round } from '../bench.ts';
import { carryOut, type Run } from '../ending.ts';
import { ownEngines } from '../engines.ts';
import { APP_PASSWORD } from '../login.ts';
import { readOptions, whole } from '../options.ts';

/**
 * `npm run bench:ledger-size`: what an order costs PostgreSQL in a ledger of N orders beside one of a hundredth of them, in
 * turns; how deep its indexes are and how long a vacuum takes; and what it costs to forget a day of 90 days of calls.
 */

/** The large ledger has so many times the orders of the small one. */
const RATIO = 100;
/** Orders of one side before the other has its turn. */
const TURN = 100;
const { values } = readOptions({ orders: whole(5_000_000, RATIO), samples: whole(2_000) });
const ORDERS = values.orders;
const SAMPLES = Math.ceil(values.samples / TURN) * TURN;
/** Calls of the log, in days. */
const CALL_DAYS = 91;
/** Ids of copies are this far apart: a table has fewer rows of one order. */
const STRIDE = 10;

const log = createLogger({ name: 'bench', level: 'warn' });
const SETTINGS = { fsync: 'off', maintenance_work_mem: '512MB', max_wal_size: '16GB', shared_buffers: '1GB' };

await carryOut(main);

interface Ledger {
  readonly owner: Database;
  readonly app: Database;
  readonly orders: number;
  credit(): Promise<void>;
}

async function openLedger(serverUrl: string, name: string, orders: number): Promise<Ledger> {
  const url = new URL(serverUrl);
  if (name !== 'small') {
    const first = await connectOwner({ url: url.href, name: 'bench' });
    await first.unsafe(`create database ${name}`);
    await first.end();
  }
  url.pathname = `/${name}`;
  await migrateLedger({ url: url.href, log, appPassword: APP_PASSWORD });
  const owner = await connectOwner({ url: url.href, name: 'bench' });
  const app = await connectDatabase({ url: applicationUrl(url.href, APP_PASSWORD), max: 1, name: 'bench' });
  const credit = await prepareOrders(app);
  await credit();
  await fill(owner, orders);
  return { owner, app, orders, credit };
}

/** A program, and what records an order of it and credits it at one level. */
async function prepareOrders(app: Database): Promise<() => Promise<void>> {
  const { id: programId } = await createProgram(app, { name: 'Shop', currency: 'EUR' });
  const campaign = { programId, name: 'Spring', landingUrl: 'https://shop.example/' };
  const { id: campaignId } = await createCampaign(app, campaign);
  const { id: affiliateId } = await createAffiliate(app, {
    programId,
    name: 'Ann',
    parentId: null,
    refCode: 'ann',
    email: 'ann@example.com',
    status: 'active',
  });
  const { id: linkId } = await createLink(app, { campaignId, affiliateId, landingUrl: campaign.landingUrl });
  const { id: termsId } = await setTerms(app, { programId, levelRatesBps: [] });
  return async () => {
    const orderId = randomUUID();
    const order = { programId, orderId, amountMinor: 10_000n, currency: 'EUR', source: 'api' as const };
    const { conversion } = await recordConversion(app, { ...order, customerId: orderId.slice(0, 6) });
    const seq = createHash('sha256').update(orderId).digest().readUInt32BE(0);
    const click = {
      ts: Date.now() - 60_000,
      node: 1,
      seq,
      ip: '203.0.113.7',
      linkId,
      campaignId,
      affiliateId,
    };
    await inTransaction(app, async (tx) => {
      const of = { conversionId: conversion.id, outcome: 'attributed' as const, reason: null };
      await recordDecisions(tx, [{ ...of, evidence: { test: true }, termsId, now: new Date(), click }]);
    });
  };
}

/** Copies the one order that is there, with its rows of the books, and a call for each. */
async function fill(owner: Database, orders: number): Promise<void> {
  await owner.unsafe(`
    insert into postback_calls (request_id, via, program_id, params, outcome, status, order_id, conversion_id, received_at)
    select 'r', 'postback', program_id, '{"order_id": "1234567890", "amount": "100.00", "currency": "EUR"}', 'accepted', 201,
      order_id, id, clock_timestamp() from conversions`);
  const session = await owner.reserve();
  await session.unsafe(`set session_replication_role = replica; set synchronous_commit = off`);
  for (const table of [
    'conversions',
    'commissions',
    'commission_lines',
    'journals',
    'entries',
    'postback_calls',
  ]) {
    const began = Date.now();
    const indexes = await session<{ name: string; definition: string }[]>`
      select i.indexrelid::regclass::text as name, pg_get_indexdef(i.indexrelid) as definition from pg_index i
      where indrelid = ${table}::regclass and not exists (select from pg_constraint where conindid = i.indexrelid)`;
    for (const { name } of indexes) await session.unsafe(`drop index ${name}`);
    const columns = await session<{ name: string; type: string }[]>`
      select column_name as name, data_type as type from information_schema.columns
      where table_name = ${table} and table_schema = 'public' and is_generated = 'NEVER' order by ordinal_position`;
    const list = columns.map(({ name }) => `"${name}"`).join(', ');
    const copies = columns.map(({ name, type }) => copied(name, type, orders)).join(', ');
    await session.unsafe(`insert into ${table} (${list}) overriding system value
      select ${copies} from (select * from ${table}) t cross join generate_series(1, ${orders}) i`);
    await session.unsafe(
      `select setval(pg_get_serial_sequence('${table}', 'id'), (select max(id) from ${table}))`,
    );
    for (const { definition } of indexes) await session.unsafe(definition);
    log.warn({ table, orders, seconds: (Date.now() - began) / 1_000 }, 'filled');
  }
  session.release();
  await owner.unsafe('vacuum (freeze, analyze)');
  await owner.unsafe('checkpoint');
}

/** A column of copy `i` of the row `t`. */
function copied(name: string, type: string, orders: number): string {
  if (['id', 'conversion_id', 'commission_id', 'journal_id'].includes(name))
    return `t.${name} + i * ${STRIDE}`;
  if (name === 'order_id') return 'md5(i::text)';
  if (name === 'customer_id') return 'left(md5(i::text), 6)';
  if (name === 'idempotency_key') return `t.${name} || ':' || i`;
  if (name === 'click_seq') return `(hashint8(i)::bigint & 4294967295)`;
  if (type.startsWith('timestamp')) return `t.${name} - interval '${CALL_DAYS} days' * (1 - i / ${orders}.0)`;
  return `t.${name}`;
}

interface Cost {
  /** PostgreSQL's processor time of an order. */
  readonly microseconds: number;
  /** Pages of 8 KiB that an order touches, in memory or not. */
  readonly pages: number;
}

/** What an order costs, of all ledgers in turns. */
async function compare(of: readonly Ledger[]): Promise<Cost[]> {
  const sums = of.map(() => ({ ms: 0, pages: 0n }));
  for (let done = 0; done < SAMPLES; done += TURN) {
    for (const [at, ledger] of of.entries()) {
      const before = await usage(ledger);
      for (let i = 0; i < TURN; i++) await ledger.credit();
      const after = await usage(ledger);
      const sum = sums[at];
      if (!sum) continue;
      sum.ms += after.ms - before.ms;
      sum.pages += after.pages - before.pages;
    }
  }
  return sums.map(({ ms, pages }) => ({
    microseconds: (ms * 1_000) / SAMPLES,
    pages: Number(pages) / SAMPLES,
  }));
}

async function usage({ app }: Ledger): Promise<{ ms: number; pages: bigint }> {
  const [row] = await app<{ pid: number; pages: bigint }[]>`
    select pg_backend_pid() as pid, blks_read + blks_hit as pages, pg_stat_force_next_flush() is null as flushed
    from pg_stat_database where datname = current_database()`;
  return { ms: cpuMs([row?.pid ?? 0]), pages: row?.pages ?? 0n };
}

/** Gigabytes with indexes, and the levels of the deepest index. */
async function sizes(owner: Database): Promise<{ gigabytes: number; rows: number; levels: number }> {
  const [row] = await owner<{ bytes: bigint; rows: bigint }[]>`
    select sum(pg_total_relation_size(oid))::bigint as bytes, sum(reltuples)::bigint as rows
    from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace`;
  const [largest] = await owner<{ bytes: bigint }[]>`
    select max(pg_relation_size(indexrelid)) as bytes from pg_stat_user_indexes`;
  const pages = Number(largest?.bytes ?? 0n) / 8_192;
  // A page of a B-tree has a hundred entries or more.
  return {
    gigabytes: Number(row?.bytes ?? 0n) / 1e9,
    rows: Number(row?.rows ?? 0n),
    levels: Math.ceil(Math.log(pages) / Math.log(100)),
  };
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const began = Date.now();
  await work();
  return (Date.now() - began) / 1_000;
}

/** Forgets the oldest day three times over, with the vacuum that follows by itself otherwise. */
async function forgetDays({ owner, app }: Ledger): Promise<BenchRow> {
  const size = async () => {
    const [row] = await owner<{ bytes: bigint }[]>`select pg_total_relation_size('postback_calls') as bytes`;
    return Number(row?.bytes ?? 0n) / 1e6;
  };
  const before = await size();
  const forgotten: number[] = [];
  const vacuumed: number[] = [];
  for (let day = 0; day < 3; day++) {
    const age = (CALL_DAYS - 1 - day) * 86_400_000;
    forgotten.push(await seconds(() => forgetPostbackCalls(app, { before: new Date(Date.now() - age) })));
    vacuumed.push(await seconds(() => owner.unsafe('vacuum postback_calls')));
    // As many come as have gone.
    await owner.unsafe(`insert into postback_calls (request_id, via, program_id, params, outcome, status, order_id)
      select 'r', 'postback', 1, '{"order_id": "1234567890", "amount": "100.00", "currency": "EUR"}', 'accepted', 201,
        md5(random()::text) from generate_series(1, ${Math.round(ORDERS / CALL_DAYS)})`);
  }
  return {
    calls: ORDERS,
    'calls a day': Math.round(ORDERS / CALL_DAYS),
    'forget a day s': round(Math.max(...forgotten)),
    'vacuum s': round(Math.max(...vacuumed)),
    'MB before': round(before),
    'MB after 3 days': round(await size()),
  };
}

async function main(run: Run): Promise<void> {
  const engines = ownEngines(run, { folder: run.makeFolder('afflux-ledger-size-'), log });
  const { url } = await engines.postgres({ database: 'small', settings: SETTINGS });
  const small = await openLedger(url, 'small', Math.ceil(ORDERS / RATIO));
  const large = await openLedger(url, 'large', ORDERS);
  const ledgers = [small, large];
  const costs = await compare(ledgers);
  const rows: BenchRow[] = [];
  for (const [at, ledger] of ledgers.entries()) {
    const { gigabytes, rows: count, levels } = await sizes(ledger.owner);
    rows.push({
      orders: ledger.orders,
      rows: count,
      GB: round(gigabytes),
      'index levels': levels,
      'CPU µs an order': round(costs[at]?.microseconds ?? Number.NaN),
      'pages an order': round(costs[at]?.pages ?? Number.NaN),
      'vacuum conversions s': round(await seconds(() => ledger.owner.unsafe('vacuum conversions'))),
      'vacuum entries s': round(await seconds(() => ledger.owner.unsafe('vacuum entries'))),
    });
  }
  rows.push(await forgetDays(large));
  for (const { owner, app } of ledgers) await Promise.all([owner.end(), app.end()]);
  report({
    name: 'ledger-size',
    versions: { postgres: '18' },
    rows,
    targets: [],
    notes: ['Orders one by one over one connection, of both ledgers in turns of 100; fsync off.'],
  });
}
