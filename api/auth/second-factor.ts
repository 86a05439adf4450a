import { randomBytes } from 'node:crypto';
import { Secret, TOTP } from 'otpauth';
import type { SecretBox } from '../../core/secret-box.ts';
import {
  confirmSecondFactor,
  findSecondFactor,
  useCodeOfStep,
  useRecoveryCode,
} from '../../ledger/access/second-factors.ts';
import { hashToken } from '../../ledger/access/sessions.ts';
import type { DatabaseSql } from '../../ledger/postgres/db.ts';

/** The second factor: codes of an authenticator app (TOTP, RFC 6238), or a recovery code in their place. */

const PURPOSE = 'second factor';
/** RFC 4226, section 4: at least 128 bits, 160 recommended. */
const SECRET_BYTES = 20;
/** What every authenticator app understands. */
const STEP_S = 30;
const DIGITS = 6;
/** Clocks of phones differ, and typing takes time: the code before and the code after are right, too. */
const STEPS_AROUND = 1;
export const RECOVERY_CODES = 10;
/** 80 bits: a code cannot be guessed, so its plain SHA-256 is safe to store. */
const RECOVERY_BYTES = 10;
/** Longest text that can be a code of either kind, with spaces. */
export const MAX_CODE_LENGTH = 40;

function totpOf(secret: string, email = ''): TOTP {
  return new TOTP({
    issuer: 'Afflux',
    label: email,
    secret: Secret.fromBase32(secret),
    algorithm: 'SHA1',
    digits: DIGITS,
    period: STEP_S,
  });
}

/** A new secret: in base 32 and as the URI of a QR code for the user, encrypted for the database. */
export function newSecret(
  secretBox: SecretBox,
  email: string,
): { secret: string; uri: string; encrypted: Buffer } {
  const secret = new Secret({ size: SECRET_BYTES }).base32;
  return { secret, uri: totpOf(secret, email).toString(), encrypted: secretBox.encrypt(PURPOSE, secret) };
}

/** The step of the code, if it is one of a secret just now. */
function stepOf(secret: string, code: string): number | undefined {
  const timestamp = Date.now();
  const delta = totpOf(secret).validate({ token: code, timestamp, window: STEPS_AROUND });
  return delta === null ? undefined : Math.floor(timestamp / 1_000 / STEP_S) + delta;
}

/** @returns Whether it is the first code of the secret that waits for one; the second factor is in force then. */
export async function confirmEnrolment(
  sql: DatabaseSql,
  secretBox: SecretBox,
  options: { userId: number; code: string },
): Promise<boolean> {
  const { userId, code } = options;
  const found = await findSecondFactor(sql, userId);
  if (!found || found.isConfirmed) return false;
  const step = stepOf(secretBox.decrypt(PURPOSE, found.secret), withoutSpaces(code));
  return step !== undefined && (await confirmSecondFactor(sql, { userId, step }));
}

export type CodeCheck = 'not_enrolled' | 'missing' | 'wrong' | 'right' | 'recovery_code';

/** Checks a code and uses it up; neither kind is accepted twice. */
export async function checkCode(
  sql: DatabaseSql,
  secretBox: SecretBox,
  options: { userId: number; code: string | undefined },
): Promise<CodeCheck> {
  const { userId } = options;
  const found = await findSecondFactor(sql, userId);
  if (!found?.isConfirmed) return 'not_enrolled';
  if (options.code === undefined) return 'missing';
  const code = withoutSpaces(options.code);
  if (code.length !== DIGITS) {
    const hash = hashToken(code.replaceAll('-', ''));
    return (await useRecoveryCode(sql, { userId, hash })) ? 'recovery_code' : 'wrong';
  }
  const step = stepOf(secretBox.decrypt(PURPOSE, found.secret), code);
  return step !== undefined && (await useCodeOfStep(sql, { userId, step })) ? 'right' : 'wrong';
}

/** Such as `k3vd-53mq-7hxa-t2pz`, to be shown once; their hashes are stored. */
export function newRecoveryCodes(): { codes: string[]; hashes: Buffer[] } {
  const bare = Array.from({ length: RECOVERY_CODES }, () =>
    new Secret({ buffer: new Uint8Array(randomBytes(RECOVERY_BYTES)).buffer }).base32.toLowerCase(),
  );
  return {
    codes: bare.map((code) => (code.match(/.{4}/g) ?? []).join('-')),
    hashes: bare.map((code) => hashToken(code)),
  };
}

function withoutSpaces(code: string): string {
  return code.replaceAll(/\s/g, '').toLowerCase();
}
