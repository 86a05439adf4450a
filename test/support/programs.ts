import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { inject } from 'vitest';
import { readConfig } from '../../bin/environment.ts';

/**
 * What some tests need beyond Node, git and the programs of every Debian (coreutils, grep, libc-bin, util-linux), and
 * how to get it. Tests whose need is missing are skipped, and the end of the run says so, once for each need.
 */
const HOW_TO_GET = {
  chromium: 'apt-get install chromium (as root the tests do it), or set CHROMIUM to the path of one',
  faketime: 'apt-get install faketime',
  go: 'https://go.dev/dl, then "npm run bench:peers" once for the packages of the peer',
  haproxy: 'apt-get install haproxy (as root the tests do it)',
  java: 'apt-get install default-jdk-headless maven',
  nginx: 'apt-get install nginx-light (as root the tests do it)',
  php: 'apt-get install php-cli (as root the tests do it)',
  pgbouncer: 'apt-get install pgbouncer',
  'postgresql-15': 'apt-get install postgresql-15, on Debian 12',
  python3: 'apt-get install python3-venv, then "npm run bench:peers" once for the packages of the peer',
  root: 'run the tests as root, with the right to mount and to make a network (iproute2)',
  'systemd-analyze': 'apt-get install systemd',
  wrk: 'apt-get install wrk iproute2',
  'stripe-mock': 'install Go (https://go.dev/dl), with which the tests build it',
} as const;

type Need = keyof typeof HOW_TO_GET;

/** Says that a need is missing and what is therefore not tested. The test that calls it skips itself. */
export function reportMissing(need: Need, untested: string): void {
  appendFileSync(inject('missingFile'), `${JSON.stringify([need, untested])}\n`);
}

/** The text for the end of a run about what {@link reportMissing} wrote to the file; '' where nothing was missing. */
export function missingNotice(file: string): string {
  if (!existsSync(file)) return '';
  const untested = new Map<Need, Set<string>>();
  for (const line of readFileSync(file, 'utf8').trimEnd().split('\n')) {
    const [need, what] = JSON.parse(line) as [Need, string];
    untested.set(need, (untested.get(need) ?? new Set()).add(what));
  }
  const lines = [...untested].map(
    ([need, what]) => `  without ${need}: ${[...what].join('; ')}\n    ${HOW_TO_GET[need]}`,
  );
  const bar = '!'.repeat(80);
  return `\n${bar}\nNOT TESTED, because this machine lacks something:\n${lines.join('\n')}\n${bar}\n\n`;
}

const CHROMIUM_NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/**
 * The path of a Chromium: CHROMIUM, PATH, or Debian's package, which is installed when this process may do so.
 * Undefined, and reported, where there is none; in CI that is an error.
 */
export function findChromium(): string | undefined {
  const found = installedChromium() ?? (installChromium() ? installedChromium() : undefined);
  if (found !== undefined) return found;
  if (process.env.CI) throw new Error(`There is no Chromium: ${HOW_TO_GET.chromium}.`);
  reportMissing('chromium', 'the portal and speculative fetches in a browser');
  return undefined;
}

function installedChromium(): string | undefined {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const folders = (process.env.PATH ?? '').split(delimiter);
  return folders
    .flatMap((folder) => CHROMIUM_NAMES.map((name) => join(folder, name)))
    .find((path) => existsSync(path));
}

function installChromium(): boolean {
  return installPackage('chromium');
}

/** Whether HAProxy or nginx is there; see {@link isThere}. */
export function hasProxy(need: 'haproxy' | 'nginx'): boolean {
  const debianPackage = need === 'nginx' ? 'nginx-light' : need;
  return isThere(need, { debianPackage, untested: 'collector and API behind it' });
}

/** Whether PHP is there, in which the plugin for WooCommerce runs; see {@link isThere}. */
export function hasPhp(): boolean {
  return isThere('php', { debianPackage: 'php-cli', untested: 'the plugin for WooCommerce' });
}

/**
 * Whether a program is there, installed from Debian's package when this process may do so. Where it is not, that is
 * reported; in CI it is an error.
 */
function isThere(
  need: 'haproxy' | 'nginx' | 'php',
  { debianPackage, untested }: { debianPackage: string; untested: string },
): boolean {
  const answers = () => spawnSync(need, ['-v'], { stdio: 'ignore' }).status === 0;
  if (answers() || (installPackage(debianPackage) && answers())) return true;
  if (process.env.CI) throw new Error(`There is no ${need}: ${HOW_TO_GET[need]}.`);
  reportMissing(need, untested);
  return false;
}

function installPackage(name: string): boolean {
  if (process.getuid?.() !== 0) return false;
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const apt = (...args: string[]) => spawnSync('apt-get', args, { env, stdio: 'ignore' }).status === 0;
  const install = () => apt('install', '-y', '--no-install-recommends', name);
  process.stderr.write(`Installing ${name} with apt-get (once) …\n`);
  return install() || (apt('update') && install());
}

const STRIPE_MOCK_VERSION = 'v0.203.0';
/** Without a network it fails sooner; these tests are worth no longer wait. */
const STRIPE_MOCK_TIMEOUT_MS = 120_000;

/**
 * The path of Stripe's own mock: PATH, or AFFLUX_HOME/bin, into which Go builds it once. Undefined, and reported,
 * where it is neither there nor built.
 */
export function findStripeMock(): string | undefined {
  const folder = join(readConfig().home, 'bin');
  const found =
    installedStripeMock(folder) ?? (buildStripeMock(folder) ? installedStripeMock(folder) : undefined);
  if (found === undefined) reportMissing('stripe-mock', "payouts through Stripe's own mock");
  return found;
}

function installedStripeMock(folder: string): string | undefined {
  return ['stripe-mock', join(folder, 'stripe-mock')].find(
    (binary) => spawnSync(binary, ['-version']).status === 0,
  );
}

function buildStripeMock(folder: string): boolean {
  if (spawnSync('go', ['version']).error) return false;
  process.stderr.write(`Building stripe-mock ${STRIPE_MOCK_VERSION} (once) …\n`);
  mkdirSync(folder, { recursive: true });
  const { status } = spawnSync('go', ['install', `github.com/stripe/stripe-mock@${STRIPE_MOCK_VERSION}`], {
    env: { ...process.env, GOBIN: folder, GOFLAGS: '-trimpath', CGO_ENABLED: '0' },
    stdio: 'ignore',
    timeout: STRIPE_MOCK_TIMEOUT_MS,
  });
  return status === 0;
}
