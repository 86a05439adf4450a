import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import { openCountKey, readCountKeys } from './count-key.ts';
import {
  fingerprintOf,
  fingerprintsOf,
  forgetPlatformKey,
  listPlatformKeys,
  verifyPlatformKeys,
} from './platform-keys.ts';

let db: TestLedger;
const folders: string[] = [];
beforeEach(async () => {
  db = await freshLedger({ max: 4 });
});
afterEach(async () => {
  await db?.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

const click = (...keys: Buffer[]) => ({ kind: 'click', keys }) as const;
const data = (...keys: Buffer[]) => ({ kind: 'data', keys }) as const;
const newKey = () => randomBytes(16);
const known = async () =>
  (await listPlatformKeys(db.ledger)).map(({ kind, fingerprint }) => `${kind} ${fingerprint}`);

describe('keys of processes', () => {
  test('are registered by the first start, all of them; later only the one in use', async () => {
    const [a, b, c, d] = [newKey(), newKey(), newKey(), newKey()];
    await verifyPlatformKeys(db.ledger, [click(a, b)]);
    await verifyPlatformKeys(db.ledger, [click(a, b, c)]);
    expect(new Set(await known())).toEqual(
      new Set([a, b].map((key) => `click ${fingerprintOf('click', key)}`)),
    );
    await verifyPlatformKeys(db.ledger, [click(d, a, b), data(a)]);
    expect(await known()).toHaveLength(4);
    await expect(verifyPlatformKeys(db.ledger, [click(a, b), data(a)])).rejects.toMatchObject({
      code: 'keys_differ',
      message: expect.stringContaining(`lacks ${fingerprintOf('click', d)} `),
    });
  });

  test('are registered wholly or not at all', async () => {
    const [a, b] = [newKey(), newKey()];
    await verifyPlatformKeys(db.ledger, [data(a)]);
    await expect(verifyPlatformKeys(db.ledger, [click(b), data(b)])).rejects.toThrow(
      /^this process does not have the platform's data keys: .*DATA_KEYS/,
    );
    expect(await known()).toEqual([`data ${fingerprintOf('data', a)}`]);
  });

  test('of two platforms that start at once are those of one', async () => {
    const starts = await Promise.allSettled(
      Array.from({ length: 4 }, () => verifyPlatformKeys(db.ledger, [click(newKey())])),
    );
    expect(starts.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await known()).toHaveLength(1);
  });

  test('are not needed once they are forgotten', async () => {
    const [a, b] = [newKey(), newKey()];
    await verifyPlatformKeys(db.ledger, [click(a)]);
    const key = { kind: 'click', fingerprint: fingerprintOf('click', a) } as const;
    expect(await forgetPlatformKey(db.ledger, key)).toBe(true);
    expect(await forgetPlatformKey(db.ledger, key)).toBe(false);
    await verifyPlatformKeys(db.ledger, [click(b)]);
  });

  test('do not show in their fingerprint, which differs by kind', () => {
    const key = Buffer.alloc(16, 7);
    expect(fingerprintOf('click', key)).toMatch(/^[0-9a-f]{16}$/);
    expect(new Set((['click', 'data', 'count'] as const).map((kind) => fingerprintOf(kind, key))).size).toBe(
      3,
    );
    expect(fingerprintOf('click', key)).not.toContain(key.toString('hex').slice(0, 8));
  });
});

describe('the count key', () => {
  const home = () => {
    const folder = mkdtempSync(join(tmpdir(), 'afflux-count-'));
    folders.push(folder);
    return folder;
  };

  test('is made once for the platform; a second machine has to bring it, and makes none', async () => {
    const [first, second] = [home(), home()];
    const keys = await Promise.all(
      Array.from({ length: 4 }, () => openCountKey({ home: first, sql: db.ledger })),
    );
    expect(new Set(keys.map((key) => key.export({ type: 'pkcs8', format: 'pem' }))).size).toBe(1);
    expect(readdirSync(first).sort()).toEqual(['count-key.pem', 'count-key.pub.pem']);
    expect(await known()).toEqual(fingerprintsOf(readCountKeys(first)).map((text) => `count ${text}`));
    await expect(openCountKey({ home: second, sql: db.ledger })).rejects.toMatchObject({
      code: 'keys_differ',
      message: expect.stringMatching(/it has none and lacks [0-9a-f]{16} .*copy AFFLUX_HOME\/count-key\.pem/),
    });
    expect(readdirSync(second)).toEqual([]);
  });
});
