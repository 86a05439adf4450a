import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { DatabaseError } from '../../core/postgres/connection.ts';
import { waitFor } from '../../test/support/engines.ts';
import { GUARDS, type Guard, guardName, OTHER_TABLES } from '../../test/support/guards.ts';
import {
  createParties,
  creditOrder,
  freshLedger,
  type TestLedger,
  type TestParties,
  waitingForLocks,
} from '../../test/support/ledger.ts';
import { appendAuditLog } from '../access/audit-log.ts';
import { extendHashChains } from '../audit/hash-chains.ts';
import { recordConversion } from '../conversions/conversions.ts';
import { recordReport } from '../decisions/order-reports.ts';
import { recordRefund } from '../decisions/refunds.ts';
import { answerAll } from '../payouts/provider.ts';
import { BANK_LIMITS } from '../payouts/providers/bank-csv.ts';
import { runPayouts } from '../payouts/run.ts';
import { type DatabaseTransaction, inTransaction } from '../postgres/db.ts';
import { createAffiliate } from '../programs/affiliates.ts';
import { createCoupon } from '../programs/coupons.ts';
import { adjustBalance } from './balance-adjustments.ts';

/**
 * Each guard of the books is tried twice: with it the forbidden write is refused by its name, or its effect is seen;
 * with the guard dropped the same attempt must fare otherwise. The second half is the mutation check: no row passes
 * for a reason other than its guard. Every attempt is rolled back.
 */

let db: TestLedger;
let parties: TestParties;
beforeAll(async () => {
  db = await freshLedger({ max: 3 });
  const { ledger, owner } = db;
  parties = await createParties(ledger);
  const { programId, chain } = parties;
  // Named in guards.ts by their order ids: paid out, with one level only, partly refunded, and undecided.
  await creditOrder(ledger, parties, { orderId: 'submitted', amountMinor: 10_000n });
  const provider = {
    name: 'test',
    limits: BANK_LIMITS,
    submit: async (batch: Parameters<typeof answerAll>[0]) => answerAll(batch, { outcome: 'accepted' }),
  };
  await runPayouts(ledger, { actor: 'test', now: new Date(Date.now() + 1_000), provider });
  // The guards look at one method, with a refusal that a change ends.
  await owner`delete from payout_methods where affiliate_id <> ${chain[1]}`;
  await owner`update payout_methods set refused_at = now()`;
  const bonus = { kind: 'bonus', amountMinor: 100n, currency: 'EUR', note: 'test', actor: 'test' } as const;
  await inTransaction(ledger, (tx) => adjustBalance(tx, { ...bonus, programId, affiliateId: chain[0] }));
  await appendAuditLog(ledger, { actor: 'test', action: 'test', subject: 'aff_1', after: { name: 'Ann' } });
  await creditOrder(ledger, parties, { orderId: 'small', amountMinor: 10n });
  await creditOrder(ledger, parties, { orderId: 'refunded', amountMinor: 10_000n });
  await inTransaction(ledger, (tx) =>
    recordRefund(tx, { programId, orderId: 'refunded', refundRef: 'r1', amountMinor: 500n, actor: 'test' }),
  );
  const restored = { programId, orderId: 'refunded', order: undefined, actor: 'test' };
  const lost = { refundRef: 'r2', amountMinor: 100n, actor: 'test' };
  await inTransaction(ledger, (tx) => recordRefund(tx, { programId, orderId: 'refunded', ...lost }));
  await inTransaction(ledger, (tx) =>
    recordReport(tx, { ...restored, event: { kind: 'restored', refundRef: 'r2' } }),
  );
  await recordConversion(ledger, {
    programId,
    orderId: 'undecided',
    amountMinor: 500n,
    currency: 'EUR',
    source: 'api',
  });
  await createAffiliate(ledger, { programId, name: 'new', refCode: 'new', email: 'new@example.com' });
  await createCoupon(ledger, { programId, affiliateId: chain[0], code: 'CODE' });
  await ledger`insert into affiliate_volumes (affiliate_id, month, volume_minor) values (${chain[0]}, '2026-01-01', 1)`;
  await owner`
    insert into rates (base, quote, rate, source, valid_from) values ('USD', 'EUR', 0.5, 'test', '2020-01-01')`;
  await ledger`
    insert into statement_documents (program_id, affiliate_id, month, number, currency, issuer, recipient, payable_minor, vat, vat_minor)
    values (${programId}, ${chain[0]}, '2026-01-01', 1, 'EUR', '{}', '{}', 0, 'none', 0)`;
  await ledger`
    insert into payout_bookings (payout_id, direction, reference) select id, 'debit', 'first' from payouts limit 1`;
  await extendHashChains(ledger);
  await owner`
    insert into webhook_endpoints (program_id, role, url, secret) values (${programId}, 'operator', 'https://x.example', '')`;
});
afterAll(async () => await db.close());

