import { takeGuess, takePlace } from '../../ledger/access/guess-limits.ts';
import { canonicalEmail } from '../../ledger/conversions/emails.ts';
import type { DatabaseTransaction } from '../../ledger/postgres/db.ts';
import { prefixOf, widePrefixOf } from '../auth/guesses.ts';
import { limitRate, tooOften } from '../http/party-limits.ts';

/**
 * How often strangers may apply, and partners may ask. A limit that a stranger can use up keeps others out: the limits of
 * networks come first, so that a single one uses up no other.
 */

/** Of one network, at all programs and addresses, and so of its mails too: an agency registers its people. */
const NETWORK = { burst: 10, everyS: 600 };
/** Of the networks that one party can have many of: it uses up no program. */
const WIDE_NETWORK = { burst: 60, everyS: 180 };
/** Of those with one mailbox: of its places some are left for its owner. */
const WIDE_NETWORK_WITH_MAILBOX = { burst: 3, everyS: 21_600 };
/** Of one program: 3,180 in the two days for which they wait for their confirmation. */
const PROGRAM = { burst: 300, everyS: 60 };
/** Mails of a program to a mailbox; more applications wait for their turn, as long as a link is good for. */
const MAILBOX = { burst: 2, everyS: 21_600, waiting: 8 };

/** Questions of one affiliate: a person does not write faster. */
const QUESTIONS = { burst: 10, everyS: 600 };
/** Mails about questions to the reviewers of a program: beyond, they are on the overview. */
const QUESTION_MAILS = { burst: 20, everyS: 600 };

/**
 * Counts an application, whether its address is known or not. Addresses of one mailbox are one.
 * @returns Seconds until its mail may be sent. @throws Problem `rate_limited`.
 */
export async function limitApplications(
  tx: DatabaseTransaction,
  { programId, ip, email }: { programId: number; ip: string | null; email: string },
): Promise<number> {
  const mailbox = canonicalEmail(email);
  const wide = widePrefixOf(ip);
  await limitRate(tx, [
    { of: `sign-up network ${prefixOf(ip)}`, ...NETWORK },
    { of: `sign-up wide network ${wide}`, ...WIDE_NETWORK },
    { of: `sign-up ${programId} ${mailbox} of ${wide}`, ...WIDE_NETWORK_WITH_MAILBOX },
    { of: `sign-up program ${programId}`, ...PROGRAM },
  ]);
  const place = await takePlace(tx, { of: `sign-up mail ${programId} ${mailbox}`, ...MAILBOX });
  if ('fullS' in place) throw tooOften(place.fullS);
  return place.turnS;
}

/** Counts a question. @throws Problem `rate_limited`. */
export async function limitQuestions(tx: DatabaseTransaction, affiliateId: number): Promise<void> {
  await limitRate(tx, [{ of: `questions of affiliate ${affiliateId}`, ...QUESTIONS }]);
}

/** Whether the reviewers of a program get a mail about another question. */
export async function mayMailReviewers(tx: DatabaseTransaction, programId: number): Promise<boolean> {
  return (await takeGuess(tx, [{ of: `mails about questions of ${programId}`, ...QUESTION_MAILS }])) === 0;
}
