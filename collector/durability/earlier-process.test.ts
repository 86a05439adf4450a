import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ownName, untilEnded } from './earlier-process.ts';
import { LEASE_FILE, untilFolderIsFree } from './lease-keeper.ts';

test('a folder is free once exactly the process that had it has ended', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'afflux-earlier-'));
  const file = join(folder, LEASE_FILE);
  const had = (name: object) => writeFileSync(file, JSON.stringify({ nodes: [1], ...name }));
  const child = spawn('sleep', ['60']);
  try {
    await untilFolderIsFree(file);
    had(ownName());
    await untilFolderIsFree(file);
    // Another process with the pid, as after a restart of a container; and one of a release that did not note its start.
    had({ pid: child.pid, started: '1' });
    await untilFolderIsFree(file);
    had({ pid: child.pid });
    await untilFolderIsFree(file);

    const fields = readFileSync(`/proc/${child.pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ') ?? [];
    had({ pid: child.pid, started: fields[19] });
    let isFree = false;
    const waiting = untilEnded({ pid: child.pid ?? 0, started: fields[19] }, { folder }).then(() => {
      isFree = true;
    });
    // Of a process that had ended, the promise would be kept by now.
    await new Promise(setImmediate);
    expect(isFree).toBe(false);
    const stop = new AbortController();
    const stopped = untilFolderIsFree(file, stop.signal);
    stop.abort();
    await expect(stopped).rejects.toMatchObject({ name: 'AbortError' });
    child.kill('SIGKILL');
    await waiting;
    await untilFolderIsFree(file);
  } finally {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  }
});