const ROLLED_BACK = new Error('every attempt is rolled back');

type Outcome =
  | { readonly refusedBy: string | undefined; readonly message: string }
  /** What the effect's query answered; undefined for a write that should have been refused. */
  | { readonly accepted: true; readonly effect: boolean | undefined };

/** Makes the attempt in a transaction of its own, after `prepare`, and says how it fared. */
async function attempt(
  guard: Guard,
  prepare: (tx: DatabaseTransaction) => Promise<unknown>,
): Promise<Outcome> {
  let outcome: Outcome | undefined;
  try {
    await db.owner.begin(async (tx) => {
      await prepare(tx);
      if (guard.as !== 'owner') await tx`set local role afflux_app`;
      await tx.unsafe(guard.attempt);
      await tx`set constraints all immediate`;
      const [row] =
        guard.effect === undefined
          ? []
          : await tx.unsafe<{ ok: boolean }[]>(`select (${guard.effect}) as ok`);
      outcome = { accepted: true, effect: row?.ok };
      throw ROLLED_BACK;
    });
  } catch (error) {
    if (error === ROLLED_BACK && outcome) return outcome;
    const { constraint: refusedBy, message } = error as DatabaseError;
    return { refusedBy, message };
  }
  throw new Error('a transaction that throws does not commit');
}

/** The outcome that shows a guard at work. */
function expectedOf(guard: Guard): unknown {
  if (guard.effect !== undefined) return { accepted: true, effect: true };
  if (guard.says !== undefined) return { refusedBy: undefined, message: expect.stringMatching(guard.says) };
  return { refusedBy: guard.refusedBy ?? guard.name, message: expect.any(String) };
}

/** The outcome without the guard: the attempt goes through, or meets what the row says stands behind it. */
function expectedWithout({ behind, effect }: Guard): unknown {
  if (behind === undefined) return { accepted: true, effect: effect === undefined ? undefined : false };
  if (/^\w+$/.test(behind)) return { refusedBy: behind, message: expect.any(String) };
  return { refusedBy: undefined, message: expect.stringContaining(behind) };
}

function dropOf({ kind, name, table }: Guard): string {
  if (kind === 'index') return `drop index ${name}`;
  if (kind === 'trigger') return `drop trigger ${name} on ${table}`;
  // Foreign keys go with the key they refer to.
  return `alter table ${table} drop constraint ${name} cascade`;
}

describe.each(GUARDS.map((guard) => [guardName(guard), guard] as const))('%s', (_name, guard) => {
  test('guards', async () => {
    expect(await attempt(guard, async () => undefined)).toEqual(expectedOf(guard));
  });
  test('is what stops it', async () => {
    const outcome = await attempt(guard, (tx) => tx.unsafe(dropOf(guard)));
    expect(outcome).toEqual(expectedWithout(guard));
  });
});

