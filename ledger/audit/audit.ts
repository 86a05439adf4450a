import type { Statement } from '../../core/postgres/postgres.ts';
import type { Database, DatabaseTransaction } from '../postgres/db.ts';
import { extendHashChains, type HashChain } from './hash-chains.ts';

/** One thing that must hold of the books. */
export interface LedgerCheck {
  readonly name: string;
  readonly ok: boolean;
  /** In words: what holds, or what is off, with the first example. */
  readonly detail: string;
  /** How many things were compared and how many are off. */
  readonly counts: { readonly checked: bigint; readonly off: bigint };
}

/** What a check's query answers: one row. `example` names the first thing that is off. */
interface Finding {
  readonly checked: bigint;
  readonly off: bigint;
  readonly example: string | null;
}

interface Check {
  readonly name: string;
  readonly statement: string;
  readonly find: (tx: DatabaseTransaction) => Statement<[Finding]>;
}

/**
 * Proves the books from the entries up, in one snapshot: what is cached, what is stated and what may be must all
 * follow from what was posted.
 */
export async function auditLedger(ledger: Database): Promise<LedgerCheck[]> {
  await extendHashChains(ledger);
  return await ledger.begin('isolation level repeatable read read only', async (tx) => {
    // It reads everything there is, however long that takes.
    await tx.withoutTimeLimit();
    const checks: LedgerCheck[] = [];
    for (const { name, statement, find } of CHECKS) {
      const [{ checked, off, example }] = await find(tx);
      const ok = off === 0n;
      const detail = ok ? statement : `not so: ${statement}; first: ${example}`;
      checks.push({ name, ok, detail, counts: { checked, off } });
    }
    return checks;
  });
}

/** Refunds `r` that name items and were not taken back; further conditions can follow. */
const openItemRefunds = (tx: DatabaseTransaction) => tx`
  select from refunds r where r.items is not null and not exists (select from order_changes where refund_id = r.id)`;

