import type { GuessLimit } from '../../ledger/access/guess-limits.ts';
import { takeGuess } from '../../ledger/access/guess-limits.ts';
import type { DatabaseTransaction } from '../../ledger/postgres/db.ts';
import { prefixOf } from '../auth/guesses.ts';
import { Problem } from '../http/problems.ts';

/** How often strangers may apply, and partners may ask. */

/** Of one network: an agency registers its people; a script gets no further. */
const NETWORK = { burst: 10, everyS: 600 };
/** Of one program from all networks: at most some 2,000 applications wait for their confirmation. */
const PROGRAM = { burst: 300, everyS: 60 };
/** Mails to one address that applied, at all programs: a third person whose address is misused gets no more. */
const ADDRESS = { burst: 2, everyS: 21_600 };
/** Questions of one affiliate: a person does not write faster, and each is a mail to the operators. */
const QUESTIONS = { burst: 10, everyS: 600 };

/** Counts an application. @throws Problem `rate_limited`. */
export async function limitApplications(
  tx: DatabaseTransaction,
  { programId, ip }: { programId: number; ip: string | null },
): Promise<void> {
  await take(tx, [
    { of: `sign-up network ${prefixOf(ip)}`, ...NETWORK },
    { of: `sign-up program ${programId}`, ...PROGRAM },
  ]);
}

/** Whether the address may get another mail about an application. */
export async function mayMailApplicant(tx: DatabaseTransaction, email: string): Promise<boolean> {
  return (await takeGuess(tx, [{ of: `sign-up mail ${email}`, ...ADDRESS }])) === 0;
}

/** Counts a question. @throws Problem `rate_limited`. */
export async function limitQuestions(tx: DatabaseTransaction, affiliateId: number): Promise<void> {
  await take(tx, [{ of: `questions of affiliate ${affiliateId}`, ...QUESTIONS }]);
}

async function take(tx: DatabaseTransaction, limits: readonly GuessLimit[]): Promise<void> {
  const seconds = await takeGuess(tx, limits);
  if (seconds === 0) return;
  throw new Problem('rate_limited', {
    detail: `this is too often; try again in ${seconds} s`,
    headers: { 'retry-after': String(seconds) },
  });
}
