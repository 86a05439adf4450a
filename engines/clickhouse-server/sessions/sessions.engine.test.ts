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

test('keeps 256 named sessions, and others without number', async () => {
  const sessions = createSessions(engine, { maxNamed: 256 });
  const open = (id: string, timeoutMs = 0): QuerySession =>
    sessions.open({ id, timeoutMs, mustExist: false }, OWNER);
  const held = Array.from({ length: 256 }, (_, i) => open(`session ${i}`));
  expect(() => open('one more')).toThrow('keeps 256 sessions');
  expect(() => open('session 7')).toThrow('locked');
  sessions.open(undefined, OWNER).close();
  // One that ends makes room.
  held[7]?.close();
  await expect.poll(() => open('one more')).toBeDefined();
  for (const [i, session] of held.entries()) if (i !== 7) session.close();
  sessions.close();
});
