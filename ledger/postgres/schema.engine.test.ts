import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLogger } from '../../core/service/log.ts';
import { freshPostgresDatabase } from '../../test/support/engines.ts';
import {
  createParties,
  creditOrder,
  freshLedger,
  type TestLedger,
  type TestParties,
} from '../../test/support/ledger.ts';
import { createApiKey, findApiKey, revokeApiKeys } from '../access/api-keys.ts';
import { CONVERSION_REASONS, CONVERSION_STATES } from '../conversions/conversions.ts';
import { answerAll } from '../payouts/provider.ts';
import { BANK_LIMITS } from '../payouts/providers/bank-csv.ts';
import { runPayouts } from '../payouts/run.ts';
import { AFFILIATE_STATUSES, createAffiliate } from '../programs/affiliates.ts';
import { connectDatabase, connectOwner, type Database } from './db.ts';
import { migrateLedger } from './migrate.ts';
import { dumpSchema } from './schema-dump.ts';

const log = createLogger({ name: 'test', level: 'warn' });

let db: TestLedger;
let parties: TestParties;
beforeAll(async () => {
  db = await freshLedger({ max: 4 });
  parties = await createParties(db.ledger);
  await creditOrder(db.ledger, parties, { amountMinor: 10_000n });
  await runPayouts(db.ledger, {
    actor: 'test',
    now: new Date(Date.now() + 1_000),
    provider: {
      name: 'test',
      limits: BANK_LIMITS,
      submit: async (batch) => answerAll(batch, { outcome: 'accepted' }),
    },
  });
});
afterAll(async () => await db.close());

describe('migrations', () => {
  test('give the committed schema', async () => {
    await expect(await dumpSchema(db.owner)).toMatchFileSnapshot('../schema.txt');
  });

  test('may be run by ten processes at once', async () => {
    const database = await freshPostgresDatabase();
    try {
      const runs = await Promise.all(
        Array.from({ length: 10 }, () => migrateLedger({ url: database.url, log })),
      );
      const files = (await readdir('ledger/migrations')).filter((name) => name.endsWith('.sql'));
      expect(runs.flatMap((run) => run.applied).sort()).toEqual(files.sort());
    } finally {
      await database.drop();
    }
  });

  test('wait for another process that migrates, and not for ever', async () => {
    const database = await freshPostgresDatabase();
    const rival = await connectOwner({ url: database.url, name: 'rival' });
    try {
      // The key of ledger/postgres/migrate.ts: "afflux".
      await rival`select pg_advisory_lock(${0x6166666c7578n})`;
      await expect(migrateLedger({ url: database.url, log, lockTimeoutMs: 100 })).rejects.toMatchObject({
        code: 'migration_locked',
        message: expect.stringContaining('another migration of the database'),
      });
      expect(await rival`select from pg_class where relname = 'schema_migrations'`).toHaveLength(0);
    } finally {
      await rival.end({ timeoutMs: 1_000 });
      await database.drop();
    }
  });

  test('that fail leave nothing behind and name their file', async () => {
    const database = await freshPostgresDatabase();
    const folder = await mkdtemp(join(tmpdir(), 'afflux-migrations-'));
    try {
      await writeFile(join(folder, '0001_broken.sql'), 'create table half (id integer); select 1/0;');
      const { url } = database;
      await expect(migrateLedger({ url, log, folder })).rejects.toMatchObject({
        code: 'migration_failed',
        message: '0001_broken.sql: division by zero',
      });
      await writeFile(join(folder, '0001_broken.sql'), 'create table half (id integer);');
      expect(await migrateLedger({ url, log, folder })).toEqual({ applied: ['0001_broken.sql'] });
    } finally {
      await rm(folder, { recursive: true });
      await database.drop();
    }
  });
});

