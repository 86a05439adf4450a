import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { OWNER } from '../users/users.ts';
import { type ClickHouseEngine, openEngine } from './engine.ts';
import { createSessions, type QuerySession } from './sessions.ts';

let folder: string;
let engine: ClickHouseEngine;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-sessions-'));
  engine = await openEngine(folder);
});
afterAll(async () => {
  await engine.close();
  rmSync(folder, { recursive: true });
});

test('keeps 256 named sessions of a user, and others without number', async () => {
  const sessions = createSessions(engine, { maxNamed: 256 });
  const open = (id: string, timeoutMs = 0): QuerySession =>
    sessions.open({ id, timeoutMs, mustExist: false }, OWNER);
  const held = Array.from({ length: 256 }, (_, i) => open(`session ${i}`));
  expect(() => open('one more')).toThrow('keeps 256 sessions');
  expect(() => open('session 7')).toThrow('locked');
  sessions.open(undefined, OWNER).close();
  sessions.open({ id: 'of another', timeoutMs: 0, mustExist: false }, { ...OWNER, name: 'another' }).close();
  // One that ends makes room.
  held[7]?.close();
  await expect.poll(() => open('one more')).toBeDefined();
  for (const [i, session] of held.entries()) if (i !== 7) session.close();
  sessions.close();
});

test('one more session of a user ends the one that it has left alone for longest', async () => {
  const sessions = createSessions(engine, { maxNamed: 2 });
  const use = (id: string, user = OWNER, mustExist = true): void =>
    sessions.open({ id, timeoutMs: 60_000, mustExist }, user).close();
  const another = { ...OWNER, name: 'another' };
  use('its', another, false);
  use('a', OWNER, false);
  use('b', OWNER, false);
  use('a');
  use('c', OWNER, false);
  for (const id of ['a', 'c']) expect(() => use(id)).not.toThrow();
  expect(() => use('b')).toThrow('not found');
  expect(() => use('its', another)).not.toThrow();
  sessions.close();
});

test.each(['readonly', 'allow_ddl', 'allow_introspection_functions'])(
  'a query may have another value of %s than the one before',
  async (name) => {
    const sessions = createSessions(engine, { maxNamed: 1 });
    for (const value of ['0', '1', '0']) {
      const session = sessions.open(undefined, OWNER);
      const { output } = await session.run({
        sql: `SELECT getSetting('${name}')::UInt8`,
        format: 'TSV',
        context: {
          database: undefined,
          role: undefined,
          settings: new Map([[name, value]]),
          parameters: new Map(),
        },
        changesSession: false,
        onlyReads: true,
        ownTables: [],
      });
      session.close();
      expect(Buffer.from(output).toString().trim()).toBe(value);
    }
    sessions.close();
  },
);
