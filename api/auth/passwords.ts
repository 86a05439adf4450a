import { createHmac, randomBytes } from 'node:crypto';
import { hash, verify } from '@node-rs/argon2';
import { ZxcvbnFactory } from '@zxcvbn-ts/core';
import * as common from '@zxcvbn-ts/language-common';
import { z } from 'zod';
import type { SecretBox } from '../../core/secret-box.ts';
import type { User } from '../../ledger/access/users.ts';
import { invalidField } from '../http/problems.ts';
import { formatId } from '../schemas/ids.ts';

/** Passwords: their hashes, what a new one must be, and the links by which one is set. */

/** Longer ones only cost time. */
const MAX_PASSWORD_LENGTH = 200;
/** NIST SP 800-63B: at least 8; more when nothing else guards the account. */
const MIN_PASSWORD_LENGTH = 10;

/** A password as it is given at sign-in: existing ones work, whatever is asked of new ones. */
export const password = z.string().min(1).max(MAX_PASSWORD_LENGTH);
export const newPassword = z
  .string()
  .min(MIN_PASSWORD_LENGTH, `must have at least ${MIN_PASSWORD_LENGTH} characters`)
  .max(MAX_PASSWORD_LENGTH);

/** What OWASP recommends for argon2id, and the library's default: 19 MiB, two passes, parallelism 1. */
const ARGON2 = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
const DUMMY_BYTES = 32;

export async function hashPassword(text: string): Promise<string> {
  return await hash(text.normalize('NFC'), ARGON2);
}

let dummyHash: Promise<string> | undefined;

/** Whether the password is right. An account that does not exist takes as long. */
export async function isPassword(stored: string | null | undefined, text: string): Promise<boolean> {
  dummyHash ??= hashPassword(randomBytes(DUMMY_BYTES).toString('hex'));
  const right = await verify(stored ?? (await dummyHash), text.normalize('NFC'));
  return right && stored !== null && stored !== undefined;
}

/**
 * zxcvbn's scale of 0 to 4, by the guesses needed: 3 is more than 10^8, which the limits of guesses put out of reach. A
 * list of the most used passwords alone is evaded by a digit at the end. `@zxcvbn-ts` is maintained; of its packages the
 * common one (50,000 passwords) is enough to refuse the usual ones, at a fifth of the time and size of all.
 */
const LEAST_SCORE = 3;
/** The time of an estimate grows fast with these, and it blocks the process: within them it takes some milliseconds. */
const ESTIMATE_LIMITS = { maxLength: 24, l33tMaxSubstitutions: 5 };

/** Shorter ones are parts of many other words. */
const MIN_KNOWN_WORD_LENGTH = 3;

let estimator: ZxcvbnFactory | undefined;

/** Made at the first use: the dictionary needs some memory. */
function getEstimator(): ZxcvbnFactory {
  estimator ??= new ZxcvbnFactory({
    graphs: common.adjacencyGraphs,
    dictionary: common.dictionary,
    ...ESTIMATE_LIMITS,
  });
  return estimator;
}

/**
 * Refuses a new password that is easy to guess, also by those who know the user and the program.
 * @throws Problem `invalid_input` naming `field`.
 */
export function checkNewPassword(
  text: string,
  options: { field: string; user: Pick<User, 'email' | 'name'>; programNames: readonly string[] },
): void {
  const { field, user, programNames } = options;
  const known = [user.email, user.name, ...programNames, 'afflux'];
  const words = known.flatMap((name) => [name, ...name.split(/[^\p{L}\p{N}]+/u)]);
  // What everybody knows of the user counts nothing; the longest first, as an address contains names.
  const rest = words
    .filter((word) => word.length >= MIN_KNOWN_WORD_LENGTH)
    .toSorted((a, b) => b.length - a.length)
    .reduce((left, word) => left.replaceAll(word.toLowerCase(), ''), text.normalize('NFC').toLowerCase());
  const { score } = getEstimator().check(rest);
  if (score >= LEAST_SCORE) return;
  throw invalidField(field, 'is too easy to guess: use several uncommon words, or a password manager');
}

/** Signs the right to set a password. Single use: the signature covers the current password hash. */
export function passwordToken(
  secretBox: SecretBox,
  options: { userId: number; passwordHash: string | null; expiresAt: Date },
): string {
  const claim = `${formatId('user', options.userId)}.${Math.floor(options.expiresAt.getTime() / 1_000)}`;
  return `${claim}.${secretBox.sign('password', `${claim}.${fingerprintOf(options.passwordHash)}`)}`;
}

/** What a token claims, if it has the form of one; {@link isPasswordToken} proves it. */
export function claimOf(token: string): { userId: number; expiresAt: Date } | undefined {
  const match = /^usr_([1-9]\d{0,9})\.(\d{10})\.[\w-]+$/.exec(token);
  return match ? { userId: Number(match[1]), expiresAt: new Date(Number(match[2]) * 1_000) } : undefined;
}

export function isPasswordToken(secretBox: SecretBox, token: string, passwordHash: string | null): boolean {
  const [user, expires, signature = ''] = token.split('.');
  return secretBox.verify('password', `${user}.${expires}.${fingerprintOf(passwordHash)}`, signature);
}

function fingerprintOf(passwordHash: string | null): string {
  return createHmac('sha256', 'password')
    .update(passwordHash ?? '')
    .digest('base64url');
}
