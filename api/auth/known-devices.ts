import { randomBytes } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { SecretBox } from '../../core/secret-box.ts';
import { DAY_MS } from '../../core/time.ts';
import { formatId } from '../schemas/ids.ts';
import { readCookie, setCookie } from './cookies.ts';

/**
 * A known device: a browser in which a user has signed in before. Its guesses are counted apart, so that a stranger's
 * guesses do not keep the owner out (OWASP: "Slow Down Online Guessing Attacks with Device Cookies"). It gives no right:
 * the password is asked for as ever.
 */

const NAME = 'afflux_device';
/** Who signs in twice a year keeps it. */
const KNOWN_MS = 180 * DAY_MS;
const NONCE_BYTES = 16;

type Options = { readonly userId: number; readonly secretBox: SecretBox; readonly portalUrl: string };

/** Makes the browser a known device of the user. One cookie: of several users of a browser the last is known. */
export function setKnownDevice(reply: FastifyReply, { userId, secretBox, portalUrl }: Options): void {
  const claim = `${formatId('user', userId)}.${randomBytes(NONCE_BYTES).toString('base64url')}`;
  const value = `${claim}.${secretBox.sign('known device', claim)}`;
  setCookie(reply, { name: NAME, value, maxAgeMs: KNOWN_MS, portalUrl });
}

/** What names the device, when the browser is a known one of this user. */
export function knownDevice(
  request: FastifyRequest,
  { userId, secretBox, portalUrl }: Options,
): string | undefined {
  const value = readCookie(request, { name: NAME, portalUrl });
  const [user, nonce, signature = ''] = value?.split('.') ?? [];
  const claim = `${user}.${nonce}`;
  const isKnown = user === formatId('user', userId) && secretBox.verify('known device', claim, signature);
  return isKnown ? claim : undefined;
}
