import type { SecretBox } from '../../core/secret-box.ts';
import { DAY_MS } from '../../core/time.ts';

/**
 * The right to set up a platform that has no operator. It has the form of a key, so that logs hide it, and follows from
 * DATA_KEYS, so that `afflux up` prints what every API process takes. With the first operator it is worth nothing.
 */

/** Long enough for the day of the installation: the log of an older start opens nothing. */
const TOKEN_MS = DAY_MS;
const PURPOSE = 'first setup';
const FORM = /^afx_setup_(\d{10})_([\w-]+)$/;

export function setupToken(secretBox: SecretBox, now: number): string {
  const expires = String(Math.floor((now + TOKEN_MS) / 1_000));
  return `afx_setup_${expires}_${secretBox.sign(PURPOSE, expires)}`;
}

export function isSetupToken(secretBox: SecretBox, token: string, now: number): boolean {
  const [, expires = '0', signature = ''] = FORM.exec(token) ?? [];
  return Number(expires) * 1_000 >= now && secretBox.verify(PURPOSE, expires, signature);
}

/** Where the setup page takes it: behind the `#`, which browsers send to no server and into no referrer. */
export function setupUrl(portalUrl: string, token: string): string {
  return `${portalUrl}/portal/setup#${token}`;
}
