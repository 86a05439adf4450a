import { execFile } from 'node:child_process';
import { expect, it } from 'vitest';
import { fromProject } from '../core/config/paths.ts';

/** Every number option of every command, with what it refuses. */
const WRONG: readonly [main: string, options: Readonly<Record<string, string>>][] = [
  ['api', { clicks: '0', seconds: '-1', connections: 'many', reports: '0', seed: 'x' }],
  ['arrivals', { rate: '0', seconds: '-1', minutes: 'abc' }],
  ['attribution', { clicks: '1e', orders: '0', payees: '', entries: '-5', 'conventional-seconds': 'x' }],
  ['chaos', { minutes: 'abc', seed: '1.5', workers: '0' }],
  ['collector', { rounds: '0', seconds: '0.5', connections: '8,,64', soak: '-1' }],
  ['ledger-size', { orders: '99', samples: '0' }],
  ['peers', { rounds: '0', seconds: '-1', connections: 'x', kills: '0' }],
  ['pipeline', { minutes: '-1', rate: '0', links: 'x', seed: '-1' }],
  ['profile', { seconds: '0', rows: '1e' }],
  ['reports', { rows: '1e', seed: 'x', minutes: 'abc' }],
  ['warehouse', { rows: '0', backlog: '-1', seed: 'x', clients: 'two' }],
];

async function run(args: readonly string[]): Promise<{ code: unknown; stderr: string }> {
  return await new Promise((resolve) => {
    execFile(process.execPath, [...args], (error, _stdout, stderr) => resolve({ code: error?.code, stderr }));
  });
}

it.each(WRONG)(
  '%s refuses a number that is none and starts nothing',
  { timeout: 60_000 },
  async (main, options) => {
    const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
    const { code, stderr } = await run([fromProject(`dist/loadtest/${main}/main.js`), ...args]);
    const faults = stderr
      .trim()
      .split('\n')
      .map((line) => /^--(.*) must be .*, and is "(.*)"$/.exec(line)?.slice(1));
    expect(faults).toEqual(Object.entries(options));
    expect(code).toBe(1);
  },
);
