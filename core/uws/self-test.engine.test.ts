import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { createLogger } from '../service/log.ts';
import { requireServer } from './self-test.ts';

it('tests the server once in a child process, and keeps the pass', async () => {
  const home = mkdtempSync(join(tmpdir(), 'afflux-server-'));
  const log = createLogger({ name: 'test', level: 'silent' });
  try {
    await requireServer({ home, log });
    const file = join(home, 'server-self-test');
    expect(readFileSync(file, 'utf8')).toContain(process.version);
    const { mtimeNs, ino } = statSync(file, { bigint: true });
    await requireServer({ home, log });
    expect(statSync(file, { bigint: true })).toMatchObject({ mtimeNs, ino });
  } finally {
    rmSync(home, { recursive: true });
  }
});