const CHECKS: readonly Check[] = [
  {
    name: 'journals_balance',
    statement: 'every journal has two or more entries that sum to zero in each currency',
    find: (tx) => tx<[Finding]>`
      with sums as (
        select j.id, e.currency, sum(e.amount_minor) as total, count(e.id) over_all
        from journals j left join entries e on e.journal_id = j.id group by j.id, e.currency
      ), checked as (
        select id, coalesce(bool_or(total <> 0), false) or sum(over_all) < 2 as is_off from sums group by id
      )
      select count(*) as checked, count(*) filter (where is_off) as off,
        'journal ' || min(id) filter (where is_off) as example from checked`,
  },
  {
    name: 'books_sum_to_zero',
    statement: 'all entries of a currency sum to zero',
    find: (tx) => tx<[Finding]>`
      with checked as (select currency, sum(amount_minor) as total from entries group by currency)
      select count(*) as checked, count(*) filter (where total <> 0) as off,
        min(currency || ' by ' || total) filter (where total <> 0) as example from checked`,
  },
  {
    name: 'balances_agree',
    statement: "every account's cached balance is the sum of its entries",
    find: (tx) => tx<[Finding]>`
      with checked as (
        select a.id, a.balance_minor <> coalesce(e.total, 0) as is_off
        from accounts a
        left join (select account_id, sum(amount_minor) as total from entries group by account_id) e
          on e.account_id = a.id
      )
      select count(*) as checked, count(*) filter (where is_off) as off,
        'account ' || min(id) filter (where is_off) as example from checked`,
  },
  {
    name: 'earned_is_somewhere',
    statement:
      'earned − reversed + adjusted = pending + available + in transit + paid − debt + adjustments, written off debt left out, for each affiliate',
    find: (tx) => tx<[Finding]>`
      with earned as (
        select c.affiliate_id, c.currency, sum(l.amount_minor) as total
        from commission_lines l join commissions c on c.id = l.commission_id group by c.affiliate_id, c.currency
      ), held as (
        select affiliate_id, currency, sum(balance_minor) as total
        from accounts where affiliate_id is not null group by affiliate_id, currency
      ), written_off as (
        select a.affiliate_id, a.currency, sum(e.amount_minor) as total
        from journals j join entries e on e.journal_id = j.id join accounts a on a.id = e.account_id
        where j.kind = 'debt_write_off' and a.affiliate_id is not null group by a.affiliate_id, a.currency
      ), adjusted as (
        select affiliate_id, currency, sum(amount_minor) as total from adjustments group by affiliate_id, currency
      ), checked as (
        select affiliate_id,
          coalesce(earned.total, 0) + coalesce(written_off.total, 0) + coalesce(adjusted.total, 0)
            <> coalesce(held.total, 0) as is_off
        from earned full join held using (affiliate_id, currency) left join written_off using (affiliate_id, currency)
        left join adjusted using (affiliate_id, currency)
      )
      select count(*) as checked, count(*) filter (where is_off) as off,
        'aff_' || min(affiliate_id) filter (where is_off) as example from checked`,
  },
  {
    name: 'programs_mirror_affiliates',
    statement: 'cash out = paid, and expense = what is earned and not paid, for each program',
    find: (tx) => tx<[Finding]>`
      with checked as (
        select program_id, currency,
          sum(balance_minor) filter (where kind in ('cash_clearing', 'paid')) <> 0
          or sum(balance_minor) filter (where kind not in ('cash_clearing', 'paid')) <> 0 as is_off
        from accounts group by program_id, currency
      )
      select count(*) as checked, count(*) filter (where is_off) as off,
        'prg_' || min(program_id) filter (where is_off) as example from checked`,
  },
  {
    name: 'commissions_agree',
    statement: "every commission's state and amounts are what its lines and entries say",
    find: (tx) => tx<[Finding]>`
      with booked as (
        select e.commission_id,
          sum(e.amount_minor) filter (where a.kind = 'pending') as pending,
          sum(e.amount_minor) filter (where a.kind = 'available') as available,
          sum(e.amount_minor) filter (where a.kind = 'in_transit') as in_transit,
          sum(e.amount_minor) filter (where a.kind = 'paid') as paid,
          sum(e.amount_minor) filter (where a.kind = 'debt') as debt
        from entries e join accounts a on a.id = e.account_id where e.commission_id is not null
        group by e.commission_id
      ), lined as (
        select commission_id, sum(amount_minor) filter (where kind = 'earning') as earned,
          -sum(amount_minor) filter (where kind <> 'earning') as reversed
        from commission_lines group by commission_id
      ), stated as (
        select *, amount_minor - reversed_minor + clawback_minor as booked_minor from commissions
      ), checked as (
        select c.id,
          (earned, coalesce(reversed, 0)) is distinct from (amount_minor, reversed_minor)
          or coalesce(debt, 0) not between -clawback_minor and 0
          or coalesce(pending, 0) <> case when state in ('pending', 'held') then booked_minor else 0 end
          or coalesce(available, 0) <> case when state = 'available' then booked_minor else 0 end
          or coalesce(in_transit, 0) <> case when state = 'in_payout' then booked_minor else 0 end
          or coalesce(paid, 0) <> case when state = 'paid' then booked_minor else 0 end as is_off
        from stated c left join booked b on b.commission_id = c.id left join lined l on l.commission_id = c.id
      )
      select count(*) as checked, count(*) filter (where is_off) as off,
        'com_' || min(id) filter (where is_off) as example from checked`,
  },
  {
    name: 'given_up_has_left',
    statement: 'all debt is of commissions, and given up only for those whose money has left',
    find: (tx) => tx<[Finding]>`
      with checked as (
        select e.commission_id,
          e.commission_id is null
          or coalesce(sum(e.amount_minor) filter (where j.kind = 'debt_write_off'), 0)
            not between 0 and case when c.state in ('in_payout', 'paid') then c.clawback_minor else 0 end as is_off
        from entries e join accounts a on a.id = e.account_id and a.kind = 'debt'
        join journals j on j.id = e.journal_id
        left join commissions c on c.id = e.commission_id
        group by e.commission_id, c.id
      )
      select count(*) as checked, count(*) filter (where is_off) as off,
        coalesce('com_' || min(commission_id) filter (where is_off), 'debt of none') as example from checked`,
  },
  {
    name: 'levels_within_order',
    statement:
      'the percentages of all levels of an order together have no more than the order, fixed commissions neither where their terms say so, and each affiliate earns by it at one level',
    find: (tx) => tx<[Finding]>`
      with checked as (
        select c.id,
          sum(m.amount_minor - m.reversed_minor) > c.amount_minor
            + coalesce(max(greatest(t.fixed_minor, max_fixed_in(t.customer_rates)))
                filter (where m.level = 1 and not t.fixed_within_order), 0)
          or count(distinct m.level) <> count(distinct m.affiliate_id)
          or count(distinct (m.level, m.affiliate_id)) <> count(distinct m.level) as is_off
        from conversions c join commissions m on m.conversion_id = c.id join terms t on t.id = m.terms_id group by c.id
      )
      select count(*) as checked, count(*) filter (where is_off) as off,
        'cnv_' || min(id) filter (where is_off) as example from checked`,
  },
  {
    name: 'commissions_follow_orders',
    statement:
      'every level of an order has the share of what it earned that is left of the order, to half a unit, where no refund names items',
    find: (tx) => tx<[Finding]>`
      with checked as (
        select c.id, case
          when c.state = 'rejected' or c.cancelled_at is not null or (c.refunded_minor = c.amount_minor and c.refunded_minor > 0)
            then sum(m.amount_minor - m.reversed_minor) <> 0
          when exists (${openItemRefunds(tx)} and r.conversion_id = c.id) then false
          else 2 * abs(sum(m.amount_minor - m.reversed_minor) * c.amount_minor
              - coalesce(sum(m.amount_minor) filter (where m.cause <> 'restoration'), 0) * (c.amount_minor - c.refunded_minor))
            > c.amount_minor end as is_off
        from conversions c join commissions m on m.conversion_id = c.id group by c.id, m.level
      )
      select count(*) as checked, count(*) filter (where is_off) as off,
        'cnv_' || min(id) filter (where is_off) as example from checked`,
  },
  {
    name: 'item_refunds_agree',
    statement:
      'where refunds name items, every level has what these items did not earn, less the share of the rest that was taken off, to half a unit an item',
    find: (tx) => tx<[Finding]>`
      with refunded as (
        select r.conversion_id, (one ->> 'item')::integer as item, sum((one ->> 'amount')::bigint) as minor
        from refunds r cross join jsonb_array_elements(r.items) as one
        where not exists (select from order_changes where refund_id = r.id) group by 1, 2
      ), orders as (
        select c.id, coalesce(c.order_amount_minor, c.amount_minor) as gross, x.minor as of_items, x.count,
          (select coalesce(sum(lowered_minor), 0) from order_changes where conversion_id = c.id)
          + (select coalesce(sum(coalesce(order_amount_minor, amount_minor)), 0) from refunds r
            where conversion_id = c.id and not exists (select from order_changes where refund_id = r.id)) as taken
        from conversions c
        join (select conversion_id, sum(minor) as minor, count(*) from refunded group by 1) x on x.conversion_id = c.id
        where c.state <> 'rejected' and c.cancelled_at is null and c.refunded_minor < c.amount_minor
      ), levels as (
        select o.id, o.count, sum(m.amount_minor - m.reversed_minor) as has,
          (coalesce(sum(m.amount_minor) filter (where m.cause <> 'restoration'), 0)
            - sum(coalesce(g.gone, 0)) - sum(coalesce(m.amount_minor - g.by_items, 0)) * o.of_items / o.gross)
          * (1 - (o.taken - o.of_items) / (o.gross - o.of_items)) as should
        from orders o join commissions m on m.conversion_id = o.id
        left join lateral (
          select sum(m.item_minor[r.item + 1]::numeric * r.minor / (c.items -> r.item ->> 'amount')::numeric) as gone,
            (select sum(minor) from unnest(m.item_minor) as minor) as by_items
          from refunded r join conversions c on c.id = r.conversion_id where r.conversion_id = o.id
        ) g on m.item_minor is not null
        group by o.id, o.count, o.gross, o.of_items, o.taken, m.level
      ), checked as (
        select id, abs(has - should) > (count + 2) / 2.0 as is_off from levels
      )
      select count(*) as checked, count(*) filter (where is_off) as off,
        'cnv_' || min(id) filter (where is_off) as example from checked`,
  },
  {
    name: 'refunds_agree',
    statement:
      "every order's refunded amount is the sum of what was taken off it, all of it while it is cancelled",
    find: (tx) => tx<[Finding]>`
      with taken as (
        select conversion_id, coalesce(order_amount_minor, amount_minor) as minor from refunds r
        where not exists (select from order_changes where refund_id = r.id)
        union all
        select conversion_id, lowered_minor from order_changes
      ), checked as (
        select c.id, case when c.cancelled_at is not null then c.refunded_minor <> c.amount_minor
          when c.order_amount_minor is null then c.refunded_minor <> coalesce(t.total, 0)
          -- In the program's currency, to half a unit.
          else 2 * abs(c.refunded_minor::numeric * c.order_amount_minor - c.amount_minor::numeric * coalesce(t.total, 0))
            > c.order_amount_minor end as is_off
        from conversions c
        left join (select conversion_id, sum(minor) as total from taken group by conversion_id) t
          on t.conversion_id = c.id
        where c.refunded_minor > 0 or c.cancelled_at is not null or t.total is not null
      )
      select count(*) as checked, count(*) filter (where is_off) as off,
        'cnv_' || min(id) filter (where is_off) as example from checked`,
  },
  {
    name: 'paid_once',
    statement:
      'no commission is in two live payouts, those in a payout or paid are in one, and those paid outside in none',
    find: (tx) => tx<[Finding]>`
      with checked as (
        select c.id, count(i.id) <> (c.state in ('in_payout', 'paid') and not c.paid_outside)::integer as is_off
        from commissions c left join payout_items i on i.commission_id = c.id and i.live
        group by c.id
      )
      select count(*) as checked, count(*) filter (where is_off) as off,
        'com_' || min(id) filter (where is_off) as example from checked`,
  },
  {
    name: 'payouts_agree',
    statement: 'every payout is the sum of its items, and in transit or paid as its state says',
    find: (tx) => tx<[Finding]>`
      with itemed as (
        select payout_id, sum(amount_minor) as total from payout_items group by payout_id
      ), booked as (
        select j.payout_id,
          sum(e.amount_minor) filter (where a.kind = 'in_transit') as in_transit,
          sum(e.amount_minor) filter (where a.kind = 'cash_clearing') as cash
        from journals j join entries e on e.journal_id = j.id join accounts a on a.id = e.account_id
        where j.payout_id is not null group by j.payout_id
      ), checked as (
        select p.id,
          p.amount_minor is distinct from i.total
          or coalesce(b.in_transit, 0) <> case
            when p.state in ('awaiting_approval', 'created', 'submitting', 'submitted', 'unknown')
              then p.amount_minor else 0 end
          or coalesce(-b.cash, 0) <> case when p.state = 'paid' then p.amount_minor else 0 end as is_off
        from payouts p left join itemed i on i.payout_id = p.id left join booked b on b.payout_id = p.id
      )
      select count(*) as checked, count(*) filter (where is_off) as off,
        'pay_' || min(id) filter (where is_off) as example from checked`,
  },
  {
    name: 'rests_agree',
    statement:
      'what is available and of no available commission is what payouts left below the smallest unit of their provider',
    find: (tx) => tx<[Finding]>`
      with earned as (
        select affiliate_id, currency, sum(amount_minor - reversed_minor + clawback_minor) as total
        from commissions where state = 'available' group by affiliate_id, currency
      ), left_over as (
        select p.affiliate_id, p.currency, -sum(i.amount_minor) as total
        from payout_items i join payouts p on p.id = i.payout_id
        where i.kind = 'rest' and i.live group by p.affiliate_id, p.currency
      ), checked as (
        select a.affiliate_id, a.balance_minor <> coalesce(e.total, 0) + coalesce(l.total, 0) as is_off
        from accounts a left join earned e using (affiliate_id, currency)
        left join left_over l using (affiliate_id, currency) where a.kind = 'available'
      )
      select count(*) as checked, count(*) filter (where is_off) as off,
        'aff_' || min(affiliate_id) filter (where is_off) as example from checked`,
  },
  {
    name: 'adjustments_agree',
    statement:
      'what an affiliate has without an order is its adjustments less those in payouts, and each is in a journal of its kind',
    find: (tx) => tx<[Finding]>`
      with adjusted as (
        select d.affiliate_id, d.currency, sum(d.amount_minor) as total, bool_or(j.kind <> d.kind) as is_foreign
        from adjustments d join journals j on j.id = d.journal_id group by d.affiliate_id, d.currency
      ), taken_up as (
        select p.affiliate_id, p.currency, sum(i.amount_minor) as total
        from payout_items i join payouts p on p.id = i.payout_id
        where i.kind = 'adjustment' and i.live group by p.affiliate_id, p.currency
      ), checked as (
        select a.affiliate_id,
          a.balance_minor <> coalesce(d.total, 0) - coalesce(t.total, 0) or coalesce(d.is_foreign, false) as is_off
        from accounts a left join adjusted d using (affiliate_id, currency)
        left join taken_up t using (affiliate_id, currency) where a.kind = 'adjustments'
      )
      select count(*) as checked, count(*) filter (where is_off) as off,
        'aff_' || min(affiliate_id) filter (where is_off) as example from checked`,
  },
  {
    name: 'payouts_approved',
    statement: 'every payout is as far as the approval of its run allows',
    find: (tx) => tx<[Finding]>`
      with checked as (
        select p.id, case r.state
          when 'awaiting_approval' then p.state not in ('awaiting_approval', 'canceled')
          when 'rejected' then p.state <> 'canceled'
          else p.state = 'awaiting_approval' end as is_off
        from payouts p join payout_batches b on b.id = p.batch_id join payout_runs r on r.id = b.run_id
      )
      select count(*) as checked, count(*) filter (where is_off) as off,
        'pay_' || min(id) filter (where is_off) as example from checked`,
  },
  chainCheck(
    'audit_log',
    'the audit log is as it was written: every row leads to the hash that was taken of it',
  ),
  chainCheck(
    'journals',
    'journals and entries are as they were written: every journal leads to the hash that was taken of it',
  ),
];

