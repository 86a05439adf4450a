import { isMappedIpv4, parseIp } from '../../core/ip.ts';
import { type GuessLimit, returnGuess, takeGuess } from '../../ledger/access/guess-limits.ts';
import { normalEmail } from '../../ledger/access/users.ts';
import { type Database, inTransaction } from '../../ledger/postgres/db.ts';
import { Problem } from '../http/problems.ts';

/**
 * How often passwords and codes may be guessed. A limit that strangers can use up is a way to keep the owner out: their
 * guesses do not count for a known device or a session, and no wait for a guess at a password is longer than a minute.
 */

/** Of a known device or a session: its holder mistypes, or somebody sits at the owner's computer. */
const OWN = { burst: 10, everyS: 30 };
/** Of one network at one account: who does not remember a password tries a few. */
const NETWORK_AT_ACCOUNT = { burst: 5, everyS: 60 };
/** Of all unknown devices at one account, against guesses from many networks: at most 2,880 a day. */
const ACCOUNT = { burst: 50, everyS: 30 };
/** Of one network at all accounts, against one password tried at many; an office behind one address is not stopped. */
const NETWORK = { burst: 50, everyS: 20 };
/** Of codes by those who have the password already: of a million codes three are right at a time, which takes years. */
const CODES = { burst: 10, everyS: 300 };

/** Before the IPv4 address in an IPv6 address that stands for it. */
const MAPPED_BYTES = 12;

/** Limits of a sign-in: `device` is that of a known device, undefined for any other. */
export function signInLimits(options: {
  email: string;
  ip: string | null;
  device: string | undefined;
}): GuessLimit[] {
  const { email, ip, device } = options;
  if (device !== undefined) return [{ of: `device ${device}`, ...OWN }];
  const account = `account ${normalEmail(email)}`;
  const network = `network ${prefixOf(ip)}`;
  return [
    { of: `${account} ${network}`, ...NETWORK_AT_ACCOUNT },
    { of: account, ...ACCOUNT },
    { of: network, ...NETWORK },
  ];
}

/** Limits of codes at a sign-in whose password was right: only who knows the password can use them up. */
export function codeLimits(options: { userId: number; device: string | undefined }): GuessLimit[] {
  const { userId, device } = options;
  return [{ of: `code ${device ?? `of user ${userId}`}`, ...CODES }];
}

/** Limits of a signed-in user, by session: neither a stranger nor another session of the user can use them up. */
export function sessionLimits(session: { id: bigint }): GuessLimit[] {
  return [{ of: `session ${session.id}`, ...OWN }];
}

/** Limits of tokens of the first setup, which are too long to be guessed; an operator who mistypes one tries a few times. */
export function setupLimits(ip: string | null): GuessLimit[] {
  return [{ of: `setup network ${prefixOf(ip)}`, ...NETWORK }];
}

/**
 * The first 24 bits of an IPv4 address, the first 64 of an IPv6 address: what one party usually has. Unknown addresses
 * are one network: hiding the address must not be a way around the limit.
 */
export function prefixOf(ip: string | null): string {
  return firstBytes(ip, { v4: 3, v6: 8 });
}

/** The first 16 bits of an IPv4 address, the first 48 of an IPv6 address: of which one party can have many networks. */
export function widePrefixOf(ip: string | null): string {
  return firstBytes(ip, { v4: 2, v6: 6 });
}

function firstBytes(ip: string | null, { v4, v6 }: { v4: number; v6: number }): string {
  const bytes = ip === null ? undefined : parseIp(ip);
  if (!bytes) return 'unknown';
  return bytes.toString('hex', 0, isMappedIpv4(bytes) ? MAPPED_BYTES + v4 : v6);
}

/**
 * Checks a guess within limits; a right one, for which `check` gives something true, costs nothing.
 * @throws Problem `locked_out`.
 */
export async function guess<Result>(
  ledger: Database,
  limits: readonly GuessLimit[],
  check: () => Promise<Result>,
): Promise<Result> {
  await inTransaction(ledger, async (tx) => {
    const seconds = await takeGuess(tx, limits);
    if (seconds === 0) return;
    throw new Problem('locked_out', {
      detail: `there were too many wrong passwords or codes; try again in ${seconds} s`,
      headers: { 'retry-after': String(seconds) },
    });
  });
  const result = await check();
  if (result) await returnGuess(ledger, limits);
  return result;
}
