import { errorText } from '../core/errors.ts';
import { vestDue } from './commissions.ts';
import { idArray, inTransaction, type Ledger, type LedgerTransaction } from './db.ts';
import { postJournals } from './journals.ts';
import type { PaymentBatch, PaymentOrder, PayoutProvider, Submission } from './payout-provider.ts';
import { buildJournal, failPayout, PAYOUT_COLUMNS, type Payout, type PayoutItem } from './payouts.ts';

/** What a run did. */
export interface PayoutRun {
  /** Commissions whose hold had ended. */
  readonly vested: number;
  /** Payouts this run made. */
  readonly built: number;
  /** Payouts this run handed over, also those an earlier run had made, by the provider's answer. */
  readonly submitted: number;
  readonly failed: number;
  readonly unknown: number;
  /** The payouts handed over, as they are now. */
  readonly payouts: Payout[];
}

/** Commissions vested in one transaction. */
const VEST_BATCH_SIZE = 1_000;
/** Payouts made in one transaction and handed over in one batch. */
const PAYOUT_BATCH_SIZE = 500;
/** How long a run may take to hand a batch over before another run does it again, under the same key. */
const CLAIM_SECONDS = 120;
const ACTOR = 'payout run';

/**
 * Vests what is due; makes one payout for every active affiliate whose available money less its debt reaches its
 * payout minimum; hands batches over to the provider. Whoever runs it, however often and however many at once, each
 * commission is paid once: a batch is committed as `submitting` with its keys before the provider is called, and a
 * batch whose run died is handed over again under the same key.
 */
export async function runPayouts(
  ledger: Ledger,
  options: { now: Date; provider: PayoutProvider; programId?: number | undefined },
): Promise<PayoutRun> {
  const { now, provider, programId } = options;
  const { vested } = await vestDue(ledger, { now, limit: VEST_BATCH_SIZE, programId });
  const programs = await ledger<{ id: number }[]>`
    select id from programs where ${programId ?? null}::integer is null or id = ${programId ?? null} order by id`;
  let built = 0;
  for (const { id } of programs) built += await buildProgram(ledger, { now, provider, programId: id });
  const payouts: Payout[] = [];
  for (;;) {
    const handedOver = await handOverNext(ledger, options);
    if (!handedOver) break;
    payouts.push(...handedOver);
  }
  const count = (state: Payout['state']) => payouts.filter((payout) => payout.state === state).length;
  return {
    vested,
    built,
    submitted: count('submitted'),
    failed: count('failed'),
    unknown: count('unknown'),
    payouts,
  };
}

interface BuildOptions {
  readonly now: Date;
  readonly provider: PayoutProvider;
  readonly programId: number;
}

async function buildProgram(ledger: Ledger, options: BuildOptions): Promise<number> {
  let built = 0;
  let after = 0;
  for (;;) {
    const batch = await inTransaction(ledger, (tx) => buildBatch(tx, { ...options, after }));
    built += batch.built;
    if (batch.last === undefined) return built;
    after = batch.last;
  }
}

interface Payable {
  readonly commissionId: bigint;
  readonly affiliateId: number;
  readonly amountMinor: bigint;
}

/** Affiliates `after` that one, a batch of them: `last` is where the next batch begins, undefined at the end. */
async function buildBatch(
  tx: LedgerTransaction,
  options: BuildOptions & { after: number },
): Promise<{ built: number; last?: number | undefined }> {
  // One builder a program at a time. The unique keys alone would keep the money right, by failing the second one.
  await tx`select pg_advisory_xact_lock(hashtextextended('payouts.build', ${options.programId}))`;
  const candidates = await findCandidates(tx, options);
  const last = candidates.at(-1);
  if (last === undefined) return { built: 0 };
  const payable = await lockPayable(tx, candidates);
  const payouts = await insertPayouts(tx, options, payable);
  if (payouts.length > 0) {
    const items = await readItems(tx, payouts);
    await tx`
      update commissions c set state = 'in_payout' from payout_items i
      where i.commission_id = c.id and i.payout_id = any(${idArray(payouts.map(({ id }) => id))}::bigint[])`;
    await postJournals(
      tx,
      payouts.map((payout) => buildJournal(payout, items.get(payout.id) ?? [])),
    );
    await tx`update payouts set state = 'submitting' where id = any(${idArray(payouts.map(({ id }) => id))}::bigint[])`;
  }
  return { built: payouts.length, last: candidates.length < PAYOUT_BATCH_SIZE ? undefined : last };
}