describe('the catalog', () => {
  test('has no guard without a test', async () => {
    const tables = await db.owner<{ name: string }[]>`
      select relname as name from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace`;
    const others = new Set<string>(OTHER_TABLES);
    const guarded = tables.map(({ name }) => name).filter((name) => !others.has(name));
    // A unique key around the primary key is there for foreign keys to refer to; it refuses nothing of its own.
    const found = await db.owner<Pick<Guard, 'table' | 'kind' | 'name'>[]>`
      with guards (table_id, kind, name) as (
        select conrelid, 'constraint', conname from pg_constraint where contype in ('c', 'u', 'p', 'x', 'f')
        union all
        select indrelid, 'index', c.relname from pg_index i join pg_class c on c.oid = indexrelid
        where indisunique and not exists (select from pg_constraint where conindid = indexrelid)
        union all
        select tgrelid, 'trigger', tgname from pg_trigger where not tgisinternal
      )
      select t.relname as table, g.kind, g.name from guards g join pg_class t on t.oid = g.table_id
      where t.relnamespace = 'public'::regnamespace and t.relname = any(${guarded})
        and not exists (
          select from pg_constraint wide join pg_constraint id on id.conrelid = wide.conrelid and id.contype = 'p'
          where wide.conrelid = g.table_id and wide.conname = g.name and wide.contype = 'u' and wide.conkey @> id.conkey
        )`;
    expect(
      GUARDS.map(guardName).toSorted(),
      'a new guard or table gets its row in test/support/guards.ts',
    ).toEqual(found.map(guardName).toSorted());
    expect(OTHER_TABLES.filter((name) => !tables.some((table) => table.name === name))).toEqual([]);
  });
});

describe('of two transactions that write the same at once, the second is refused by', () => {
  const small = `(select id from conversions where order_id = 'small')`;
  const commission = `insert into commissions
    (conversion_id, program_id, affiliate_id, level, terms_id, currency, amount_minor, state, available_at)
    select conversion_id, program_id, %s, terms_id, currency, 1, 'pending', now() from commissions where conversion_id = ${small} and level = 1`;
  const line = `insert into commission_lines (commission_id, kind, amount_minor, journal_id)
    select id, 'earning', 1, %s from commissions where conversion_id = ${small} and level = 2`;
  const payout = (affiliateId: number) => `
    with made as (
      insert into payouts (batch_id, program_id, affiliate_id, currency, amount_minor, provider, provider_key)
      select id, program_id, ${affiliateId}, 'EUR', 1, provider, 'raced' from payout_batches returning id
    )
    insert into payout_items (payout_id, kind, commission_id, amount_minor)
    select made.id, 'commission', c.id, 1 from made, commissions c where conversion_id = ${small} and level = 1`;
  // The same but for what another guard would refuse. The second level of `small` is left by the first of these.
  const races: [constraint: string, first: string, second: string][] = [
    [
      'refunds_ref_once',
      ...both(`insert into refunds (conversion_id, refund_ref, amount_minor) values (${small}, 'raced', 1)`),
    ],
    ['commissions_part_once', commission.replace('%s', '2, 2'), commission.replace('%s', '1, 2')],
    ['commissions_affiliate_once', commission.replace('%s', '1, 3'), commission.replace('%s', '1, 4')],
    ['commission_lines_earning_once', line.replace('%s', '1'), line.replace('%s', '2')],
    ['payouts_provider_key_once', payout(4), payout(5)],
  ];

  test.each(races)('%s', async (constraint, first, second) => {
    const { ledger, owner } = db;
    let loser: Promise<unknown> | undefined;
    await ledger.begin(async (tx) => {
      await tx.unsafe(first);
      loser = expect(ledger.unsafe(second)).rejects.toMatchObject({ constraint: constraint });
      await waitFor(async () => (await waitingForLocks(owner)) > 0, {
        deadlineMs: 5_000,
        what: 'the second one to wait for the first',
      });
    });
    await loser;
  });
});

function both(statement: string): [string, string] {
  return [statement, statement];
}
