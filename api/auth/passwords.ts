import { createHmac, randomBytes } from 'node:crypto';
import { hash, verify } from '@node-rs/argon2';
import { ZxcvbnFactory } from '@zxcvbn-ts/core';
import * as common from '@zxcvbn-ts/language-common';
import * as english from '@zxcvbn-ts/language-en';
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
 * zxcvbn's scale of 0 to 4, by the guesses needed: 3 is more than 10^8, which the limits of guesses put out of reach.
 * The scale and not a list of the most used passwords alone: of 10 characters and more such a list has few, and people
 * avoid it by a digit at the end. `@zxcvbn-ts` is the maintained one, and its dictionaries stay on the server.
 */
const LEAST_SCORE = 3;
/** The estimate takes longer with the square of the length; what follows cannot make a password weaker. */
const MAX_ESTIMATED_LENGTH = 72;

let estimator: ZxcvbnFactory | undefined;

/** Made at the first use: the dictionaries need some memory. */
function getEstimator(): ZxcvbnFactory {
  estimator ??= new ZxcvbnFactory({
    translations: english.translations,
    graphs: common.adjacencyGraphs,
    dictionary: { ...common.dictionary, ...english.dictionary },
    maxLength: MAX_ESTIMATED_LENGTH,
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
  const { score, feedback } = getEstimator().check(
    text.normalize('NFC'),
    words.filter((word) => word.length > 2),
  );
  if (score >= LEAST_SCORE) return;
  const reason = feedback.warning ? ` ${feedback.warning}` : '';
  throw invalidField(
    field,
    `is too easy to guess: use several uncommon words, or a password manager.${reason}`,
  );
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
