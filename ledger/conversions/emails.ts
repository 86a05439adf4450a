import { createHash } from 'node:crypto';
import { plainText } from '../../core/text/plain-text.ts';

/** E-mail addresses as what they identify, and their hashes. */

/** Of the same mailbox to every server: case and blanks around it say nothing. */
function normalEmail(address: string): string {
  return plainText(address).toLowerCase();
}

const GOOGLE_DOMAINS: ReadonlySet<string> = new Set(['gmail.com', 'googlemail.com']);

/**
 * The mailbox behind an address as its provider most likely reads it: without a tag (`+…`), and at Google without dots and
 * with one domain. Other providers may tell two such addresses apart: it is a reason to look, no identity.
 */
export function canonicalEmail(address: string): string {
  const normal = normalEmail(address);
  const at = normal.lastIndexOf('@');
  const [name = ''] = normal.slice(0, at).split('+', 1);
  const domain = normal.slice(at + 1);
  // A name of nothing but a tag stays as it is.
  if (name === '') return normal;
  return GOOGLE_DOMAINS.has(domain) ? `${name.replaceAll('.', '')}@gmail.com` : `${name}@${domain}`;
}

/** SHA-256 of the trimmed lower-case address, 64 hexadecimal digits. */
export function emailHash(address: string): string {
  return createHash('sha256').update(normalEmail(address)).digest('hex');
}
