import { errorText } from '../../core/errors.ts';
import type { SecretBox } from '../../core/secret-box.ts';
import { appendAuditLog } from '../access/audit-log.ts';
import { type Database, type DatabaseSql, type DatabaseTransaction, inTransaction } from '../postgres/db.ts';
import type { BatchClaim } from './build.ts';
import { destinations } from './destinations.ts';
import { decryptPayoutAccount, refuseDestination } from './methods.ts';
import {
  cancelPayout,
  failPayout,
  markPayoutPaid,
  PAYOUT_COLUMNS,
  type Payout,
  returnPayout,
} from './payouts.ts';
import type { PaymentAnswer, PaymentOrder, PayoutProvider, Submission } from './provider.ts';

/** How long a run may take to hand a batch over before another run does it again, under the same keys. */
export const CLAIM_SECONDS = 120;
/** Stripe keeps idempotency keys for a day; within it the same call under the same key cannot pay twice. */
const RESUBMIT_HOURS = 23;
/** Payouts asked about in one go. */
const RECONCILE_LIMIT = 200;
const ACTOR = 'payout run';
const REASON_LENGTH = 1_000;

/** What affiliates read; the provider's own words are for operators. */
const REFUSED = 'the payment was refused';
const NO_ANSWER = 'the provider gave no answer';
const RETURNED = 'the payment came back';

interface SubmitOptions {
  readonly now: Date;
  readonly provider: PayoutProvider;
  /** Decrypts the accounts of the payouts, and encrypts mails; without it orders have none, and none are sent. */
  readonly secretBox?: SecretBox | undefined;
  readonly programId?: number | undefined;
}

export interface SubmittedPayouts {
  /** Those handed over, as they are then. */
  readonly payouts: readonly Payout[];
  /**
   * Why the provider refuses to work for the operator, in its words: what was not handed over waits for another run.
   * Null: it does not refuse.
   */
  readonly stopped: string | null;
}

/**
 * Hands every open batch over that needs no approval or has it: those that `claims` has left to this run, and those
 * that no run has claimed.
 */
export async function submitPayouts(
  ledger: Database,
  options: SubmitOptions & { claims?: readonly BatchClaim[] | undefined },
): Promise<SubmittedPayouts> {
  const payouts: Payout[] = [];
  for (;;) {
    const handedOver = await handOverNext(ledger, options);
    if (!handedOver) return { payouts, stopped: null };
    payouts.push(...handedOver.payouts);
    if (handedOver.stopped !== null) return { payouts, stopped: handedOver.stopped };
  }
}

/**
 * Hands over the oldest open batch without a claim of another run; undefined when there is none. The batch is committed
 * as `submitting`, with its keys, before the provider is called: a run that dies leaves a batch that is handed over
 * again under the same keys.
 */
async function handOverNext(
  ledger: Database,
  options: SubmitOptions & { claims?: readonly BatchClaim[] | undefined },
): Promise<SubmittedPayouts | undefined> {
  const { now, provider, secretBox, programId = null, claims = [] } = options;
  // The database's clock, because the claims of several runs are compared with each other.
  const [claimed] = await ledger<{ id: bigint; runId: bigint; batchKey: string; createdAt: Date }[]>`
    update payout_batches set claimed_until = clock_timestamp() + make_interval(secs => ${CLAIM_SECONDS})
    where id = (
      select id from payout_batches b
      where handed_over_at is null and provider = ${provider.name}
        and (claimed_until <= clock_timestamp() or (run_id, claimed_until) in (
          select * from unnest(${claims.map(({ runId }) => runId)}::bigint[], ${claims.map(({ until }) => until)}::timestamptz[])
        ))
        and (${programId}::integer is null or program_id = ${programId})
        and exists (select from payout_runs r where r.id = b.run_id and r.state <> 'awaiting_approval')
      order by id limit 1 for update skip locked
    )
    returning id, run_id, batch_key, created_at`;
  if (!claimed) return undefined;
  const begun = await inTransaction(ledger, (tx) =>
    beginSubmission(tx, { batchId: claimed.id, now, provider }),
  );
  const orders = await readOrders(ledger, { ids: begun, secretBox });
  const answers =
    orders.length === 0 ? new Map() : await submit(provider, { ...claimed, handedOverAt: now, orders });
  return await inTransaction(ledger, async (tx) => {
    const ids = orders.map(({ payoutId }) => payoutId);
    const stopped = await recordAnswers(tx, { ids, answers, now, secretBox });
    if (stopped !== null) await leaveToNextRun(tx, { ...claimed, stopped });
    await tx`
      update payout_batches set handed_over_at = clock_timestamp()
      where id = ${claimed.id}
        and not exists (select from payouts where batch_id = ${claimed.id} and state in ('created', 'submitting'))`;
    const payouts = await tx<Payout[]>`
      select ${tx(PAYOUT_COLUMNS)} from payouts where id = any(${ids}::bigint[]) and state <> 'created' order by id`;
    return { payouts, stopped };
  });
}

