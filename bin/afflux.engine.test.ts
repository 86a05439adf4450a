import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { expect, test } from 'vitest';
import { fromProject } from '../core/config/paths.ts';

test('afflux --version prints the version of package.json, from any folder', () => {
  const { version } = JSON.parse(readFileSync(fromProject('package.json'), 'utf8')) as { version: string };
  const { stdout, status } = spawnSync(process.execPath, [fromProject('dist/bin/afflux.js'), '--version'], {
    cwd: tmpdir(),
    encoding: 'utf8',
  });
  expect({ stdout, status }).toEqual({ stdout: `${version}\n`, status: 0 });
  expect(readFileSync(fromProject('CHANGELOG.md'), 'utf8')).toContain(`\n## ${version}\n`);
});
