import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openPostgres } from '../../core/postgres/postgres.ts';
import { waitFor } from '../../test/support/engines.ts';
import {
  createParties,
  creditOrder,
  freshLedger,
  type TestLedger,
  type TestParties,
} from '../../test/support/ledger.ts';
import { appendAuditLog } from '../access/audit-log.ts';
import { connectDatabase, type DatabaseTransaction } from '../postgres/db.ts';
import { auditLedger } from './audit.ts';
import { extendHashChains, findForeignHead, readChainHeads } from './hash-chains.ts';

let db: TestLedger;
let parties: TestParties;
beforeEach(async () => {
  db = await freshLedger({ max: 6 });
  parties = await createParties(db.ledger);
  await write(3);
  await extendHashChains(db.ledger);
});
afterEach(async () => await db?.close());

async function write(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    await creditOrder(db.ledger, parties, { amountMinor: 10_000n });
    await appendAuditLog(db.ledger, { actor: 'test', action: 'write', subject: 'prg_1', after: { i } });
  }
}

/** The checks of the chains that fail. */
async function broken(ledger = db.ledger): Promise<string[]> {
  const checks = await auditLedger(ledger);
  expect(checks.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['audit_log_chain', 'journals_chain']),
  );
  return checks.filter(({ name, ok }) => name.endsWith('_chain') && !ok).map(({ detail }) => detail);
}

/** As the owner who has switched off what refuses changes. */
async function tamper(work: (tx: DatabaseTransaction) => PromiseLike<unknown>): Promise<void> {
  await db.owner.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await work(tx);
  });
}

describe('the owner changes what is written, and the audit shows it', { tags: ['attack'] }, () => {
  test('not before', async () => {
    await write(2);
    expect(await broken()).toEqual([]);
  });

  test.each([
    ['a row of the audit log', `update audit_log set actor = 'user:9' where id = 2`, 'audit_log'],
    ['its time', `update audit_log set at = at + interval '1 microsecond' where id = 2`, 'audit_log'],
    ['what it says', `update audit_log set after = '{"i": 7}' where id = 2`, 'audit_log'],
    [
      'the last row, which is gone',
      'delete from audit_log where id = (select max(id) from audit_log)',
      'audit_log',
    ],
    ['the first rows, which are gone', 'delete from audit_log where id < 3', 'audit_log'],
    ['an entry', 'update entries set amount_minor = amount_minor + 1 where id = 2', 'journals'],
    ['the account of an entry', 'update entries set account_id = account_id + 1 where id = 2', 'journals'],
    ['an entry, which is gone', 'delete from entries where id = (select max(id) from entries)', 'journals'],
    [
      'an entry, which is new',
      'insert into entries (journal_id, account_id, currency, amount_minor) select journal_id, account_id, currency, 1 from entries where id = 1',
      'journals',
    ],
    ['a journal', `update journals set kind = 'refund' where id = 1`, 'journals'],
    [
      'the last journal, which is gone',
      'delete from journals where id = (select max(id) from journals)',
      'journals',
    ],
  ])('%s', async (_what, statement, chain) => {
    await tamper((tx) => tx.unsafe(statement));
    const found = await broken();
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(
      /^not so: .*; first: the rows with ids from 1 to \d+, \d+ when they were chained, now \d+$/,
    );
    expect(found[0]).toContain(chain === 'journals' ? 'journals and entries are' : 'the audit log is');
  });

  test('a link of the chain', async () => {
    await tamper((tx) => tx`update hash_chain set head = sha256(head) where chain = 'journals'`);
    expect(await broken()).toHaveLength(1);
  });

  test('a row and its whole chain, which no longer leads to a head that was signed', async () => {
    const signed = await readChainHeads(db.ledger);
    expect(signed.map(({ chain }) => chain)).toEqual(['audit_log', 'journals']);
    expect(await findForeignHead(db.ledger, signed)).toBeUndefined();
    await tamper(async (tx) => {
      await tx`update audit_log set actor = 'user:9' where id = 2`;
      await tx`delete from hash_chain where chain = 'audit_log'`;
    });
    await extendHashChains(db.ledger);
    expect(await broken()).toEqual([]);
    expect(await findForeignHead(db.ledger, signed)).toEqual(signed[0]);
  });
});

