import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { quietLog } from '../../test/support/warehouse.ts';
import { gatherOrphans } from './collector-folders.ts';

it('spools and leases of removed workers go to the first one, spools into that of their shard', async () => {
  const home = mkdtempSync(join(tmpdir(), 'afflux-orphans-'));
  try {
    const write = (path: string, text = path) => {
      const file = join(home, 'collector', path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, text);
    };
    write('0/spool/0000000004.spool');
    write('1/spool-2/0000000001.spool');
    write('0/lease.json', '{"nodes":[7,8],"pid":11}');
    write('2/lease.json', '{"nodes":[3,4],"pid":12}');
    // As releases wrote it that had no shards.
    write('3/lease.json', '{"node":5,"pid":13}');
    for (const spool of ['spool', 'spool-2', 'spool-11']) write(`2/${spool}/0000000001.spool`);
    write('2/spool/reserve');
    write('3/spool-2/0000000009.spool');
    await gatherOrphans({ home, taken: new Set([0, 1]), log: quietLog });
    const read = (folder: string) =>
      readdirSync(join(home, 'collector', folder))
        .sort()
        .map((name) => [name, readFileSync(join(home, 'collector', folder, name), 'utf8')]);
    expect(read('0/spool')).toEqual([
      ['0000000004.spool', '0/spool/0000000004.spool'],
      ['0000000005.spool', '2/spool/0000000001.spool'],
    ]);
    expect(read('0/spool-2').map(([name]) => name)).toEqual(['0000000001.spool', '0000000002.spool']);
    expect(read('0/spool-11')).toEqual([['0000000001.spool', '2/spool-11/0000000001.spool']]);
    expect(read('1/spool-2')).toHaveLength(1);
    expect(read('2/spool')).toEqual([]);
    const left = readFileSync(join(home, 'collector/0/lease.json'), 'utf8');
    expect(JSON.parse(left)).toEqual({ nodes: [7, 8, 3, 4, 5], pid: 11 });
    for (const slot of [2, 3]) expect(existsSync(join(home, `collector/${slot}/lease.json`))).toBe(false);
    await gatherOrphans({ home, taken: new Set([0, 1]), log: quietLog });
    expect(readFileSync(join(home, 'collector/0/lease.json'), 'utf8')).toBe(left);
  } finally {
    rmSync(home, { recursive: true });
  }
});
