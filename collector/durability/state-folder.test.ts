import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { claimStateFolder, ownName } from './state-folder.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-state-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** Another process that has claimed the folder. */
async function startOwner() {
  const module = pathToFileURL(fromProject('dist/collector/durability/state-folder.js')).href;
  const script = `const { claimStateFolder } = await import(${JSON.stringify(module)});
    await claimStateFolder(${JSON.stringify(folder)});
    process.send('claimed');
    setInterval(() => undefined, 60_000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  expect((await once(child, 'message'))[0]).toBe('claimed');
  return child;
}

test.each([['running'], ['stopped']])(
  'the folder of a %s collector is free once it has ended',
  async (state) => {
    const owner = await startOwner();
    try {
      if (state === 'stopped') owner.kill('SIGSTOP');
      const stop = new AbortController();
      const stopped = claimStateFolder(folder, stop.signal);
      stop.abort();
      await expect(stopped).rejects.toMatchObject({ name: 'AbortError' });
      let isOurs = false;
      const claiming = claimStateFolder(folder).then((claim) => {
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
  const claim = await claimStateFolder(folder);
  expect(claim.wasCrash).toBe(true);
  expect(readdirSync(folder)).toEqual(['collector.1.pid']);
  claim.release();
});