async function leaveToNextRun(
  tx: DatabaseTransaction,
  { id, runId, stopped }: { id: bigint; runId: bigint; stopped: string },
): Promise<void> {
  await tx`update payout_batches set claimed_until = '-infinity' where id = ${id}`;
  await appendAuditLog(tx, {
    actor: ACTOR,
    action: 'payouts.stopped',
    subject: `run_${runId}`,
    after: { provider_failure: stopped },
  });
}

/** A condition: the money of payout `p` would go elsewhere by now, `d` being the present destination. */
const isElsewhere = (sql: DatabaseSql) => sql`
  (p.destination_kind, p.method_version) is distinct from (d.kind, d.method_version)`;

/** A condition: affiliate `f` may not be paid by run `r`. Who is terminated is paid by a run of its own. */
const isStopped = (sql: DatabaseSql) => sql`
  (f.status <> 'active' and not (f.status = 'terminated' and r.affiliate_id is not null))`;

/**
 * Cancels the payouts of affiliates that are no longer active, have changed where their money goes, or whose account was
 * refused meanwhile: the next run builds them again when they can be paid. Moves the others to `submitting`: from now on they can only be asked about.
 * Returns those to hand over; with `mayRepeat` also those a dead run was handing over.
 */
async function beginSubmission(
  tx: DatabaseTransaction,
  options: { batchId: bigint; now: Date; provider: PayoutProvider },
): Promise<bigint[]> {
  const { batchId, now, provider } = options;
  const mayRepeat = provider.lookUp === undefined;
  // Before everything else, so that no affiliate is suspended, and no destination changed, between this check and the
  // commit of the submission.
  await tx`
    select from affiliates where id in (
      select affiliate_id from payouts where batch_id = ${batchId} and state = 'created'
    ) order by id for share`;
  const stopped = await tx<{ id: bigint; failure: string }[]>`
    select p.id, case
        when ${isStopped(tx)} then ${'its affiliate is not active any more'}
        when ${isElsewhere(tx)} then ${'the payout method was changed before it was handed over'}
        else ${'a payment to the payout method was refused'}
      end as failure
    from payouts p join payout_batches b on b.id = p.batch_id join payout_runs r on r.id = b.run_id
    join affiliates f on f.id = p.affiliate_id
    join ${destinations(tx, { provider, now })} d on d.affiliate_id = p.affiliate_id
    where p.batch_id = ${batchId} and p.state = 'created'
      and (${isStopped(tx)} or ${isElsewhere(tx)} or d.refused_at is not null)
    order by p.id`;
  for (const { id: payoutId, failure } of stopped) {
    await cancelPayout(tx, { payoutId, now, actor: ACTOR, failure });
  }
  const begun = await tx<{ id: bigint }[]>`
    update payouts set state = 'submitting'
    where batch_id = ${batchId} and (state = 'created' or (${mayRepeat} and state = 'submitting'))
    returning id`;
  return begun.map(({ id }) => id);
}

