import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { quietLog } from '../../test/support/warehouse.ts';
import { gatherOrphanedSpools } from './collector-workers.ts';

it('spools of removed workers go to the first one, into the spool of their shard', () => {
  const home = mkdtempSync(join(tmpdir(), 'afflux-orphans-'));
  try {
    const write = (path: string) => {
      const file = join(home, 'collector', path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, path);
    };
    write('0/spool/0000000004.spool');
    write('1/spool-2/0000000001.spool');
    write('2/lease.json');
    for (const spool of ['spool', 'spool-2', 'spool-11']) write(`2/${spool}/0000000001.spool`);
    write('3/spool-2/0000000009.spool');
    gatherOrphanedSpools(home, 2, quietLog);
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
  } finally {
    rmSync(home, { recursive: true });
  }
});
