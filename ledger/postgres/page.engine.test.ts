import { afterAll, beforeAll, expect, test } from 'vitest';
import { Statement } from '../../core/postgres/postgres.ts';
import { createParties, freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import { listCommissions } from '../books/commissions.ts';
import { listConversions } from '../conversions/conversions.ts';
import { listPostbackCalls } from '../integrations/postback-calls.ts';
import type { DatabaseSql } from './db.ts';

/** Enough for PostgreSQL to prefer an index. */
const ROWS = 20_000;

let db: TestLedger;
let programId: number;

beforeAll(async () => {
  db = await freshLedger({ max: 2 });
  ({ programId } = await createParties(db.ledger));
  await db.owner`
    insert into conversions (program_id, currency, order_id, amount_minor, payload_hash, source, occurred_at, click_id)
    select ${programId}, 'EUR', 'order-' || n, 100, sha256(n::text::bytea), 'api', now(), 'click-' || n
    from generate_series(1, ${ROWS}) as n`;
  await db.owner`
    insert into postback_calls (request_id, via, program_id, params, outcome, status, code, order_id)
    select 'request', 'api', ${programId}, '{}', 'rejected', 422, 'code-' || n, 'order-' || n
    from generate_series(1, ${ROWS}) as n`;
  await db.owner`analyze`;
});
afterAll(async () => await db?.close());

/** What PostgreSQL does for the last statement of a list. */
async function planOf(list: (sql: DatabaseSql) => Promise<unknown>): Promise<string> {
  return await db.ledger.begin(async (tx) => {
    const statements: Statement<readonly unknown[]>[] = [];
    const noting = new Proxy(tx, {
      apply: (target, self, values) => {
        const made: unknown = Reflect.apply(target, self, values);
        if (made instanceof Statement) statements.push(made);
        return made;
      },
    });
    await list(noting);
    const last = statements.at(-1);
    if (!last) throw new Error('a list sends a statement');
    const lines = await tx<object[]>`explain (costs off) ${last}`;
    return lines.map((line) => Object.values(line).join()).join('\n');
  });
}

test.each([
  ['conversions', listConversions, 'order-7', 1],
  ['conversions', listConversions, 'click-7', 1],
  ['commissions', listCommissions, 'order-7', 0],
  ['postback calls', listPostbackCalls, 'order-7', 1],
  ['postback calls', listPostbackCalls, 'code-7', 1],
] as const)(
  '%s that are searched for by a whole id are looked up in indexes',
  async (_, list, text, found) => {
    for (const program of [programId, undefined]) {
      const request = { limit: 100, programId: program, search: { text, pattern: text, id: null } };
      expect((await list(db.ledger, request)).rows).toHaveLength(found);
      const plan = await planOf((sql) => list(sql, request));
      expect(plan).not.toMatch(/Seq Scan on (conversions|postback_calls)/);
      expect(plan).not.toMatch(/Filter: .*\b(order_id|click_id|code) = /);
      // A look-up in each program, and not a whole index.
      expect(plan).not.toMatch(/Index Cond: \((order_id|click_id|code) = /);
      expect(plan).toMatch(/Index Cond: .*\b(order_id|code) = /);
    }
  },
);