describe('a connection', () => {
  test('names the setting to change when PostgreSQL is unavailable', async () => {
    const url = 'postgres://user:secret@127.0.0.1:9/none';
    await expect(connectDatabase({ url, max: 1, name: 'test' })).rejects.toMatchObject({
      code: 'postgres_unreachable',
      message: expect.stringMatching(
        /^cannot use PostgreSQL at 127\.0\.0\.1:9\/none: (?!.*secret).*DATABASE_URL$/,
      ),
    });
  });

  test('works under the role that owns nothing', async () => {
    const [row] = await db.ledger`
      select current_user as role, (select count(*) from pg_class where relowner = current_user::regrole) as owned`;
    expect(row).toEqual({ role: 'afflux_app', owned: 0n });
  });
});

test("what acts with the owner's rights is not for every login", async () => {
  // PostgreSQL lets everybody execute a function unless that is revoked; one that returns a trigger cannot be called.
  const open = await db.owner<{ name: string }[]>`
    select p.proname as name from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'public' and p.prosecdef and p.prorettype <> 'trigger'::regtype
      and exists (
        select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner)))
        where grantee = 0 and privilege_type = 'EXECUTE')
    order by 1`;
  expect(open.map(({ name }) => name)).toEqual([]);
});

const IMMUTABLE = [
  'journals',
  'entries',
  'commission_lines',
  'audit_log',
  'refunds',
  'terms',
  'payout_items',
];
const EVERY_MONEY_TABLE = [...IMMUTABLE, 'conversions', 'commissions', 'accounts', 'payouts'];

describe('what is written in the books stays', () => {
  test.each(EVERY_MONEY_TABLE)('the application cannot delete from or truncate %s', async (table) => {
    const denied = { code: '42501' };
    await expect(db.ledger.unsafe(`delete from ${table}`)).rejects.toMatchObject(denied);
    await expect(db.ledger.unsafe(`truncate ${table}`)).rejects.toMatchObject(denied);
  });

  test.each([
    'journals',
    'entries',
    'commission_lines',
    'refunds',
    'order_changes',
    'accounts',
    'payout_items',
  ])('the application cannot update %s', async (table) => {
    await expect(db.ledger.unsafe(`update ${table} set id = default`)).rejects.toMatchObject({
      code: '42501',
    });
  });

  test.each(['order_id', 'currency', 'payload_hash', 'received_at'])(
    'the application cannot rewrite %s of a conversion',
    async (column) => {
      const statement = `update conversions set ${column} = ${column}`;
      await expect(db.ledger.unsafe(statement)).rejects.toMatchObject({ code: '42501' });
    },
  );

  test.each([
    'update entries set amount_minor = amount_minor + 1',
    'delete from entries',
    'truncate entries',
    `update journals set kind = 'refund'`,
    'delete from journals',
    'update commission_lines set amount_minor = amount_minor + 1',
    'delete from commission_lines',
    'update terms set rate_bps = 5000',
    `update terms set validity = tstzrange('2020-01-01', '2021-01-01')`,
    'delete from terms',
    'update payout_items set amount_minor = amount_minor + 1',
    'delete from payout_items',
  ])('not even the owner may: %s', async (statement) => {
    await expect(db.owner.unsafe(statement)).rejects.toMatchObject({
      // Restrict violation by our triggers, or a truncate that foreign keys refuse before.
      code: expect.stringMatching(/^(23001|0A000)$/),
    });
  });
});

