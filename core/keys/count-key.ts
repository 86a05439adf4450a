import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomUUID,
} from 'node:crypto';
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Postgres } from '../postgres/postgres.ts';
import { listPlatformKeys, type ProcessKeys, verifyPlatformKeys } from './platform-keys.ts';

/**
 * The Ed25519 key in AFFLUX_HOME/count-key.pem; its public half is beside it, to be given to affiliates. It is made when
 * the platform has none yet.
 * @throws OperatingError `keys_differ` when it is not the platform's, or missing where the platform has one.
 */
export async function openCountKey(options: { home: string; sql: Postgres }): Promise<KeyObject> {
  const { home, sql } = options;
  const file = join(home, 'count-key.pem');
  const isKnown = (await listPlatformKeys(sql)).some(({ kind }) => kind === 'count');
  if (!isKnown && !existsSync(file)) makeCountKey(home, file);
  await verifyPlatformKeys(sql, [readCountKeys(home)]);
  return createPrivateKey(readFileSync(file));
}

/** The key of a data folder as the platform knows it; none before it is made. */
export function readCountKeys(home: string): ProcessKeys {
  const file = join(home, 'count-key.pem');
  if (!existsSync(file)) return { kind: 'count', keys: [] };
  return {
    kind: 'count',
    keys: [createPublicKey(readFileSync(file)).export({ type: 'spki', format: 'der' })],
  };
}

/** Another process of the data folder may make it at the same moment: the first one's stays, and is whole at once. */
function makeCountKey(home: string, file: string): void {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  mkdirSync(home, { recursive: true });
  const own = `${file}.${randomUUID()}`;
  writeFileSync(own, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600, flush: true });
  try {
    linkSync(own, file);
    writeFileSync(join(home, 'count-key.pub.pem'), publicKey.export({ type: 'spki', format: 'pem' }));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(own);
  }
}
