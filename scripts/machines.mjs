// `npm run test:machines`: the self-test of the collector's server with Node.js 20, 22 and 24 of the npm registry, on this
// machine's C library and, as root with debootstrap, on those of other releases of Debian. Not part of CI.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from './setup/steps.mjs';

const MAJORS = [20, 22, 24];
/** Releases with their glibc, the Node.js on which the server runs there, and that on which it runs with limits. */
const RELEASES = [
  { suite: 'bullseye', glibc: '2.31', runs: [], limited: [20] },
  { suite: 'bookworm', glibc: '2.36', runs: MAJORS },
  { suite: 'trixie', glibc: '2.41', runs: MAJORS },
];
const MIRROR = process.env.DEBIAN_MIRROR ?? 'http://deb.debian.org/debian';
const folder = mkdtempSync(join(tmpdir(), 'afflux-machines-'));

/** Says why there are no trees of other releases; undefined: there can be. */
function missingForTrees() {
  if (process.getuid?.() !== 0) return 'root';
  for (const program of ['debootstrap', 'unshare', 'chroot']) {
    if (spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0) return program;
  }
  return undefined;
}

/** The node of each major version, or the reason why it could not be had. */
function installNode(major) {
  const home = join(folder, String(major));
  mkdirSync(home);
  const name = `node-linux-${process.arch}`;
  const options = ['--prefix', home, '--no-audit', '--no-fund', '--no-save'];
  const npm = spawnSync('npm', ['install', ...options, `${name}@${major}`], { encoding: 'utf8' });
  return npm.status === 0
    ? { node: join('node_modules', name, 'bin', 'node') }
    : { failure: `npm install ${name}@${major} failed\n${npm.stderr}` };
}

function say(machine, major, result) {
  process.stdout.write(`Node.js ${major}, ${machine}: ${result}\n`);
}

function resultOf(run, { isToRun, isLimited }) {
  const output = `${run.stdout}${run.stderr}`.trim();
  if (run.status === 0)
    return isToRun ? 'passed' : 'FAILED: it runs, and docs/operations.md says that it does not';
  if (isLimited && /was answered with 505/.test(output))
    return `runs with limits: ${output.match(/^.*answered with 505$/m)?.[0]}`;
  // A release that the server does not run on is to be refused in words.
  if (!isToRun && output.includes('glibc')) return `refused: ${output.match(/^.*Error: .*$/m)?.[0]}`;
  return `FAILED: ${output || run.signal}`;
}

const nodes = new Map(MAJORS.map((major) => [major, installNode(major)]));
const selfTest = join('dist', 'core', 'uws', 'self-test-process.js');

function testAll(machine, { runs, limited = [] }, run) {
  for (const [major, { node, failure }] of nodes) {
    const result = failure
      ? `NOT TRIED: ${failure}`
      : resultOf(run(major, node), { isToRun: runs.includes(major), isLimited: limited.includes(major) });
    if (!/^(passed|refused|runs with limits)/.test(result)) process.exitCode = 1;
    say(machine, major, result);
  }
}

const glibc = process.report.getReport().header.glibcVersionRuntime ?? 'none';
testAll(`this machine's glibc ${glibc}`, { runs: MAJORS }, (major, node) => {
  const home = join(folder, String(major));
  return spawnSync(join(home, node), [join(root, selfTest), home], { encoding: 'utf8' });
});

const missing = missingForTrees();
for (const release of missing ? [] : RELEASES.filter((one) => one.glibc !== glibc)) {
  const { suite } = release;
  const tree = join(folder, suite);
  const made = spawnSync('debootstrap', ['--variant=minbase', suite, tree, MIRROR], { encoding: 'utf8' });
  if (made.status !== 0) {
    process.stdout.write(`NOT TRIED: debootstrap ${suite} ${MIRROR} failed\n${made.stdout.slice(-500)}\n`);
    process.exitCode = 1;
    continue;
  }
  for (const place of ['afflux', 'nodes']) mkdirSync(join(tree, place));
  // The mounts are those of a namespace of its own, and end with it.
  const script = `mount --bind '${root}' '${tree}/afflux' && mount --bind '${folder}' '${tree}/nodes' &&
    mount -t proc proc '${tree}/proc' && exec chroot '${tree}' "$@"`;
  testAll(`Debian ${suite}, glibc ${release.glibc}`, release, (major, node) => {
    const home = `/nodes/${major}`;
    const command = [`${home}/${node}`, `/afflux/${selfTest}`, `${home}/${suite}`];
    mkdirSync(join(folder, String(major), suite), { recursive: true });
    return spawnSync('unshare', ['--mount', 'sh', '-c', script, 'sh', ...command], { encoding: 'utf8' });
  });
}
if (missing) process.stdout.write(`NOT TRIED: other releases of Debian, which need ${missing}.\n`);
if (existsSync(folder)) rmSync(folder, { recursive: true });
