import type { SecretBox } from '../../core/secret-box.ts';
import { type Database, type DatabaseTransaction, inTransaction } from '../postgres/db.ts';
import { refuseDestination } from './methods.ts';
import { failPayout, markPayoutPaid, type Payout, returnPayout } from './payouts.ts';

/** Notices of a provider about a payout, by webhook, file or any other channel. */

export type NoticeStatus = 'paid' | 'failed' | 'returned';

export type NoticeOutcome =
  | 'recorded'
  /** Its content is recorded already. */
  | 'repeated'
  | 'not_found'
  /** The run that hands the payout over has not recorded the provider's answer yet: the notice must be sent again. */
  | 'too_early'
  /** It contradicts what is recorded: nothing was changed, and a person has to look. */
  | 'contradicts';

/**
 * Records a notice of a provider. Notices may come twice, late, or in any order: one that adds nothing to what is
 * recorded changes nothing; a return implies that the money had been paid.
 */
export async function recordNotice(
  ledger: Database,
  notice: { provider: string; providerKey: string; status: NoticeStatus; now: Date; secretBox: SecretBox },
): Promise<NoticeOutcome> {
  const { provider, providerKey, status, now, secretBox } = notice;
  return await inTransaction(ledger, async (tx) => {
    const [payout] = await tx<{ id: bigint }[]>`
      select id from payouts where provider = ${provider} and provider_key = ${providerKey}`;
    if (!payout) return 'not_found';
    const failure = `${status}, as ${provider} says`;
    return await applyNotice(tx, {
      payoutId: payout.id,
      status,
      now,
      actor: provider,
      failure,
      accountRefused: true,
      secretBox,
    });
  });
}

interface Notice {
  readonly payoutId: bigint;
  readonly status: NoticeStatus;
  readonly now: Date;
  readonly actor: string;
  /** Why it failed or came back, in words for its affiliate as well. */
  readonly failure: string;
  /** The same in the sender's own words, for operators. */
  readonly providerFailure?: string | undefined;
  /** Whether a payout that failed or came back did so because of its account, to which nothing more is paid then. */
  readonly accountRefused: boolean;
  readonly secretBox: SecretBox;
}

/** What {@link recordNotice} does to the payout, for any sender of the notice. */
export async function applyNotice(tx: DatabaseTransaction, notice: Notice): Promise<NoticeOutcome> {
  const outcome = await closeByNotice(tx, notice);
  if (outcome === 'recorded' && notice.status !== 'paid' && notice.accountRefused) {
    await refuseDestination(tx, notice);
  }
  return outcome;
}

async function closeByNotice(tx: DatabaseTransaction, notice: Notice): Promise<NoticeOutcome> {
  const { status } = notice;
  if (status === 'failed') return outcomeOf(await failPayout(tx, notice), ['failed']);
  const { payoutId, now, actor } = notice;
  const marked = await markPayoutPaid(tx, { payoutId, now, actor });
  if (status === 'paid') return outcomeOf(marked, ['paid', 'returned']);
  if (marked.outcome === 'wrong_state' && marked.state === 'submitting') return 'too_early';
  return outcomeOf(await returnPayout(tx, notice), ['returned']);
}

function outcomeOf(
  closed: Awaited<ReturnType<typeof markPayoutPaid>>,
  known: readonly Payout['state'][],
): NoticeOutcome {
  if (closed.outcome === 'done') return 'recorded';
  if (closed.outcome === 'not_found') return 'not_found';
  if (closed.state === 'submitting') return 'too_early';
  return known.includes(closed.state) ? 'repeated' : 'contradicts';
}