/** Affiliates who may be due, by id: available money, no payout under way. */
async function findCandidates(
  tx: LedgerTransaction,
  options: BuildOptions & { after: number },
): Promise<number[]> {
  const rows = await tx<{ affiliateId: number }[]>`
    select a.affiliate_id from accounts a join affiliates f on f.id = a.affiliate_id
    where a.program_id = ${options.programId} and a.kind = 'available' and a.balance_minor > 0
      and a.affiliate_id > ${options.after} and f.status = 'active'
      and not exists (
        select from payouts p where p.affiliate_id = a.affiliate_id and p.currency = a.currency
          and p.state in ('created', 'submitting', 'submitted', 'unknown')
      )
    order by a.affiliate_id limit ${PAYOUT_BATCH_SIZE}`;
  return rows.map(({ affiliateId }) => affiliateId);
}

/** Locks the available commissions of these affiliates, then the affiliates that are still active. */
async function lockPayable(tx: LedgerTransaction, affiliateIds: readonly number[]): Promise<Payable[]> {
  // A commission that a refund is working on is left for the next run.
  const payable = await tx<Payable[]>`
    select id as commission_id, affiliate_id, amount_minor - reversed_minor + clawback_minor as amount_minor
    from commissions where affiliate_id = any(${[...affiliateIds]}::integer[]) and state = 'available'
    order by id for no key update skip locked`;
  // Nobody suspends an affiliate between this look and the commit of its payout.
  const active = await tx<{ id: number }[]>`
    select id from affiliates where id = any(${[...affiliateIds]}::integer[]) and status = 'active'
    order by id for share`;
  const ids = new Set(active.map(({ id }) => id));
  return payable.filter(({ affiliateId }) => ids.has(affiliateId));
}

/** Inserts the payouts that reach their minimum, with their items, in a batch of their own. */
async function insertPayouts(
  tx: LedgerTransaction,
  { now, provider, programId }: BuildOptions,
  payable: readonly Payable[],
): Promise<Payout[]> {
  const rows = payable.map(({ commissionId, affiliateId, amountMinor }) => ({
    commission_id: commissionId.toString(),
    affiliate_id: affiliateId,
    amount_minor: amountMinor.toString(),
  }));
  // The client takes a list for column names only after a plain `select`: no `(select` may come before it.
  return await tx<Payout[]>`
    with payable as (
      select * from jsonb_to_recordset(${tx.json(rows)}::jsonb)
        as r (commission_id bigint, affiliate_id integer, amount_minor bigint)
    ), owed as (
      select r.affiliate_id, a.currency, a.balance_minor as debt_minor,
        sum(r.amount_minor)::bigint + a.balance_minor as amount_minor
      from payable r join accounts a on a.affiliate_id = r.affiliate_id and a.kind = 'debt'
      group by r.affiliate_id, a.currency, a.balance_minor
    ), due as (
      select owed.* from owed cross join lateral (
        select payout_min_minor from terms
        where program_id = ${programId} and campaign_id is null and validity @> ${now}::timestamptz
          and (affiliate_id is null or affiliate_id = owed.affiliate_id)
        order by affiliate_id is null limit 1
      ) t
      where owed.amount_minor > 0 and owed.amount_minor >= t.payout_min_minor
    ), batch as (
      insert into payout_batches (program_id, provider)
      select ${programId}, ${provider.name} from due limit 1
      returning id
    ), made as (
      insert into payouts (batch_id, program_id, affiliate_id, currency, amount_minor, provider)
      select batch.id, ${programId}, due.affiliate_id, due.currency, due.amount_minor, ${provider.name}
      from due cross join batch order by due.affiliate_id
      returning *
    ), items as (
      insert into payout_items (payout_id, kind, commission_id, amount_minor)
      select made.id, 'commission', r.commission_id, r.amount_minor
      from made join payable r on r.affiliate_id = made.affiliate_id
      union all
      select made.id, 'debt', null, due.debt_minor
      from made join due on due.affiliate_id = made.affiliate_id where due.debt_minor < 0
    )
    select ${tx(PAYOUT_COLUMNS)} from made order by id`;
}

