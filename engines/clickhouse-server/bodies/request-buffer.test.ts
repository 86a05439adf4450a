import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openRequestBuffer, type RequestBuffer } from './request-buffer.ts';

let dataDir: string;
let ramFolder: string;

beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'afflux-buffer-'));
  ramFolder = join(dataDir, 'ram');
  mkdirSync(ramFolder);
});
afterEach(() => rmSync(dataDir, { recursive: true }));

const open = (): RequestBuffer => openRequestBuffer({ dataDir, pipeCount: 1, ramFolder });

async function* chunks(...texts: string[]): AsyncGenerator<Buffer> {
  for (const text of texts) yield Buffer.from(text);
}

test('rows go on to disk when the RAM is full', { tags: ['attack'] }, async () => {
  const buffer = open();
  const [folder = ''] = readdirSync(ramFolder);
  // Every write to this device finds no room.
  symlinkSync('/dev/full', join(ramFolder, folder, 'rows-0.bin'));
  const saved = await buffer.save(chunks('a', 'b', 'c'));
  expect(saved).toMatchObject({ path: join(dataDir, 'requests', 'rows-0.bin'), bytes: 3 });
  expect(readFileSync(saved.path, 'utf8')).toBe('abc');
  await saved.remove();
  expect(existsSync(saved.path)).toBe(false);
  buffer.remove();
});

test('rows that outgrow the RAM they may have go on to disk whole', async () => {
  const buffer = open();
  const part = 'x'.repeat(100 * 1024 ** 2);
  const saved = await buffer.save(chunks('begin', part, part, 'end'));
  expect(saved.path).toContain(join(dataDir, 'requests'));
  const rows = readFileSync(saved.path);
  expect(rows.equals(Buffer.from(`begin${part}${part}end`))).toBe(true);
  const [folder = ''] = readdirSync(ramFolder);
  expect(readdirSync(join(ramFolder, folder))).toEqual(['pipe-0']);
  buffer.remove();
});

test('opens whatever another account has put in the place of its folder', { tags: ['attack'] }, () => {
  open();
  const [left = ''] = readdirSync(ramFolder);
  const prefix = left.slice(0, left.lastIndexOf('-') + 1);
  const [link, dangling] = [join(ramFolder, `${prefix}link`), join(ramFolder, `${prefix}none`)];
  const own = join(dataDir, 'own');
  mkdirSync(join(own, 'kept'), { recursive: true });
  symlinkSync(own, link);
  symlinkSync(join(dataDir, 'nothing'), dangling);
  const buffer = open();
  const found = readdirSync(ramFolder);
  expect(found).toHaveLength(3);
  // What an earlier process has left is gone; what is no folder of ours stays.
  expect(found).not.toContain(left);
  expect(found).toEqual(expect.arrayContaining([`${prefix}link`, `${prefix}none`]));
  expect(readdirSync(own)).toEqual(['kept']);
  buffer.remove();
});
