import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { SecretBox } from '../../core/secret-box.ts';
import type { Source } from '../../ledger/integrations/sources.ts';
import { parseForm } from '../http/bodies.ts';
import { kindOf } from './kinds/index.ts';
import type { SentRequest } from './sent-request.ts';

/** What proves that a source made a call: its address, and the secret of its kind. */

/** 128 random bits, which cannot be guessed. */
const ADDRESS_BYTES = 16;
const ADDRESS_PURPOSE = 'source address';
const SECRET_PURPOSE = 'source secret';

export function newAddress(secretBox: SecretBox): { address: Buffer; addressHash: Buffer } {
  const text = randomBytes(ADDRESS_BYTES).toString('base64url');
  return { address: secretBox.encrypt(ADDRESS_PURPOSE, text), addressHash: hashOf(text) };
}

export function addressOf(secretBox: SecretBox, { address }: Pick<Source, 'address'>): string {
  return secretBox.decrypt(ADDRESS_PURPOSE, address);
}

export function encryptSecret(secretBox: SecretBox, secret: string): Buffer {
  return secretBox.encrypt(SECRET_PURPOSE, secret);
}

export function hashOf(text: string | Buffer): Buffer {
  return createHash('sha256').update(text).digest();
}

/**
 * Whether a call proves that the source made it, by its signature or the secret in it; one of a source without a secret in its
 * calls is proven by the address. `receivedAt`: when it came.
 */
export function isProven(
  secretBox: SecretBox,
  source: Source,
  { request, receivedAt }: { request: SentRequest; receivedAt: Date },
): boolean {
  if (isUnsigned(source, request)) return true;
  const { signature, secret: way } = kindOf(source.kind);
  const secrets = secretsOf(secretBox, source, receivedAt);
  if (signature) return secrets.some((secret) => signature(request, { secret, receivedAt }));
  if (typeof way !== 'object' || secrets.length === 0) return true;
  const given = Buffer.from(String(parseForm(request.query)[way.parameter] ?? ''));
  return secrets.some((secret) => {
    const right = Buffer.from(secret);
    return given.length === right.length && timingSafeEqual(given, right);
  });
}

/** Headers that say what a body is about: the same body under another topic is another call. */
const TOPIC_HEADERS = ['x-shopify-topic', 'x-wc-webhook-topic'];

/** SHA-256 of a signed body and its topic: a call that comes again with the same is done once. */
export function hashOfCall({ headers, body }: SentRequest): Buffer {
  const topics = TOPIC_HEADERS.map((name) => `${headers[name] ?? ''}\n`).join('');
  return hashOf(Buffer.concat([Buffer.from(topics), body]));
}

/** WooCommerce does not sign the ping of a new webhook: a form that says nothing but the number of the webhook. */
export function isUnsigned({ kind }: Pick<Source, 'kind'>, { body }: SentRequest): boolean {
  return kind === 'woocommerce' && body.length <= 32 && /^webhook_id=\d{1,20}$/.test(body.toString('latin1'));
}

function secretsOf(secretBox: SecretBox, source: Source, at: Date): string[] {
  const { secret, oldSecret, oldSecretUntil } = source;
  const isOldRight = oldSecretUntil !== null && at < oldSecretUntil;
  return [secret, isOldRight ? oldSecret : null]
    .filter((one) => one !== null)
    .map((one) => secretBox.decrypt(SECRET_PURPOSE, one));
}
