import { recordConversion } from '../../ledger/conversions/conversions.ts';
import { recordDecisions } from '../../ledger/decisions/decisions.ts';
import { type Database, inTransaction } from '../../ledger/postgres/db.ts';
import { createProgram } from '../../ledger/programs/programs.ts';
import { setTerms } from '../../ledger/programs/terms.ts';

/** A program whose affiliates each have one order that can be paid. */

const BATCH = 1_000;

export async function createPayableAffiliates(
  stores: { ledger: Database; owner: Database },
  options: { affiliates: number; progress: (done: number) => void },
): Promise<number> {
  const { ledger, owner } = stores;
  const { affiliates, progress } = options;
  const { id: programId } = await createProgram(ledger, {
    name: 'Payable',
    currency: 'EUR',
    payoutMethodHoldDays: 0,
  });
  const terms = await setTerms(ledger, { programId, holdDays: 0, levelRatesBps: [], payoutMinMinor: 0n });
  await owner`
    insert into campaigns (program_id, name, change_xid) values (${programId}, 'all', pg_current_xact_id())`;
  await owner`
    insert into affiliates (program_id, ref_code, name, email, status, change_xid)
    select ${programId}, 'p' || i, 'Payee ' || i, 'p' || i || '@example.com', 'active', pg_current_xact_id()
    from generate_series(1, ${affiliates}) as i`;
  await owner`
    insert into payout_methods (affiliate_id, kind, details, hint)
    select id, 'bank', '', 'bench' from affiliates where program_id = ${programId}`;
  await owner`
    insert into links (code, program_id, campaign_id, affiliate_id, landing_url, change_xid)
    select 'pay' || a.id, a.program_id, c.id, a.id, 'https://shop.example/', pg_current_xact_id()
    from affiliates a join campaigns c on c.program_id = a.program_id where a.program_id = ${programId}`;
  const links = await ledger<{ id: number; campaignId: number; affiliateId: number }[]>`
    select id, campaign_id, affiliate_id from links where program_id = ${programId} order by id`;
  for (let from = 0; from < links.length; from += BATCH) {
    const batch = links.slice(from, from + BATCH);
    const now = new Date();
    const ids = await Promise.all(
      batch.map(async ({ affiliateId }) => {
        const recorded = await recordConversion(ledger, {
          programId,
          orderId: `p${affiliateId}`,
          amountMinor: 10_000n,
          currency: 'EUR',
          source: 'api',
        });
        return recorded.conversion.id;
      }),
    );
    await inTransaction(ledger, (tx) =>
      recordDecisions(
        tx,
        batch.map(({ id: linkId, campaignId, affiliateId }, i) => ({
          conversionId: ids[i] ?? 0n,
          outcome: 'attributed',
          reason: null,
          evidence: {},
          termsId: terms.id,
          now,
          click: {
            ts: now.getTime() - 1_000,
            node: 1,
            seq: from + i,
            ip: '192.0.2.1',
            linkId,
            campaignId,
            affiliateId,
          },
        })),
      ),
    );
    progress(from + batch.length);
  }
  return programId;
}

/** Entries that make the table as long as years of work do; they balance, and belong to the program's own accounts. */
export async function lengthenEntries(
  owner: Database,
  options: { programId: number; entries: number; progress: (done: number) => void },
): Promise<void> {
  const { programId, entries, progress } = options;
  const STEP = 500_000;
  const [have] = await owner<[{ count: bigint }]>`select count(*) from entries`;
  // The triggers would take minutes, and these journals balance by construction.
  await owner`set session_replication_role = replica`;
  for (let done = Number(have.count); done < entries; done += STEP) {
    const journals = Math.ceil(Math.min(STEP, entries - done) / 2);
    await owner`
      with posted as (
        insert into journals (idempotency_key, kind, program_id, created_xid)
        select 'bench:' || ${done}::bigint || ':' || i, 'earning', ${programId}, pg_current_xact_id()
        from generate_series(1, ${journals}) as i
        returning id
      ), owners as (
        select array_agg(id order by id) as ids from accounts where program_id = ${programId} and kind = 'pending'
      ), expense as (
        select id from accounts where program_id = ${programId} and kind = 'commission_expense'
      )
      insert into entries (journal_id, account_id, currency, amount_minor)
      select posted.id, case side when 1 then owners.ids[1 + posted.id % cardinality(owners.ids)] else expense.id end,
        'EUR', side * 100
      from posted cross join owners cross join expense cross join unnest(array[1, -1]) as side`;
    progress(Math.min(done + STEP, entries));
  }
  await owner`
    update accounts a set balance_minor = e.total
    from (select account_id, sum(amount_minor)::bigint as total from entries group by account_id) e
    where e.account_id = a.id and a.balance_minor <> e.total`;
  await owner`set session_replication_role = default`;
  await owner`analyze`;
}
