import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generate } from 'selfsigned';
import type { TlsFiles } from '../../../core/tls.ts';

/** PEM files of a certificate and its private key. */
interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

/** An authority of a test's own. */
export interface Authority {
  readonly ca: string;
  /** Signs a certificate for a server's host names or a client's common name, the first of `names`. */
  issue(...names: string[]): Promise<CertificateFiles>;
  /** What a client with such a certificate is given. */
  client(name: string): Promise<TlsFiles>;
}

/** An authority whose files are kept below `folder`. */
export async function createAuthority(folder: string): Promise<Authority> {
  mkdirSync(folder, { recursive: true });
  const subject = (name: string) => [{ name: 'commonName', value: name }];
  const kind = { keyType: 'ec', algorithm: 'sha256' } as const;
  const root = await generate(subject('Test authority'), {
    ...kind,
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  let count = 0;
  function write(kept: string, text: string): string {
    const path = join(folder, kept);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  }
  const ca = write('ca.pem', root.cert);
  async function issue(...names: string[]): Promise<CertificateFiles> {
    const made = await generate(subject(names[0] ?? ''), {
      ...kind,
      ca: { key: root.private, cert: root.cert },
      extensions: [
        { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
        { name: 'subjectAltName', altNames: names.map((value) => ({ type: 2, value })) },
      ],
    });
    const number = ++count;
    return { cert: write(`${number}.pem`, made.cert), key: write(`${number}.key`, made.private) };
  }
  return { ca, issue, client: async (name) => ({ ca, ...(await issue(name)) }) };
}