/** What to pay, to where each payout was built for: a repeated order has the same destination. */
async function readOrders(
  ledger: Database,
  { ids, secretBox }: { ids: readonly bigint[]; secretBox: SecretBox | undefined },
): Promise<PaymentOrder[]> {
  const rows = await ledger<
    (Omit<PaymentOrder, 'payoutAccount' | 'accountHolder'> & { details: Buffer | null })[]
  >`
    select p.id as payout_id, p.provider_key, p.affiliate_id, f.name as affiliate_name, f.email as affiliate_email,
      p.destination_details as details, p.currency, p.amount_minor
    from payouts p join affiliates f on f.id = p.affiliate_id
    where p.id = any(${ids}::bigint[])
    order by p.id`;
  return rows.map(({ details, ...order }) => {
    const to = details && secretBox ? decryptPayoutAccount(secretBox, details) : undefined;
    return { ...order, payoutAccount: to?.account ?? null, accountHolder: to?.holder ?? null };
  });
}

/** The provider's answers; none where it did not answer at all: the outcome is unknown. */
async function submit(
  provider: PayoutProvider,
  batch: Parameters<PayoutProvider['submit']>[0],
): Promise<Submission & { readonly fault?: string }> {
  try {
    return await provider.submit(batch);
  } catch (error) {
    return Object.assign(new Map<string, PaymentAnswer>(), { fault: errorText(error) });
  }
}

/**
 * Moves payouts that are submitting or unknown to what the provider says of them, all together where it can. Returns why
 * the provider has stopped, in its words; null: it has not.
 */
async function recordAnswers(
  tx: DatabaseTransaction,
  options: {
    ids: readonly bigint[];
    answers: Submission & { readonly fault?: string };
    now: Date;
    secretBox: SecretBox | undefined;
  },
): Promise<string | null> {
  const { answers, now, secretBox } = options;
  const payouts = await tx<{ id: bigint; providerKey: string }[]>`
    select id, provider_key from payouts
    where id = any(${options.ids}::bigint[]) and state in ('submitting', 'unknown')
    order by id for no key update`;
  const answered = payouts.map(({ id, providerKey }) => ({ id, answer: answers.get(providerKey) }));
  const idsOf = (...outcomes: (PaymentAnswer['outcome'] | undefined)[]): bigint[] =>
    answered.filter(({ answer }) => outcomes.includes(answer?.outcome)).map(({ id }) => id);
  const taken = idsOf('accepted', 'paid', 'returned');
  const lost = idsOf(undefined);
  const untouched = idsOf('stopped');
  const fault = (answers.fault ?? NO_ANSWER).slice(0, REASON_LENGTH);
  await tx`
    update payouts set state = 'submitted', submitted_at = ${now}, failure = null, provider_failure = null
    where id = any(${taken}::bigint[])`;
  await tx`
    update payouts set state = 'unknown', failure = ${NO_ANSWER}, provider_failure = ${fault}
    where id = any(${lost}::bigint[]) and state = 'submitting'`;
  await tx`
    update payouts set state = 'created' where id = any(${untouched}::bigint[]) and state = 'submitting'`;
  for (const { id: payoutId, answer } of answered) {
    const closing = { payoutId, now, actor: ACTOR };
    if (answer?.outcome === 'refused') {
      const providerFailure = answer.reason.slice(0, REASON_LENGTH);
      await failPayout(tx, { ...closing, failure: REFUSED, providerFailure });
      await refuseDestination(tx, { ...closing, secretBox });
    }
    if (answer?.outcome === 'paid' || answer?.outcome === 'returned') await markPayoutPaid(tx, closing);
    if (answer?.outcome === 'returned') {
      await returnPayout(tx, { ...closing, failure: RETURNED });
      await refuseDestination(tx, { ...closing, secretBox });
    }
  }
  const stop = answered.find(({ answer }) => answer?.outcome === 'stopped')?.answer;
  return stop?.outcome === 'stopped' ? stop.reason.slice(0, REASON_LENGTH) : null;
}

/**
 * Payouts that a dead run was handing over are reconciled like all others with unknown outcome: handed over again they
 * would be paid twice by a provider that has forgotten the key.
 */
