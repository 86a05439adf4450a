import { createHmac } from 'node:crypto';
import { OperatingError } from '../errors.ts';
import type { Postgres, PostgresSql } from '../postgres/postgres.ts';

/**
 * The keys of all processes of a platform must be the same, wherever they run: a click id or an encrypted value that one
 * makes is read by another. PostgreSQL keeps a fingerprint of each key that something was made with (platform_keys), and
 * a process that lacks one of them does not start.
 */

/** `click`: of click ids. `data`: of encrypted values. `count`: signs counts. */
export type KeyKind = 'click' | 'data' | 'count';

/** The keys of one kind that a process has. */
export interface ProcessKeys {
  readonly kind: KeyKind;
  /** The newest, with which new things are made, first; the public half of the `count` key, SPKI in DER. */
  readonly keys: readonly Buffer[];
}

/** Where a person finds the keys of a kind. */
const SOURCES: Readonly<Record<KeyKind, { name: string; remedy: string }>> = {
  click: {
    name: 'click keys',
    remedy: 'set CLICK_KEYS to all of them, the newest first, or copy AFFLUX_HOME/secrets.json',
  },
  data: {
    name: 'data keys',
    remedy: 'set DATA_KEYS to all of them, the newest first, or copy AFFLUX_HOME/secrets.json',
  },
  count: { name: 'count key', remedy: 'copy AFFLUX_HOME/count-key.pem' },
};

const FINGERPRINT_DIGITS = 16;

/** 16 hexadecimal digits by which a key is known without being revealed. */
export function fingerprintOf(kind: KeyKind, key: Buffer): string {
  return createHmac('sha256', key)
    .update(`afflux ${kind} key fingerprint`)
    .digest('hex')
    .slice(0, FINGERPRINT_DIGITS);
}

export function fingerprintsOf({ kind, keys }: ProcessKeys): string[] {
  return keys.map((key) => fingerprintOf(kind, key));
}

/** A key that the platform knows. */
export interface PlatformKey {
  readonly kind: KeyKind;
  readonly fingerprint: string;
  readonly registeredAt: Date;
}

export async function listPlatformKeys(sql: PostgresSql): Promise<PlatformKey[]> {
  return await sql<PlatformKey[]>`
    select kind, fingerprint, registered_at from platform_keys order by kind, registered_at, fingerprint`;
}

/** Lets processes start without a key, because nothing that it made is needed any more; whether it was known. */
export async function forgetPlatformKey(
  sql: PostgresSql,
  key: Pick<PlatformKey, 'kind' | 'fingerprint'>,
): Promise<boolean> {
  const { kind, fingerprint } = key;
  const forgotten = await sql`
    delete from platform_keys where kind = ${kind} and fingerprint = ${fingerprint}`.affected();
  return forgotten > 0;
}

/**
 * Refuses keys that lack one which the platform knows, and registers the newest of each kind; all of them where the
 * platform knows none. A key behind the newest is registered by the first process that puts it in front: until then
 * nothing was made with it, and processes can get it one after another.
 * @throws OperatingError `keys_differ`.
 */
export async function verifyPlatformKeys(sql: Postgres, own: readonly ProcessKeys[]): Promise<void> {
  await sql.begin(async (tx) => {
    // Of processes that start at once the second sees the keys of the first.
    await tx`select pg_advisory_xact_lock(hashtextextended('platform_keys', 0))`;
    const known = await listPlatformKeys(tx);
    for (const keys of own) {
      const ofKind = known.filter(({ kind }) => kind === keys.kind).map(({ fingerprint }) => fingerprint);
      requireKeys(keys, ofKind);
      const fingerprints = fingerprintsOf(keys);
      const registered = ofKind.length === 0 ? fingerprints : fingerprints.slice(0, 1);
      for (const fingerprint of registered) {
        await tx`
          insert into platform_keys (kind, fingerprint) values (${keys.kind}, ${fingerprint}) on conflict do nothing`;
      }
    }
  });
}

/** @throws OperatingError `keys_differ` when one of the known fingerprints is not that of a key. */
export function requireKeys(own: ProcessKeys, known: readonly string[]): void {
  const fingerprints = fingerprintsOf(own);
  const missing = known.filter((fingerprint) => !fingerprints.includes(fingerprint));
  if (missing.length === 0) return;
  const { name, remedy } = SOURCES[own.kind];
  throw new OperatingError(
    'keys_differ',
    `this process does not have the platform's ${name}: it has ${fingerprints.join(', ') || 'none'} and lacks ${missing.join(', ')} ` +
      '(fingerprints). What it makes could not be read by the others, nor could it read theirs. From the machine that has ' +
      `them, ${remedy}; "afflux keys" shows which machine has which`,
  );
}
