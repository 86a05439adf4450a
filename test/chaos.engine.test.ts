import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import { fromProject } from '../core/config/paths.ts';
import type { BenchResult } from '../loadtest/bench.ts';
import { reportMissing } from './support/programs.ts';

/** More, and with two collectors too, by hand: AFFLUX_TEST_CHAOS_MINUTES=5 AFFLUX_TEST_CHAOS_SEED=2 npm test -- test/chaos */
const GIVEN_MINUTES = process.env.AFFLUX_TEST_CHAOS_MINUTES;
const MINUTES = GIVEN_MINUTES ?? '0.5';
const SEED = process.env.AFFLUX_TEST_CHAOS_SEED ?? '1';
/** Starting, recovering and comparing take their time whatever the load takes. */
const OVERHEAD_MS = 600_000;

const RUNS = [
  ['one collector', []],
  ['two collectors', ['--workers', '2']],
] as const;

test.each(GIVEN_MINUTES === undefined ? RUNS.slice(0, 1) : RUNS)(
  'the whole platform with %s keeps its promises while its processes, engines and connections fail',
  {
    timeout: Number(MINUTES) * 60_000 + OVERHEAD_MS,
  },
  async (_, workers) => {
    const folder = mkdtempSync(join(tmpdir(), 'afflux-chaos-result-'));
    const command = [
      fromProject('dist/loadtest/chaos/main.js'),
      '--minutes',
      MINUTES,
      '--seed',
      SEED,
      ...workers,
    ];
    const child = spawn(process.execPath, [...command, '--results', folder], {
      env: { ...process.env, NATS_SERVER: inject('natsServer').binary },
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (bytes) => {
        output += bytes;
      });
    }
    const [code] = await once(child, 'exit');
    expect(code, output).toBe(0);
    for (const [, fault] of output.matchAll(/^NOT TESTED: (.*?),/gm))
      reportMissing('root', `chaos: ${fault}`);
    const result = JSON.parse(readFileSync(join(folder, 'chaos.json'), 'utf8')) as BenchResult;
    rmSync(folder, { recursive: true });
    expect(result.targets.filter(({ ok }) => !ok)).toEqual([]);
    const count = (name: string) => Number(result.rows.find(({ what }) => what === name)?.count);
    expect(count('redirects received')).toBeGreaterThan(0);
    expect(count('orders accepted')).toBeGreaterThan(0);
    expect(count('paid out, minor units')).toBeGreaterThan(0);
  },
);
