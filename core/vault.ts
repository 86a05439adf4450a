import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  hkdfSync,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';
import { assert, OperatingError } from './errors.ts';

/** Keeps secrets that must be read again (AES-256-GCM), and signs what leaves and comes back (HMAC-SHA-256). */
export interface Vault {
  /** `purpose` says what it is: what was sealed for one purpose does not open for another. */
  seal(purpose: string, plain: string): Buffer;
  /** @throws OperatingError `vault_key_missing` when no key opens it. */
  open(purpose: string, sealed: Uint8Array): string;
  /** A signature in base64url. */
  sign(purpose: string, text: string): string;
  /** Whether one of the keys signed it; takes as long for a wrong signature as for a right one. */
  verify(purpose: string, text: string, signature: string): boolean;
}

const VERSION = 1;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;

/** `keys`: 32 bytes each, the newest first; the newest seals and signs, every one opens and verifies. */
export function createVault(keys: readonly Buffer[]): Vault {
  const [newest] = keys;
  assert(newest && keys.every((key) => key.length === KEY_BYTES), 'a vault has keys of 32 bytes');
  const derived = (key: Buffer, purpose: string): Buffer =>
    Buffer.from(hkdfSync('sha256', key, '', `afflux ${purpose}`, KEY_BYTES));
  const mac = (key: Buffer, purpose: string, text: string): Buffer =>
    createHmac('sha256', derived(key, `signature ${purpose}`))
      .update(text)
      .digest();

  return {
    seal(purpose, plain) {
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv('aes-256-gcm', derived(newest, `seal ${purpose}`), iv);
      const body = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()]);
      return Buffer.concat([Buffer.from([VERSION]), iv, cipher.getAuthTag(), body]);
    },
    open(purpose, sealed) {
      const bytes = Buffer.from(sealed);
      const iv = bytes.subarray(1, 1 + IV_BYTES);
      const tag = bytes.subarray(1 + IV_BYTES, 1 + IV_BYTES + TAG_BYTES);
      for (const key of bytes[0] === VERSION && tag.length === TAG_BYTES ? keys : []) {
        try {
          const decipher = createDecipheriv('aes-256-gcm', derived(key, `seal ${purpose}`), iv);
          decipher.setAuthTag(tag);
          const body = decipher.update(bytes.subarray(1 + IV_BYTES + TAG_BYTES));
          return Buffer.concat([body, decipher.final()]).toString('utf8');
        } catch {
          // Another key's.
        }
      }
      throw new OperatingError(
        'vault_key_missing',
        'none of DATA_KEYS opens what is stored: put the old key back',
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
