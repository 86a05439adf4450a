// `npm run test:machines`: the self-test of the collector's server with Node.js 20, 22 and 24 of the npm registry, on this
// C library. Not part of CI.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './setup/steps.mjs';

const MAJORS = [20, 22, 24];
const selfTest = join(root, 'dist', 'core', 'uws', 'self-test-process.js');
const folder = mkdtempSync(join(tmpdir(), 'afflux-machines-'));
const glibc = process.report.getReport().header.glibcVersionRuntime ?? 'none';

function test(major) {
  const home = join(folder, String(major));
  mkdirSync(home);
  const name = `node-linux-${process.arch}`;
  const options = ['--prefix', home, '--no-audit', '--no-fund', '--no-save'];
  const npm = spawnSync('npm', ['install', ...options, `${name}@${major}`], { encoding: 'utf8' });
  if (npm.status !== 0) return `NOT TRIED: npm install ${name}@${major} failed\n${npm.stderr}`;
  const node = join(home, 'node_modules', name, 'bin', 'node');
  const run = spawnSync(node, [selfTest, home], { encoding: 'utf8' });
  return run.status === 0 ? 'passed' : `FAILED: ${run.stderr || run.signal}`;
}

for (const major of MAJORS) {
  const result = test(major);
  if (result !== 'passed') process.exitCode = 1;
  process.stdout.write(`Node.js ${major}, glibc ${glibc}: ${result}\n`);
}
process.stdout.write('NOT TRIED: another C library than that of this machine.\n');
rmSync(folder, { recursive: true });
