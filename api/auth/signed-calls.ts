import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import type { SecretBox } from '../../core/secret-box.ts';
import { findSigningKey, type LiveApiKey } from '../../ledger/access/api-keys.ts';
import { noteSignature } from '../../ledger/integrations/postback-calls.ts';
import type { Database } from '../../ledger/postgres/db.ts';
import { Problem } from '../http/problems.ts';
import { integerId } from '../schemas/ids.ts';

/**
 * Signatures as Standard Webhooks defines them (standardwebhooks.com): HMAC-SHA-256 of `id.timestamp.body` with the
 * bytes behind `whsec_`, in base64 behind `v1,`. Shops sign their calls so, and we sign our webhooks so.
 */

/** What a caller claims; {@link checkSignature} proves it once the body is there. */
export interface CallSignature {
  readonly apiKey: LiveApiKey;
  readonly secret: string;
  readonly messageId: string;
  readonly signedAt: Date;
  readonly signatures: string;
}

/** Clocks may differ by this much; an older signature is useless to an eavesdropper. */
export const SIGNATURE_TOLERANCE_MS = 5 * 60_000;
const MAX_MESSAGE_ID_LENGTH = 200;
const MAX_SIGNATURES_LENGTH = 1_000;
/** Standard Webhooks recommends 24 to 64. */
const SECRET_BYTES = 32;
const PREFIX = 'whsec_';
const PURPOSE = 'signing secret';

export function newSigningSecret(secretBox: SecretBox): { secret: string; encrypted: Buffer } {
  const secret = PREFIX + randomBytes(SECRET_BYTES).toString('base64');
  return { secret, encrypted: secretBox.encrypt(PURPOSE, secret) };
}

/** Decrypts a secret of {@link newSigningSecret}. */
export function decryptSigningSecret(secretBox: SecretBox, encrypted: Uint8Array): string {
  return secretBox.decrypt(PURPOSE, encrypted);
}

/** The value of the header `webhook-signature`; `timestamp` in Unix seconds. */
export function sign(
  secret: string,
  message: { id: string; timestamp: number; body: Uint8Array | string },
): string {
  const key = Buffer.from(secret.slice(PREFIX.length), 'base64');
  const mac = createHmac('sha256', key).update(`${message.id}.${message.timestamp}.`).update(message.body);
  return `v1,${mac.digest('base64')}`;
}

/** Reads the headers of a signed call, before its body. @throws Problem `unauthorized`. */
export async function signatureOf(
  request: FastifyRequest,
  { ledger, secretBox }: { ledger: Database; secretBox: SecretBox },
): Promise<CallSignature> {
  const header = (name: string): string => String(request.headers[name] ?? '');
  const messageId = header('webhook-id');
  const seconds = header('webhook-timestamp');
  const signatures = header('webhook-signature');
  if (!/^[\x21-\x7e]+$/.test(messageId) || messageId.length > MAX_MESSAGE_ID_LENGTH) {
    throw refused('webhook-id must be 1 to 200 characters of visible ASCII');
  }
  if (!/^\d{1,12}$/.test(seconds)) throw refused('webhook-timestamp must be Unix seconds');
  const signedAt = new Date(Number(seconds) * 1_000);
  const offMs = Math.abs(signedAt.getTime() - Date.now());
  if (offMs > SIGNATURE_TOLERANCE_MS) {
    throw refused(`webhook-timestamp is ${Math.round(offMs / 1_000)} seconds off; 300 are tolerated`);
  }
  if (signatures.length > MAX_SIGNATURES_LENGTH) throw refused('webhook-signature is too long');
  const id = integerId('apiKey').safeParse(header('afflux-key'));
  const key = id.success ? await findSigningKey(ledger, { id: id.data, now: new Date() }) : undefined;
  if (!key) throw refused(WRONG);
  const secret = decryptSigningSecret(secretBox, key.signingSecret);
  return { apiKey: key.apiKey, secret, messageId, signedAt, signatures };
}

const WRONG = 'the signature does not match';

/**
 * Compares the signature with the body, or with the query string when there is none, and lets each through once.
 * @throws Problem `unauthorized`, `replayed`.
 */
export async function checkSignature(
  request: FastifyRequest,
  signed: CallSignature,
  ledger: Database,
): Promise<void> {
  const { secret, messageId, signedAt, signatures, apiKey } = signed;
  const body = request.rawBody?.length ? request.rawBody : (request.url.split('?')[1] ?? '');
  const right = Buffer.from(sign(secret, { id: messageId, timestamp: signedAt.getTime() / 1_000, body }));
  const fits = signatures.split(' ').some((given) => {
    const bytes = Buffer.from(given);
    return bytes.length === right.length && timingSafeEqual(bytes, right);
  });
  if (!fits) throw refused(WRONG);
  if (await noteSignature(ledger, { keyId: apiKey.id, messageId, signedAt })) return;
  throw new Problem('replayed', {
    detail: 'this message was received before; a new attempt needs a new webhook-timestamp',
  });
}

function refused(detail: string): Problem {
  return new Problem('unauthorized', { detail });
}
