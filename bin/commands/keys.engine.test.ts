import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { fingerprintOf, verifyPlatformKeys } from '../../core/keys/platform-keys.ts';
import { freshLedger, type TestLedger } from '../../test/support/ledger.ts';

let db: TestLedger;
let home: string;
beforeEach(async () => {
  db = await freshLedger({ max: 2 });
  home = mkdtempSync(join(tmpdir(), 'afflux-keys-'));
});
afterEach(async () => {
  await db?.close();
  rmSync(home, { recursive: true });
});

async function afflux(...args: string[]): Promise<string> {
  const env = { PATH: process.env.PATH ?? '', AFFLUX_HOME: home, DATABASE_URL: db.appUrl, CLICK_KEYS: KEY };
  const command = [fromProject('dist/bin/afflux.js'), ...args];
  return (await promisify(execFile)(process.execPath, command, { env, cwd: home })).stdout;
}

const KEY = 'ab'.repeat(16);

test('the keys of the platform and of this machine are listed, and a key is forgotten once', async () => {
  const elsewhere = randomBytes(16);
  const here = Buffer.from(KEY, 'hex');
  await verifyPlatformKeys(db.ledger, [{ kind: 'click', keys: [here, elsewhere] }]);
  const lines = (await afflux('keys')).split('\n').map((line) => line.trim().split(/ {2,}/));
  const inUse = expect.stringMatching(/^in use since 2/);
  expect(lines).toContainEqual(['click', fingerprintOf('click', here), inUse, 'here']);
  expect(lines).toContainEqual(['click', fingerprintOf('click', elsewhere), inUse, 'NOT here']);
  expect(lines).toContainEqual(['data', expect.any(String), 'not in use', 'here']);

  const gone = fingerprintOf('click', elsewhere);
  expect(await afflux('keys', 'forget', 'click', gone)).toContain(`without the click key ${gone}`);
  await expect(afflux('keys', 'forget', 'click', gone)).rejects.toMatchObject({ code: 1 });
  expect(await db.ledger`select actor, action, subject from audit_log`).toEqual([
    { actor: 'command line', action: 'platform_key.forget', subject: `click key ${gone}` },
  ]);
  expect(await afflux('keys')).not.toContain('NOT here');
});
