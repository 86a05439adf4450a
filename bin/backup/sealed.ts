import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto';
import { promisify } from 'node:util';
import { OperatingError } from '../../core/errors.ts';

/** About half a second and 128 MB for each guess of the passphrase. */
const COST = { N: 2 ** 17, r: 8, p: 1, maxmem: 256 * 1024 * 1024 };
const MAGIC = Buffer.from('AFFLUX-SEALED-1\n');
const SALT_BYTES = 16;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;

const deriveKey = promisify<string, Buffer, number, typeof COST, Buffer>(scrypt);

/** Encrypts by a passphrase (scrypt, AES-256-GCM): `magic | salt | IV | tag | ciphertext`. */
export async function seal(passphrase: string, content: Buffer): Promise<Buffer> {
  const salt = randomBytes(SALT_BYTES);
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', await deriveKey(passphrase, salt, KEY_BYTES, COST), iv);
  cipher.setAAD(MAGIC);
  const body = Buffer.concat([cipher.update(content), cipher.final()]);
  return Buffer.concat([MAGIC, salt, iv, cipher.getAuthTag(), body]);
}

/** @throws OperatingError `backup_damaged` when it is no such file, `passphrase_wrong`. */
export async function unseal(passphrase: string, sealed: Buffer): Promise<Buffer> {
  const saltAt = MAGIC.length;
  const [ivAt, tagAt] = [saltAt + SALT_BYTES, saltAt + SALT_BYTES + IV_BYTES];
  const bodyAt = tagAt + TAG_BYTES;
  if (!sealed.subarray(0, saltAt).equals(MAGIC) || sealed.length < bodyAt) {
    throw new OperatingError('backup_damaged', 'the file with the secrets is not one that was sealed');
  }
  const key = await deriveKey(passphrase, sealed.subarray(saltAt, ivAt), KEY_BYTES, COST);
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(ivAt, tagAt));
  decipher.setAAD(MAGIC);
  decipher.setAuthTag(sealed.subarray(tagAt, bodyAt));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(bodyAt)), decipher.final()]);
  } catch (cause) {
    throw new OperatingError('passphrase_wrong', 'the passphrase does not open the secrets of this backup', {
      cause,
    });
  }
}
