import { execFileSync, spawnSync } from 'node:child_process';

/**
 * Two machines as two network namespaces. A link joins them, and each has one of its own to this process, so that one can
 * be cut off from the other and still be watched. Addresses are of the range for tests of networks (RFC 2544).
 */
export interface TwoMachines {
  /** The command that runs a program on a machine. */
  run(machine: 1 | 2, command: readonly string[]): [string, string[]];
  /** Where this process reaches a machine, and where the other machine does. */
  readonly outside: Readonly<Record<1 | 2, string>>;
  readonly inside: Readonly<Record<1 | 2, string>>;
  readonly network: string;
  /** Takes the link between the machines down, or up. */
  setLink(state: 'down' | 'up'): void;
  remove(): void;
}

const NETWORK = '198.18.0';

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** Whether this process may make networks. */
export function mayMakeNetworks(): boolean {
  return spawnSync('unshare', ['--net', 'ip', 'link'], { stdio: 'ignore' }).status === 0;
}

export function makeTwoMachines(): TwoMachines {
  const id = process.pid % 100_000;
  const names = { 1: `afx${id}a`, 2: `afx${id}b` };
  function remove(): void {
    // Its links go with a namespace.
    for (const name of Object.values(names)) spawnSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
  }
  try {
    for (const machine of [1, 2] as const) {
      const name = names[machine];
      ip('netns', 'add', name);
      ip('-n', name, 'link', 'set', 'lo', 'up');
      const [here, there] = [`${name}o`, 'outside'];
      ip('link', 'add', here, 'type', 'veth', 'peer', 'name', there, 'netns', name);
      ip('address', 'add', `198.18.${machine}.254/24`, 'dev', here);
      ip('link', 'set', here, 'up');
      ip('-n', name, 'address', 'add', `198.18.${machine}.1/24`, 'dev', there);
      ip('-n', name, 'link', 'set', there, 'up');
    }
    ip('-n', names[1], 'link', 'add', 'other', 'type', 'veth', 'peer', 'name', 'other', 'netns', names[2]);
    for (const machine of [1, 2] as const) {
      ip('-n', names[machine], 'address', 'add', `${NETWORK}.${machine}/24`, 'dev', 'other');
      ip('-n', names[machine], 'link', 'set', 'other', 'up');
    }
  } catch (error) {
    remove();
    throw error;
  }
  return {
    run: (machine, command) => ['ip', ['netns', 'exec', names[machine], ...command]],
    outside: { 1: '198.18.1.1', 2: '198.18.2.1' },
    inside: { 1: `${NETWORK}.1`, 2: `${NETWORK}.2` },
    network: `${NETWORK}.0/24`,
    setLink: (state) => ip('-n', names[2], 'link', 'set', 'other', state),
    remove,
  };
}