async function readItems(
  tx: LedgerTransaction,
  payouts: readonly Payout[],
): Promise<Map<bigint, PayoutItem[]>> {
  const items = await tx<PayoutItem[]>`
    select id, payout_id, kind, commission_id, amount_minor from payout_items
    where payout_id = any(${idArray(payouts.map(({ id }) => id))}::bigint[]) order by id`;
  const byPayout = new Map<bigint, PayoutItem[]>();
  for (const item of items) {
    const known = byPayout.get(item.payoutId);
    if (known) known.push(item);
    else byPayout.set(item.payoutId, [item]);
  }
  return byPayout;
}

/** Hands the oldest open batch that nobody has claimed over, and returns its payouts; undefined when there is none. */
async function handOverNext(
  ledger: Ledger,
  options: { now: Date; provider: PayoutProvider; programId?: number | undefined },
): Promise<Payout[] | undefined> {
  const { now, provider, programId = null } = options;
  // The database's clock, because the claims of several runs are compared with each other.
  const [claimed] = await ledger<{ id: bigint; batchKey: string; createdAt: Date }[]>`
    update payout_batches set claimed_until = clock_timestamp() + make_interval(secs => ${CLAIM_SECONDS})
    where id = (
      select id from payout_batches
      where handed_over_at is null and claimed_until <= clock_timestamp() and provider = ${provider.name}
        and (${programId}::integer is null or program_id = ${programId})
      order by id limit 1 for update skip locked
    )
    returning id, batch_key, created_at`;
  if (!claimed) return undefined;
  const orders = await ledger<(PaymentOrder & { id: bigint })[]>`
    select p.id, p.provider_key, p.affiliate_id, f.name as affiliate_name, f.email as affiliate_email,
      p.currency, p.amount_minor
    from payouts p join affiliates f on f.id = p.affiliate_id
    where p.batch_id = ${claimed.id} and p.state = 'submitting' order by p.id`;
  const answer = await submit(provider, { ...claimed, orders });
  return await inTransaction(ledger, (tx) => recordAnswer(tx, { batchId: claimed.id, answer, now }));
}

type Answer = Submission | { readonly outcome: 'unknown'; readonly reason: string };

async function submit(provider: PayoutProvider, batch: PaymentBatch): Promise<Answer> {
  try {
    return await provider.submit(batch);
  } catch (error) {
    return { outcome: 'unknown', reason: errorText(error) };
  }
}

async function recordAnswer(
  tx: LedgerTransaction,
  options: { batchId: bigint; answer: Answer; now: Date },
): Promise<Payout[]> {
  const { batchId, answer, now } = options;
  const submitting = await tx<{ id: bigint }[]>`
    select id from payouts where batch_id = ${batchId} and state = 'submitting' order by id`;
  const ids = submitting.map(({ id }) => id);
  await tx`update payout_batches set handed_over_at = clock_timestamp() where id = ${batchId}`;
  if (answer.outcome === 'refused') {
    for (const payoutId of ids) {
      await failPayout(tx, { payoutId, now, actor: ACTOR, failure: answer.reason });
    }
  } else if (answer.outcome === 'unknown') {
    await tx`
      update payouts set state = 'unknown', failure = left(${answer.reason}, 1000) where id = any(${idArray(ids)}::bigint[])`;
  } else {
    await tx`
      update payouts set state = 'submitted', submitted_at = ${now} where id = any(${idArray(ids)}::bigint[])`;
  }
  return await tx<Payout[]>`
    select ${tx(PAYOUT_COLUMNS)} from payouts where id = any(${idArray(ids)}::bigint[]) order by id`;
}