/** A row joins the chain within minutes; one that waits this long means that the chain is not extended. */
const CHAINED_WITHIN = '1 hour';

function chainCheck(chain: HashChain, statement: string): Check {
  const writtenAt = chain === 'journals' ? 'created_at' : 'at';
  return {
    name: `${chain}_chain`,
    statement,
    find: (tx) => tx<[Finding]>`
      with links as (
        select last_id, row_count, head, lag(last_id, 1, 0::bigint) over following as after_id,
          lag(head, 1, ''::bytea) over following as start,
          coalesce(rewritten_head, head) as due_head
        from hash_chain where chain = ${chain} window following as (order by last_id)
      ), checked as (
        select row_count, 'the rows with ids from ' || after_id + 1 || ' to ' || last_id || ', ' || row_count
            || ' when they were chained, now ' || found_count as example,
          due_head is distinct from found_head or row_count <> found_count as is_off
        from links cross join lateral (
          select count(*) as found_count, chain_hash(links.start, content order by row_id) as found_head
          from chained_rows(${chain}, links.after_id, links.last_id)
        ) found
      ), waiting as (
        select id from ${tx(chain)}
        where id > (select coalesce(max(last_id), 0) from links)
          and ${tx(writtenAt)} < clock_timestamp() - ${CHAINED_WITHIN}::interval
      )
      select (select coalesce(sum(row_count), 0)::bigint from checked) as checked,
        (select count(*) from checked where is_off) + (select count(*) from waiting) as off,
        coalesce((select min(example) from checked where is_off), 'row ' || (select min(id) from waiting) || ' is not chained')
          as example`,
  };
}
