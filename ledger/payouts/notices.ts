import { type Database, type DatabaseTransaction, inTransaction } from '../postgres/db.ts';
import { failPayout, type Payout, returnPayout, settlePayout } from './payouts.ts';

/** What a provider tells of a payout by itself, by whatever way it tells it. */

export type NoticeStatus = 'paid' | 'failed' | 'returned';

export type NoticeOutcome =
  | 'recorded'
  /** What it says is known already. */
  | 'repeated'
  | 'not_found'
  /** The run that hands the payout over has not written down the provider's answer yet: to be told again. */
  | 'too_early'
  /** It contradicts what is recorded: nothing was changed, and a person has to look. */
  | 'contradicts';

/**
 * Records what a provider tells of a payout. Notices may come twice, late, or in any order: one that says what is known
 * already, or less, changes nothing; a return tells that the money had been paid.
 */
export async function recordNotice(
  ledger: Database,
  notice: { provider: string; providerKey: string; status: NoticeStatus; now: Date },
): Promise<NoticeOutcome> {
  const { provider, providerKey, status, now } = notice;
  return await inTransaction(ledger, async (tx) => {
    const [payout] = await tx<{ id: bigint }[]>`
      select id from payouts where provider = ${provider} and provider_key = ${providerKey}`;
    if (!payout) return 'not_found';
    const failure = `${status}, as ${provider} says`;
    return await applyNotice(tx, { payoutId: payout.id, status, now, actor: provider, failure });
  });
}

/** What {@link recordNotice} does to the payout, whoever says it. */
export async function applyNotice(
  tx: DatabaseTransaction,
  notice: { payoutId: bigint; status: NoticeStatus; now: Date; actor: string; failure: string },
): Promise<NoticeOutcome> {
  const { status } = notice;
  if (status === 'failed') return outcomeOf(await failPayout(tx, notice), ['failed']);
  const settled = await settlePayout(tx, notice);
  if (status === 'paid') return outcomeOf(settled, ['paid', 'returned']);
  if (settled.outcome === 'wrong_state' && settled.state === 'submitting') return 'too_early';
  return outcomeOf(await returnPayout(tx, notice), ['returned']);
}

function outcomeOf(
  closed: Awaited<ReturnType<typeof settlePayout>>,
  known: readonly Payout['state'][],
): NoticeOutcome {
  if (closed.outcome === 'done') return 'recorded';
  if (closed.outcome === 'not_found') return 'not_found';
  if (closed.state === 'submitting') return 'too_early';
  return known.includes(closed.state) ? 'repeated' : 'contradicts';
}