describe('a chain', () => {
  test('is extended by what is new, and by nothing twice', async () => {
    expect(await extendHashChains(db.ledger)).toEqual({ audit_log: 0n, journals: 0n });
    await write(2);
    const { audit_log: rows } = await extendHashChains(db.ledger);
    expect(rows).toBe(2n);
    const links =
      await db.ledger`select chain, row_count from hash_chain where chain = 'audit_log' order by last_id`;
    expect(links).toHaveLength(2);
  });

  test('does not depend on the settings of a session', async () => {
    const database = new URL(db.url).pathname.slice(1);
    for (const setting of [`timezone = 'Asia/Kolkata'`, `datestyle = 'German'`, `bytea_output = 'escape'`]) {
      await db.owner.unsafe(`alter database ${database} set ${setting}`);
    }
    const elsewhere = await connectDatabase({ url: db.appUrl, max: 2, name: 'elsewhere' });
    try {
      expect(await elsewhere`select current_setting('timezone') as zone`).toEqual([{ zone: 'Asia/Kolkata' }]);
      expect(await broken(elsewhere)).toEqual([]);
    } finally {
      await elsewhere.end();
    }
  });

  test('waits for a transaction with an earlier id, and leaves out none that is rolled back', async () => {
    const insert = `insert into audit_log (actor, action, subject) values ('slow', 'write', 'prg_1')`;
    let extension: Promise<unknown> = Promise.resolve();
    let isExtended = false;
    await db.ledger.begin(async (tx) => {
      await tx.unsafe(insert);
      await expect(
        db.ledger.begin(async (other) => {
          await other.unsafe(insert);
          throw new Error('rolled back');
        }),
      ).rejects.toThrow('rolled back');
      await write(2);
      extension = extendHashChains(db.ledger).then((chained) => {
        isExtended = true;
        return chained;
      });
      const isWaiting = async () =>
        (
          await db.owner`select from pg_stat_activity
            where datname = current_database() and query like '%extend_hash_chain%' and wait_event = 'PgSleep'`
        ).length > 0;
      await waitFor(isWaiting, { deadlineMs: 10_000, what: 'the extension to wait' });
      expect(isExtended).toBe(false);
    });
    expect(await extension).toMatchObject({ audit_log: 3n });
    expect(await broken()).toEqual([]);
  });

  test('is whole whatever writes and extends it at once', async () => {
    let isWriting = true;
    const extend = async () => {
      let rows = 0n;
      while (isWriting) rows += (await extendHashChains(db.ledger)).audit_log;
      return rows;
    };
    const extensions = [extend(), extend()];
    await Promise.all(
      Array.from({ length: 4 }, async (_, worker) => {
        for (let i = 0; i < 50; i++) {
          await db.ledger
            .begin(async (tx) => {
              await appendAuditLog(tx, { actor: `w:${worker}`, action: 'write', subject: 'prg_1' });
              await tx`select pg_sleep(random() * 0.01)`;
              await appendAuditLog(tx, { actor: `w:${worker}`, action: 'write', subject: 'prg_1' });
              if (i % 7 === 0) throw new Error('rolled back');
            })
            .catch((error: Error) => expect(error.message).toBe('rolled back'));
        }
      }),
    );
    isWriting = false;
    await Promise.all(extensions);
    await extendHashChains(db.ledger);
    expect(await broken()).toEqual([]);
    const [row] = await db.ledger`
      select (select count(*) from audit_log) as written,
        (select sum(row_count)::bigint from hash_chain where chain = 'audit_log') as chained`;
    expect(row?.chained).toBe(row?.written);
  });
});

test('a chain that is not extended turns the audit red', { tags: ['attack'] }, async () => {
  await db.owner`alter function extend_hash_chain(text, interval) rename to off`;
  await db.owner.unsafe(
    `create function extend_hash_chain(text, interval) returns bigint language sql as 'select 0::bigint'`,
  );
  await db.owner`grant execute on function extend_hash_chain(text, interval) to afflux_app`;
  await write(1);
  expect(await broken()).toEqual([]);
  await tamper(
    (tx) => tx`update audit_log set at = at - interval '2 hours' where id = (select max(id) from audit_log)`,
  );
  expect(await broken()).toEqual([expect.stringMatching(/first: row \d+ is not chained$/)]);
});

test('an audit takes as long as it takes, and nothing else does', async () => {
  const pool = openPostgres({
    ...{ url: db.appUrl, max: 2, name: 'patient' },
    ...{ as: 'application', answerTimeoutMs: 1_000 },
  });
  try {
    // The chain waits for a writer that is longer under way than an answer may be.
    const writer = db.ledger.begin(async (tx) => {
      await appendAuditLog(tx, { actor: 'test', action: 'write', subject: 'prg_1', after: {} });
      await tx`select pg_sleep(2.5)`;
    });
    const isWriting = async () =>
      (
        await db.owner`select from pg_stat_activity where query like '%pg_sleep(2.5)%' and pid <> pg_backend_pid()`
      ).length > 0;
    await waitFor(isWriting, { deadlineMs: 10_000, what: 'a long transaction' });
    const chained = await extendHashChains(pool);
    await writer;
    expect(chained.audit_log).toBe(1n);
    // Of the same session, after the transaction.
    await expect(pool`select pg_sleep(2.5)`).rejects.toMatchObject({ code: 'ETIMEDOUT' });
  } finally {
    await pool.end({ timeoutMs: 0 });
  }
});
