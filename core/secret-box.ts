import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  hkdfSync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';
import { assert, OperatingError } from './errors.ts';

/** Encrypts secrets that must be read again (AES-256-GCM), and signs what leaves and comes back (HMAC-SHA-256). */
export interface SecretBox {
  /** `purpose` names the kind of secret: ciphertext of one purpose does not decrypt under another. */
  encrypt(purpose: string, plaintext: string): Buffer;
  /** @throws OperatingError `data_key_missing` when no key decrypts it. */
  decrypt(purpose: string, encrypted: Uint8Array): string;
  /** A signature in base64url. */
  sign(purpose: string, text: string): string;
  /** Whether one of the keys signed it, in constant time. */
  verify(purpose: string, text: string, signature: string): boolean;
}

const VERSION = 1;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;

/**
 * `keys`: 32 bytes each, the newest first; the newest encrypts and signs, every one decrypts and verifies.
 * The layout `version | IV | tag | ciphertext` and the labels of the derived keys belong to stored data: never change.
 */
export function createSecretBox(keys: readonly Buffer[]): SecretBox {
  const [newest] = keys;
  assert(newest && keys.every((key) => key.length === KEY_BYTES), 'a secret box has keys of 32 bytes');
  const derivedKey = (key: Buffer, purpose: string): Buffer =>
    Buffer.from(hkdfSync('sha256', key, '', `afflux ${purpose}`, KEY_BYTES));
  const encryptionKey = (key: Buffer, purpose: string): Buffer => derivedKey(key, `seal ${purpose}`);
  const mac = (key: Buffer, purpose: string, text: string): Buffer =>
    createHmac('sha256', derivedKey(key, `signature ${purpose}`))
      .update(text)
      .digest();

  return {
    encrypt(purpose, plaintext) {
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv('aes-256-gcm', encryptionKey(newest, purpose), iv);
      const body = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()]);
      return Buffer.concat([Buffer.from([VERSION]), iv, cipher.getAuthTag(), body]);
    },
    decrypt(purpose, encrypted) {
      const bytes = Buffer.from(encrypted);
      const iv = bytes.subarray(1, 1 + IV_BYTES);
      const tag = bytes.subarray(1 + IV_BYTES, 1 + IV_BYTES + TAG_BYTES);
      for (const key of bytes[0] === VERSION && tag.length === TAG_BYTES ? keys : []) {
        try {
          const decipher = createDecipheriv('aes-256-gcm', encryptionKey(key, purpose), iv);
          decipher.setAuthTag(tag);
          const body = decipher.update(bytes.subarray(1 + IV_BYTES + TAG_BYTES));
          return Buffer.concat([body, decipher.final()]).toString('utf8');
        } catch {
          // Encrypted under another key.
        }
      }
      throw new OperatingError(
        'data_key_missing',
        'none of DATA_KEYS decrypts what is stored: put the old key back',
      );
    },
    sign: (purpose, text) => mac(newest, purpose, text).toString('base64url'),
    verify(purpose, text, signature) {
      const given = Buffer.from(signature, 'base64url');
      return keys.some((key) => {
        const right = mac(key, purpose, text);
        return given.length === right.length && timingSafeEqual(given, right);
      });
    },
  };
}