describe('journals', () => {
  const journal = (key: string) => `
    insert into journals (idempotency_key, kind, program_id) values ('${key}', 'earning', 1);`;
  /** Entries of one statement. */
  const entries = (key: string, ...moves: [kind: string, amount: number][]) => `
    insert into entries (journal_id, account_id, currency, amount_minor)
    select j.id, a.id, a.currency, m.amount from journals j
    cross join (values ${moves.map(([kind, amount], i) => `(${i}, '${kind}', ${amount})`).join(', ')}) as m (i, kind, amount)
    cross join lateral (
      select id, currency from accounts where program_id = 1 and kind = m.kind order by id limit 1
    ) a
    where j.idempotency_key = '${key}' order by m.i;`;

  async function inOneTransaction(...statements: string[]) {
    return await db.owner.begin(async (tx) => {
      for (const statement of statements) await tx.unsafe(statement);
    });
  }
  const unbalanced = { constraint: 'journals_balance' };

  test.each([
    ['no entries', [journal('a')]],
    ['one entry', [journal('b'), entries('b', ['pending', 5])]],
    [
      'entries that do not sum to zero',
      [journal('c'), entries('c', ['pending', 5], ['commission_expense', -4])],
    ],
    [
      'an entry added after the check was forced',
      [
        journal('d'),
        entries('d', ['pending', 5], ['commission_expense', -5]),
        'set constraints all immediate',
        entries('d', ['pending', 7]),
      ],
    ],
  ])('are refused with %s', async (_what, statements) => {
    await expect(inOneTransaction(...statements)).rejects.toMatchObject(unbalanced);
  });

  test('take no entries after their transaction', async () => {
    await inOneTransaction(journal('e'), entries('e', ['pending', 5], ['commission_expense', -5]));
    const later = entries('e', ['pending', 5], ['commission_expense', -5]);
    await expect(inOneTransaction(later)).rejects.toMatchObject({ code: '23001' });
    await inOneTransaction(journal('f'), entries('f', ['pending', -5], ['commission_expense', 5]));
  });

  test('cannot overdraw what an affiliate has', async () => {
    const overdraft = [journal('g'), entries('g', ['paid', -5], ['commission_expense', 5])];
    await expect(inOneTransaction(...overdraft)).rejects.toMatchObject({ constraint: 'accounts_sign' });
  });

  const account = `(select min(id) from accounts where kind = 'pending')`;
  const line = (columns: string, values: string) => `insert into ${columns} select ${values}`;
  test.each([
    [
      'entries_parents',
      `insert into entries (journal_id, account_id, currency, amount_minor)
       select id, m.account, m.currency, m.amount from journals cross join
         (values (${account}, 'USD', 5), (${account}, 'USD', -5)) as m (account, currency, amount)
       where idempotency_key = 'h'`,
    ],
    [
      'entries_parents',
      `insert into entries (journal_id, account_id, currency, amount_minor, commission_id)
       select id, ${account}, 'EUR', m.amount, 0 from journals cross join (values (5), (-5)) as m (amount)
       where idempotency_key = 'h'`,
    ],
    [
      'entries_journal_open',
      `insert into entries (journal_id, account_id, currency, amount_minor)
       values (0, ${account}, 'EUR', 5), (0, ${account}, 'EUR', -5)`,
    ],
    [
      'commission_lines_parents',
      line(
        'commission_lines (commission_id, kind, amount_minor, journal_id)',
        `0, 'reversal', -1, id from journals where idempotency_key = 'h'`,
      ),
    ],
    [
      'commissions_parents',
      line(
        'commissions (conversion_id, program_id, affiliate_id, level, terms_id, currency, amount_minor, state, available_at)',
        `conversion_id, program_id, 0, 9, terms_id, currency, 1, 'pending', now() from commissions limit 1`,
      ),
    ],
    [
      'commissions_parents',
      line(
        'commissions (conversion_id, program_id, affiliate_id, level, terms_id, currency, amount_minor, state, available_at)',
        `0, program_id, affiliate_id, 9, terms_id, currency, 1, 'pending', now() from commissions limit 1`,
      ),
    ],
    [
      'conversions_transition',
      `insert into conversions (program_id, currency, order_id, amount_minor, payload_hash, state, reason, source, occurred_at)
       select program_id, currency, 'begins rejected', 1, payload_hash, 'rejected', 'no_click', source, now()
       from conversions limit 1`,
    ],
  ])('refer to what is there: %s (%#)', async (constraint, statement) => {
    await expect(inOneTransaction(journal('h'), statement)).rejects.toMatchObject({
      constraint,
    });
  });

  test.each(['conversions', 'commissions', 'accounts', 'affiliates'])('keep their %s', async (table) => {
    await expect(db.owner.unsafe(`delete from ${table}`)).rejects.toMatchObject({ code: '23001' });
  });
});

