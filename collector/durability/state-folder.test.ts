import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { quietLog } from '../../test/support/warehouse.ts';
import { claimStateFolder, ownName, stateFolderOwner } from './state-folder.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-state-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** A script that claims the folder, says so to the process that started it, and goes on without it. */
function ownerScript(): string {
  const module = pathToFileURL(fromProject('dist/collector/durability/state-folder.js')).href;
  return `const { claimStateFolder } = await import(${JSON.stringify(module)});
    const log = { warn() {} };
    await claimStateFolder(${JSON.stringify(folder)}, { log });
    process.send(process.pid);
    setInterval(() => undefined, 60_000);`;
}

/** Another process that has claimed the folder, or that has started one which did; and the pid of that one. */
async function startOwner(script = ownerScript()) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const [pid] = await once(child, 'message');
  return { child, pid: Number(pid) };
}

test('its owner is an orphan once the process that started it has ended', async () => {
  const { child, pid } = await startOwner(`const { spawn } = await import('node:child_process');
    const args = ['--input-type=module', '-e', ${JSON.stringify(ownerScript())}];
    spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
      .on('message', (pid) => process.send(pid));`);
  try {
    expect(stateFolderOwner(folder)).toEqual({ pid, isOrphan: false });
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(stateFolderOwner(folder)).toEqual({ pid, isOrphan: true });
  } finally {
    process.kill(pid, 'SIGKILL');
  }
});

test.each([['running'], ['stopped']])(
  'the folder of a %s collector is free once it has ended',
  async (state) => {
    const { child: owner } = await startOwner();
    try {
      if (state === 'stopped') owner.kill('SIGSTOP');
      const stop = new AbortController();
      const stopped = claimStateFolder(folder, { log: quietLog, stopping: stop.signal });
      stop.abort();
      await expect(stopped).rejects.toMatchObject({ name: 'AbortError' });
      let isOurs = false;
      const claiming = claimStateFolder(folder, { log: quietLog }).then((claim) => {
        isOurs = true;
        return claim;
      });
      // A free folder would be ours by now.
      await new Promise(setImmediate);
      expect(isOurs).toBe(false);
      owner.kill('SIGKILL');
      (await claiming).release();
      expect(readdirSync(folder)).toEqual([]);
    } finally {
      owner.kill('SIGKILL');
    }
  },
);

test.each([
  ['of a power cut', ''],
  ['of another process with the pid', JSON.stringify({ ...ownName(), pid: process.ppid, started: '1' })],
  ['of another start of the machine', JSON.stringify({ ...ownName(), pid: process.ppid, place: 'another' })],
  ['of this pid, as after a restart of a container', JSON.stringify({ ...ownName(), started: '1' })],
])('a claim %s is taken over', async (_, content) => {
  writeFileSync(join(folder, 'collector.pid'), content);
  const claim = await claimStateFolder(folder, { log: quietLog });
  expect(claim.wasCrash).toBe(true);
  expect(readdirSync(folder)).toEqual(['collector.1.pid']);
  claim.release();
});
