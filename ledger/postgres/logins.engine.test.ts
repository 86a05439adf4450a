import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { applicationUrl } from '../../core/login.ts';
import { createParties, creditOrder, freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import { appendAuditLog } from '../access/audit-log.ts';
import { forgetWebhookEvents } from '../integrations/webhook-queue.ts';
import { connectDatabase } from './db.ts';

/** What a process can do to the books with the connection that it has: nothing but add to them. */

let db: TestLedger;
beforeAll(async () => {
  db = await freshLedger({ max: 2 });
  const parties = await createParties(db.ledger);
  await creditOrder(db.ledger, parties, { amountMinor: 10_000n });
  await appendAuditLog(db.ledger, { actor: 'test', action: 'test', subject: 'prg_1' });
});
afterAll(async () => await db?.close());

describe('a process tries to become the owner', { tags: ['attack'] }, () => {
  test.each([
    'set role postgres',
    'set session authorization postgres',
    `select set_config('role', 'postgres', false)`,
    `select set_config('session_authorization', 'postgres', false)`,
    'set session_replication_role = replica',
    'create role thief superuser',
    'alter role afflux_app superuser',
    'alter role afflux_app createrole',
    `alter role postgres password 'x'`,
    'grant postgres to afflux_app',
    'grant pg_write_all_data to afflux_app',
    'alter table audit_log owner to afflux_app',
    'alter database postgres owner to afflux_app',
  ])('%s', async (statement) => {
    await expect(db.ledger.unsafe(statement)).rejects.toMatchObject({
      code: expect.stringMatching(/^(42501|0LP01)$/),
    });
  });

  test.each(['reset role', 'reset session authorization', 'set role none'])(
    '%s leads back to its own login',
    async (statement) => {
      const session = await db.ledger.reserve();
      try {
        await session.unsafe(statement);
        const [row] = await session`select session_user as login, current_user as role`;
        expect(row).toEqual({ login: 'afflux_app', role: 'afflux_app' });
      } finally {
        session.release();
      }
    },
  );
});

describe('a process tries to edit what is written', { tags: ['attack'] }, () => {
  test.each(
    ['audit_log', 'journals', 'entries', 'hash_chain'].flatMap((table) => [
      `update ${table} set ${table === 'hash_chain' ? 'last_id = last_id' : 'id = default'}`,
      `delete from ${table}`,
      `truncate ${table}`,
      `drop table ${table} cascade`,
      `alter table ${table} disable trigger all`,
      `create trigger mine before insert on ${table} for each row execute function stamp_change()`,
    ]),
  )('%s', async (statement) => {
    await expect(db.ledger.unsafe(statement)).rejects.toMatchObject({ code: '42501' });
  });

  test.each([
    `insert into hash_chain (chain, last_id, row_count, head) values ('journals', 1, 1, sha256(''))`,
    'alter function extend_hash_chain(text, interval) owner to afflux_app',
    `create or replace function link_hash(head bytea, start bytea, content text) returns bytea language sql as 'select null::bytea'`,
  ])('%s', async (statement) => {
    await expect(db.ledger.unsafe(statement)).rejects.toMatchObject({ code: '42501' });
  });

  test.each([
    'create temporary table transitions (entity text, from_state text, to_state text)',
    'create table public.transitions2 (id integer)',
    'create schema pg_mine',
    'create schema mine',
  ])('puts a table of its own before one of the platform: %s', async (statement) => {
    await expect(db.ledger.unsafe(statement)).rejects.toMatchObject({
      code: expect.stringMatching(/^(42501|42939)$/),
    });
  });
});

describe('a process tries to empty the log of what partners were notified of', { tags: ['attack'] }, () => {
  test.each(['webhook_endpoints', 'webhook_events', 'webhook_deliveries', 'webhook_attempts'])(
    'delete from %s',
    async (table) => {
      await expect(db.ledger.unsafe(`delete from ${table}`)).rejects.toMatchObject({ code: '42501' });
    },
  );

  test('housekeeping removes what was delivered more than 30 days ago, and nothing else', async () => {
    await db.owner.unsafe(`
      insert into webhook_endpoints (program_id, role, url, secret) values (1, 'operator', 'https://x.example', '');
      insert into webhook_events (type, program_id, subject, at, fanned_out)
      select 'conversion.created', 1, name, now() - make_interval(days => days), fanned_out
      from (values ('young', 29, true), ('delivered', 31, true), ('dead', 31, true), ('waiting', 31, false))
        as event (name, days, fanned_out);
      insert into webhook_deliveries (endpoint_id, event_id, body, state)
      select (select max(id) from webhook_endpoints), id, '', case subject when 'dead' then 'dead' else 'delivered' end
      from webhook_events where subject in ('young', 'delivered', 'dead')`);
    await forgetWebhookEvents(db.ledger, { limit: 100 });
    const left = await db.owner<{ subject: string }[]>`
      select subject from webhook_events where subject ~ '^[a-z]+$' order by subject`;
    expect(left.map(({ subject }) => subject)).toEqual(['dead', 'waiting', 'young']);
    expect(await db.owner`select from webhook_deliveries`).toHaveLength(2);
  });
});

describe('a login that could edit the books is refused', { tags: ['attack'] }, () => {
  test('as the owner', async () => {
    await expect(connectDatabase({ url: db.url, max: 1, name: 'test' })).rejects.toMatchObject({
      code: 'postgres_login',
      message: expect.stringMatching(
        /^DATABASE_URL logs in as postgres.* DATABASE_OWNER_URL .*\n {2}alter role afflux_app login password '…';\nand set DATABASE_URL to postgres:\/\/afflux_app:/s,
      ),
    });
  });

  test('as the owner who takes the role of a process', async () => {
    const url = `${db.url}?options=${encodeURIComponent('-c role=afflux_app')}`;
    await expect(connectDatabase({ url, max: 1, name: 'test' })).rejects.toMatchObject({
      code: 'postgres_login',
      message: expect.stringMatching(/^DATABASE_URL logs in as postgres with the role afflux_app/),
    });
  });

  test('with another password than the one of the role', async () => {
    const url = applicationUrl(db.url, 'wrong');
    await expect(connectDatabase({ url, max: 1, name: 'test' })).rejects.toMatchObject({
      code: 'postgres_login',
      message: expect.stringMatching(
        /refuses the login: (?!.*wrong).*alter role afflux_app login password '…';$/s,
      ),
    });
  });

  test.each([
    ['alter table stray owner to afflux_app', 'owns something', /reassign owned by afflux_app to …;/],
    [
      'grant create on schema public to afflux_app',
      'can create tables',
      /revoke create on schema public from public, afflux_app;/,
    ],
    [
      'grant temporary on database %s to public',
      'can create tables',
      /revoke temporary on database "t_\w+" from public, afflux_app;/,
    ],
  ])('%s', async (statement, what, remedy) => {
    const { url, appUrl, owner, close } = await freshLedger({ max: 1 });
    try {
      await owner`create table stray (id integer)`;
      await owner.unsafe(statement.replace('%s', new URL(url).pathname.slice(1)));
      const refused = connectDatabase({ url: appUrl, max: 1, name: 'test' });
      await expect(refused).rejects.toMatchObject({
        code: 'postgres_login',
        message: expect.stringMatching(remedy),
      });
      await expect(refused).rejects.toThrow(
        `the role afflux_app ${what}, so that a process could edit the books`,
      );
    } finally {
      await close();
    }
  });
});
