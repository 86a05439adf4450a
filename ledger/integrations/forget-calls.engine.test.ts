import { afterAll, beforeAll, expect, test } from 'vitest';
import { freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import { forgetPostbackCalls } from './postback-calls.ts';

let db: TestLedger;
beforeAll(async () => {
  db = await freshLedger({ max: 1 });
});
afterAll(async () => await db?.close());

test('old calls are forgotten in statements of 10,000, and no young one', async () => {
  const old = 20_001;
  await db.owner.unsafe(`
    create table statements (rows bigint);
    grant insert on statements to afflux_app;
    create function note() returns trigger language plpgsql as $$
    begin
      insert into statements select count(*) from gone;
      return null;
    end $$;
    create trigger note after delete on postback_calls referencing old table as gone
      for each statement execute function note();
    insert into postback_calls (request_id, via, params, outcome, status, received_at)
    select 'r' || n, 'postback', '{}', 'accepted', 201, now() - make_interval(days => case when n > ${old} then 89 else 91 end)
    from generate_series(1, ${old} + 5) n`);
  const before = new Date(Date.now() - 90 * 86_400_000);
  expect(await forgetPostbackCalls(db.ledger, { before })).toBe(old);
  expect(await db.owner`select rows::int from statements`).toEqual([
    { rows: 10_000 },
    { rows: 10_000 },
    { rows: 1 },
  ]);
  expect(await db.owner`select from postback_calls`).toHaveLength(5);
  expect(await forgetPostbackCalls(db.ledger, { before })).toBe(0);
});