async function disownDeadRuns(ledger: Database, options: SubmitOptions): Promise<void> {
  const { provider, programId = null } = options;
  await ledger`
    update payouts p set state = 'unknown', failure = ${NO_ANSWER}, provider_failure = 'the run that handed it over has died'
    from payout_batches b
    where b.id = p.batch_id and p.state = 'submitting' and b.handed_over_at is null
      and b.claimed_until <= clock_timestamp() and b.provider = ${provider.name}
      and (${programId}::integer is null or b.program_id = ${programId})`;
}

/** The result of asking about payouts with unknown outcome. */
export interface Reconciliation {
  readonly asked: number;
  /** Those the provider had never heard of, handed over again under their own keys. */
  readonly resubmitted: number;
  /** Those that are still not known: the provider cannot be asked, does not answer, or was asked too late. */
  readonly unknown: number;
}

/**
 * Asks the provider for payouts it gave no answer for. One that it never received is handed over again under its own
 * key, as long as the provider remembers keys, the affiliate is active and its money still goes there; otherwise a
 * person decides. None ever gets a second key.
 * @throws OperatingError `payout_provider_refused`.
 */
export async function reconcilePayouts(ledger: Database, options: SubmitOptions): Promise<Reconciliation> {
  const { now, provider, programId = null } = options;
  if (provider.lookUp) await disownDeadRuns(ledger, options);
  const unknown = await ledger<{ id: bigint; mayGoAgain: boolean; batchKey: string; createdAt: Date }[]>`
    select p.id, b.batch_key, b.created_at, p.created_at > ${now}::timestamptz - make_interval(hours => ${RESUBMIT_HOURS})
      and not ${isStopped(ledger)} and not (${isElsewhere(ledger)}) and d.refused_at is null as may_go_again
    from payouts p join payout_batches b on b.id = p.batch_id join payout_runs r on r.id = b.run_id
    join affiliates f on f.id = p.affiliate_id
    join ${destinations(ledger, { provider, now })} d on d.affiliate_id = p.affiliate_id
    where p.state = 'unknown' and p.provider = ${provider.name}
      and (${programId}::integer is null or p.program_id = ${programId})
    order by p.id limit ${RECONCILE_LIMIT}`;
  if (unknown.length === 0 || !provider.lookUp) return { asked: 0, resubmitted: 0, unknown: unknown.length };
  const ids = unknown.map(({ id }) => id);
  const orders = await readOrders(ledger, { ids, secretBox: options.secretBox });
  const found = await provider.lookUp(orders);
  const batches = new Map(unknown.map((payout) => [payout.id, payout]));
  const missing = orders.filter(
    ({ payoutId, providerKey }) => !found.has(providerKey) && batches.get(payoutId)?.mayGoAgain,
  );
  const answers = new Map(found);
  // Batch by batch, so that no file has payments of two programs.
  for (const [batchKey, batch] of groupByBatch(missing, batches)) {
    const again = { ...batch, batchKey: `${batchKey}-again-${batch.orders[0]?.providerKey}` };
    for (const [key, answer] of await submit(provider, { ...again, handedOverAt: now })) {
      answers.set(key, answer);
    }
  }
  await inTransaction(ledger, (tx) => recordAnswers(tx, { ids, answers, now, secretBox: options.secretBox }));
  const isKnown = (answer: PaymentAnswer | undefined) => answer !== undefined && answer.outcome !== 'stopped';
  const left = orders.filter(({ providerKey }) => !isKnown(answers.get(providerKey))).length;
  return { asked: orders.length, resubmitted: missing.length, unknown: left };
}

/** Orders by the key of their batch. */
function groupByBatch(
  orders: readonly PaymentOrder[],
  batches: ReadonlyMap<bigint, { readonly batchKey: string; readonly createdAt: Date }>,
): Map<string, { createdAt: Date; orders: PaymentOrder[] }> {
  const groups = new Map<string, { createdAt: Date; orders: PaymentOrder[] }>();
  for (const order of orders) {
    const batch = batches.get(order.payoutId);
    if (!batch) continue;
    const group = groups.get(batch.batchKey) ?? { createdAt: batch.createdAt, orders: [] };
    group.orders.push(order);
    groups.set(batch.batchKey, group);
  }
  return groups;
}
