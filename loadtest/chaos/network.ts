import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readlinkSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * A network namespace of the run's own, in which the connections to a port can be cut while both ends live on: no
 * packet arrives, in either direction, and neither end gets an error.
 */
export interface OwnNetwork {
  /** Cuts the port off for so long. */
  cut(port: number, durationMs: number): Promise<void>;
}

/** Names the namespace that a process was started in, so that only one of its own is ever cut. */
const OUTSIDE = 'AFFLUX_CHAOS_OUTSIDE';

/**
 * Runs this program once more in a network of its own and returns its exit code; undefined in there, and, with a
 * notice, where this process may not make one: it takes root.
 */
export async function rerunInOwnNetwork(): Promise<number | undefined> {
  if (isOwn()) return undefined;
  if (spawnSync('unshare', ['--net', 'ip', 'rule'], { stdio: 'ignore' }).status !== 0) {
    process.stderr.write('NOT TESTED: a cut network, because no namespace can be made\n');
    return undefined;
  }
  const child = spawn('unshare', ['--net', process.execPath, ...process.execArgv, ...process.argv.slice(1)], {
    stdio: 'inherit',
    env: { ...process.env, [OUTSIDE]: namespace() },
  });
  // A Ctrl-C in the terminal reaches both; this process waits until the other has removed everything.
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}

/** The network of {@link rerunInOwnNetwork}, with its loopback up; undefined outside of it. */
export function openOwnNetwork(): OwnNetwork | undefined {
  if (!isOwn()) return undefined;
  ip('link', 'set', 'lo', 'up');
  // Local addresses are otherwise looked up before every other rule.
  ip('rule', 'add', 'pref', '10', 'lookup', 'local');
  ip('rule', 'del', 'pref', '0', 'lookup', 'local');
  moveWaitingConnections();
  return {
    async cut(port, durationMs) {
      const rules = ['dport', 'sport'].map((end) => ['pref', '5', 'ipproto', 'tcp', end, String(port)]);
      for (const rule of rules) ip('rule', 'add', ...rule, 'blackhole');
      await delay(durationMs);
      for (const rule of rules) ip('rule', 'del', ...rule, 'blackhole');
    },
  };
}

/** As docs/operations.md has it for several collectors; a kernel before 5.14 cannot. */
function moveWaitingConnections(): void {
  const setting = '/proc/sys/net/ipv4/tcp_migrate_req';
  if (existsSync(setting)) writeFileSync(setting, '1');
}

function isOwn(): boolean {
  const outside = process.env[OUTSIDE];
  return outside !== undefined && outside !== namespace();
}

function namespace(): string {
  return readlinkSync('/proc/self/ns/net');
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
