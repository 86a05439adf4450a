import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openResultPipe } from './pipe.ts';

let folder: string;
let path: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-pipe-'));
  path = join(folder, 'pipe');
  execFileSync('mkfifo', [path]);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Ends of the pipe that this process has open. */
function openEnds(): number {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      // The descriptor by which the folder was read.
      return '';
    }
  });
  return targets.filter((target) => target === path).length;
}

async function writeUntilRefused(file: FileHandle): Promise<void> {
  for (;;) await file.write(Buffer.alloc(64 * 1024));
}

test.each([
  ['nothing', 0],
  ['a part', 1],
])(
  'a writer that opens the pipe of a reader that has gone with %s fails, and does not wait for ever',
  async (_, bytes) => {
    const pipe = openResultPipe(path);
    let finish = (): void => undefined;
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    if (bytes > 0) {
      const rows = pipe.read(finished)[Symbol.asyncIterator]();
      const first = await open(path, 'w');
      await first.write(Buffer.alloc(bytes));
      expect((await rows.next()).value).toHaveLength(bytes);
      await first.close();
    }
    const closed = pipe.close(finished);
    const file = await open(path, 'w');
    await expect(writeUntilRefused(file)).rejects.toMatchObject({ code: 'EPIPE' });
    await file.close();
    finish();
    await closed;
    await expect.poll(openEnds).toBe(0);
  },
);

test('a query that ends without opening its pipe leaves no end open', async () => {
  for (const failure of [undefined, new Error('no such table')]) {
    const finished = failure ? Promise.reject(failure) : Promise.resolve();
    finished.catch(() => undefined);
    const pipe = openResultPipe(path);
    for await (const chunk of pipe.read(finished)) expect(chunk).toHaveLength(0);
    await pipe.close(finished);
    await pipe.close(finished);
  }
  await expect.poll(openEnds).toBe(0);
});

test('what is written piece by piece arrives in order and whole, also behind a full pipe', async () => {
  let finish = (): void => undefined;
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const pipe = openResultPipe(path);
  const rows = pipe.read(finished)[Symbol.asyncIterator]();
  const file = await open(path, 'w');
  for (const [i, bytes] of [1, 100, 64 * 1024, 5].entries()) {
    const piece = Buffer.alloc(bytes, i);
    await file.write(piece);
    expect(Buffer.compare((await rows.next()).value, piece)).toBe(0);
  }
  await file.close();
  finish();
  expect((await rows.next()).done).toBe(true);
  await pipe.close(finished);
  await expect.poll(openEnds).toBe(0);
});
