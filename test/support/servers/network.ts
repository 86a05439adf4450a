import { execFileSync, spawnSync } from 'node:child_process';
import type { ServerPlace } from './nats-cluster.ts';

/** A machine in {@link TestNetwork}. */
export interface Machine extends ServerPlace {
  readonly command: readonly string[];
  /** No packet passes between it and the other machines; both still reach this process. */
  leaveOthers(): void;
  joinOthers(): void;
  /** No packet reaches or leaves it. */
  unplug(): void;
  plug(): void;
}

/** Machines as network namespaces, each with an address of its own, behind one bridge of this machine. */
export interface TestNetwork {
  readonly machines: readonly Machine[];
  dispose(): void;
}

/** Makes one. It takes root: undefined where this process may not. */
export function openTestNetwork(count: number): TestNetwork | undefined {
  // Names of interfaces have 15 characters; other runs on this machine have other process ids.
  const run = (process.pid % 1_000_000).toString(36);
  const bridge = `afx${run}`;
  const subnet = `10.${200 + (process.pid % 50)}.${process.pid % 250}`;
  if (spawnSync('ip', ['link', 'add', bridge, 'type', 'bridge'], { stdio: 'ignore' }).status !== 0)
    return undefined;
  const names: string[] = [];
  function dispose(): void {
    for (const name of names) spawnSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
    spawnSync('ip', ['link', 'del', bridge], { stdio: 'ignore' });
  }
  try {
    ip('addr', 'add', `${subnet}.1/24`, 'dev', bridge);
    ip('link', 'set', bridge, 'up');
    const hosts = Array.from({ length: count }, (_, i) => `${subnet}.${10 + i}`);
    const machines = hosts.map((host, i) => {
      const name = `afx${run}-${i}`;
      const [outer, inner] = [`afx${run}o${i}`, `afx${run}i${i}`];
      ip('netns', 'add', name);
      names.push(name);
      ip('link', 'add', outer, 'type', 'veth', 'peer', 'name', inner);
      ip('link', 'set', inner, 'netns', name);
      ip('link', 'set', outer, 'master', bridge, 'up');
      const inside = (...args: string[]): void => ip('-netns', name, ...args);
      inside('addr', 'add', `${host}/24`, 'dev', inner);
      inside('link', 'set', 'lo', 'up');
      inside('link', 'set', inner, 'up');
      const others = hosts.filter((other) => other !== host);
      return {
        host,
        command: ['ip', 'netns', 'exec', name],
        leaveOthers() {
          for (const other of others) inside('route', 'add', 'blackhole', `${other}/32`);
        },
        joinOthers() {
          for (const other of others) inside('route', 'del', 'blackhole', `${other}/32`);
        },
        unplug: () => ip('link', 'set', outer, 'down'),
        plug: () => ip('link', 'set', outer, 'up'),
      };
    });
    return { machines, dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