describe('states', () => {
  test.each([
    [`update conversions set state = 'received'`, 'conversions_transition'],
    [`update conversions set state = 'unattributed', reason = 'no_click'`, 'conversions_transition'],
    [`update commissions set state = 'pending'`, 'commissions_transition'],
    [`update payouts set state = 'created'`, 'payouts_transition'],
    [`update payouts set state = 'canceled'`, 'payouts_transition'],
  ])('change by the allowed transitions only: %s', async (statement, constraint) => {
    await expect(db.owner.unsafe(statement)).rejects.toMatchObject({ constraint: constraint });
  });

  const ALLOWED = [
    'pending active',
    'pending suspended',
    'pending terminated',
    'active suspended',
    'active terminated',
    'suspended active',
    'suspended terminated',
  ];
  test.each(AFFILIATE_STATUSES.flatMap((from) => AFFILIATE_STATUSES.map((to) => [from, to] as const)))(
    'of affiliates: %s to %s',
    async (from, to) => {
      const refCode = `${from}-${to}`;
      const { id } = await createAffiliate(db.ledger, {
        programId: parties.programId,
        name: refCode,
        refCode,
        email: 'a@example.com',
        status: from,
      });
      // A write that leaves the status as it is is no transition.
      const isAllowed = from === to || ALLOWED.includes(`${from} ${to}`);
      const change = db.ledger`update affiliates set status = ${to} where id = ${id}`;
      if (isAllowed) await change;
      else {
        await expect(change).rejects.toMatchObject({
          code: '23514',
          constraint: 'affiliates_transition',
          message: `affiliates cannot go from ${from} to ${to}`,
        });
      }
      const [row] = await db.owner<{ status: string }[]>`select status from affiliates where id = ${id}`;
      expect(row?.status).toBe(isAllowed ? to : from);
    },
  );

  test('and reasons are those the code knows', async () => {
    const transitions = await db.owner<{ state: string }[]>`
      select to_state as state from transitions where entity = 'conversions'
      union select from_state from transitions where entity = 'conversions' and from_state <> 'new'`;
    expect(new Set(transitions.map(({ state }) => state))).toEqual(new Set(CONVERSION_STATES));
    const [check] = await db.owner<{ text: string }[]>`
      select pg_get_constraintdef(oid) as text from pg_constraint where conname = 'conversions_reason_check'`;
    const reasons = [...(check?.text ?? '').matchAll(/'(\w+)'/g)].map((match) => match[1]);
    expect(reasons).toEqual([...CONVERSION_REASONS]);
  });
});

test('a batch of payouts has one open payout per affiliate, and a commission one live item', async () => {
  const copy = db.owner.unsafe(`
    insert into payouts (batch_id, program_id, affiliate_id, currency, amount_minor, provider)
    select batch_id, program_id, affiliate_id, currency, amount_minor, provider from payouts limit 1`);
  await expect(copy).rejects.toMatchObject({ constraint: 'payouts_one_open' });
  const item = db.owner.unsafe(`
    insert into payout_items (payout_id, kind, commission_id, amount_minor)
    select payout_id, kind, commission_id, amount_minor from payout_items limit 1`);
  await expect(item).rejects.toMatchObject({ constraint: 'payout_items_commission_once' });
});

test('keys are stored as hashes only', async () => {
  const now = new Date();
  const ledger: Database = db.ledger;
  const { key, apiKey } = await createApiKey(ledger, { role: 'operator', name: 'ops' });
  expect(key).toMatch(/^afx_operator_[\w-]{32}$/);
  const [stored] = await db.owner<
    { keyHash: Buffer }[]
  >`select key_hash from api_keys where id = ${apiKey.id}`;
  expect(stored?.keyHash).toEqual(createHash('sha256').update(key).digest());
  expect(await findApiKey(ledger, { key, now })).toMatchObject({ id: apiKey.id, role: 'operator' });
  expect(await findApiKey(ledger, { key: `${key}x`, now })).toBeUndefined();
  await revokeApiKeys(ledger, { ids: [apiKey.id], now });
  expect(await findApiKey(ledger, { key, now })).toBeUndefined();
  const expired = await createApiKey(ledger, { role: 'operator', name: 'old', expiresAt: now });
  expect(await findApiKey(ledger, { key: expired.key, now })).toBeUndefined();
});
