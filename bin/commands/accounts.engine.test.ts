import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { createApiKey, findApiKey } from '../../ledger/access/api-keys.ts';
import { createSession } from '../../ledger/access/sessions.ts';
import { createAffiliate } from '../../ledger/programs/affiliates.ts';
import { freshLedger, type TestLedger } from '../../test/support/ledger.ts';

/** `afflux programs`, `users` and `keys`. */

/** Each command is a process, which takes seconds to start on a busy machine. */
const MANY_COMMANDS_MS = 180_000;

let db: TestLedger;
let home: string;
beforeEach(async () => {
  db = await freshLedger({ max: 2 });
  home = mkdtempSync(join(tmpdir(), 'afflux-accounts-'));
});
afterEach(async () => {
  await db?.close();
  rmSync(home, { recursive: true });
});

/** What a command prints, or the error that it ends with. */
async function afflux(...args: string[]): Promise<string> {
  const env = { PATH: process.env.PATH ?? '', AFFLUX_HOME: home, DATABASE_URL: db.appUrl };
  return await new Promise((resolve) => {
    execFile(
      process.execPath,
      [fromProject('dist/bin/afflux.js'), ...args],
      { env, cwd: home },
      (_, out, error) => resolve(out + error),
    );
  });
}

test('a program, its people and its keys are made, listed and ended, with the audit log', {
  timeout: MANY_COMMANDS_MS,
}, async () => {
  expect(await afflux('programs', 'add', '--name', 'Shop', '--currency', 'eur')).toContain(
    'prg_1 Shop is made.',
  );
  expect(await afflux('programs', 'list')).toBe('  prg_1  Shop  EUR  active\n');
  expect(await afflux('programs', 'show', 'prg_1')).toContain('missing  Terms: what partners earn');
  await createAffiliate(db.ledger, {
    programId: 1,
    refCode: 'ann',
    name: 'Ann',
    email: 'ann@x.example',
    status: 'active',
  });

  const user = ['users', 'add', '--email', 'Ann@x.example', '--name', 'Ann'];
  const made = await afflux(...user, '--role', 'affiliate', '--affiliate', 'aff_1');
  expect(made).toMatch(/^usr_1 ann@x.example is made.\n.*\n {2}http:\S+\/set-password\?token=usr_1\.\S+\n$/);
  expect(await afflux('users', 'list')).toBe('  usr_1  ann@x.example  Ann  affiliate  aff_1  invited\n');
  expect(await afflux('users', 'invite', 'ANN@x.example')).toContain('/set-password?token=usr_1.');
  const expiresAt = new Date(Date.now() + 60_000);
  await createSession(db.ledger, { userId: 1, token: 'x', expiresAt, device: '', address: '127.0.0.1' });
  expect(await afflux('users', 'disable', 'ann@x.example')).toBe('ann@x.example is disabled.\n');
  expect(await db.ledger`select from sessions`).toEqual([]);
  expect(await afflux('users', 'invite', 'ann@x.example')).toBe('afflux: ann@x.example is disabled\n');
  expect(await afflux('users', 'enable', 'ann@x.example')).toBe('ann@x.example is active.\n');

  const key = ['keys', 'add', '--role', 'advertiser', '--program', 'prg_1', '--name', 'shop'];
  const shown = await afflux(...key, '--scopes', 'conversions:read,shops:write', '--expires', '2999-01-01');
  const plain =
    /^key_1 is made\. The key, shown this once:\n {2}(afx_advertiser_\S+)\n$/.exec(shown)?.[1] ?? '';
  const found = await findApiKey(db.ledger, { key: plain, now: new Date() });
  expect(found).toMatchObject({ programId: 1, scopes: ['conversions:read', 'shops:write'], userId: null });
  const list = await afflux('keys', 'list', '--program', 'prg_1');
  expect(list).toContain(
    'key_1  advertiser  shop  prg_1  conversions:read,shops:write  works until 2999-01-01',
  );
  expect(list).not.toContain(plain.slice(-8));
  expect(await afflux('keys', 'revoke', 'key_1')).toBe('key_1 is revoked.\n');
  expect(await findApiKey(db.ledger, { key: plain, now: new Date() })).toBeUndefined();
  expect(await afflux('keys', 'revoke', 'key_1')).toBe('afflux: key_1 is revoked already\n');

  const log = await db.ledger<
    { action: string; after: unknown }[]
  >`select action, after, actor from audit_log order by id`;
  expect(log.map(({ action }) => action)).toEqual([
    'program.create',
    'user.create',
    'user.invite',
    'user.update',
    'user.update',
    'api_key.create',
    'api_key.revoke',
  ]);
  expect(JSON.stringify(log)).not.toContain(plain.slice(-8));
});

test('a key of an affiliate needs no program beside it', async () => {
  await afflux('programs', 'add', '--name', 'Shop', '--currency', 'EUR');
  await createAffiliate(db.ledger, { programId: 1, refCode: 'ann', name: 'Ann', email: 'ann@x.example' });
  expect(await afflux('keys', 'add', '--role', 'affiliate', '--affiliate', 'aff_1', '--name', 'x')).toContain(
    'key_1 is',
  );
  expect(await afflux('keys', 'list')).toContain('affiliate  x  aff_1');
});

const FAULTS: readonly (readonly [line: string, message: string])[] = [
  ['programs add --name Shop --currency EURO', '--currency: "EURO" is not an active ISO 4217 currency code'],
  ['programs add --name Shop --currency EUR --tracking-domain a/b', '--tracking-domain: must be a host name'],
  ['programs add --name Shop --currency EUR --fallback-url x', '--fallback-url: '],
  ['programs show prg_9', 'there is no program prg_9'],
  ['programs show 9', '9 is not the id of a program'],
  ['users add --email x --name X --role operator', '--email: must be an e-mail address'],
  ['users add --email x@y.example --name X --role advertiser', '--role: a user of the role affiliate needs'],
  [
    'users add --email x@y.example --name X --role finance --program prg_9',
    '--program: there is no such program',
  ],
  ['users add --email x@y.example --name X --role boss', "'--role <role>' argument 'boss' is invalid"],
  ['users invite x@y.example', 'there is no user with the address x@y.example'],
  ['keys add --role affiliate --name x', '--role: an affiliate key needs its affiliate'],
  ['keys add --role operator --name x --scopes a:b', '--scopes: a:b is none of'],
  ['keys add --role operator --name x --expires 2001-01-01', '--expires: must be in the future'],
  ['keys revoke key_9', 'there is no key key_9'],
];

test('what is wrong is refused in words, by the name of the option', {
  timeout: MANY_COMMANDS_MS,
}, async () => {
  for (const [line, message] of FAULTS) {
    const output = await afflux(...line.split(' '));
    expect(output).toContain(message);
    expect(output).not.toContain(' at ');
    expect(await db.ledger`select from audit_log`).toEqual([]);
  }
});

test('a taken address is refused, and an operator’s key without a program opens all', async () => {
  const user = ['users', 'add', '--email', 'o@x.example', '--name', 'O', '--role', 'operator'];
  await afflux(...user);
  expect(await afflux(...user)).toBe('afflux: --email: belongs to another user\n');
  await createApiKey(db.ledger, { role: 'operator', name: 'first' });
  await afflux('keys', 'add', '--role', 'operator', '--name', 'second');
  expect((await afflux('keys', 'list')).match(/every program {2}all scopes {2}works$/gm)).toHaveLength(2);
});
