import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runBundle } from './support/k6/run.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-k6-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const SCRIPT = `
import { Counter } from 'k6/metrics';
const clicks = new Counter('clicks');
export const options = {
  scenarios: { visit: { executor: 'constant-arrival-rate', exec: 'visit', rate: 4, timeUnit: '1s', startTime: '0s', duration: '1s', preAllocatedVUs: 1, maxVUs: 1 } },
  thresholds: { clicks: ['count==4'] },
  summaryTrendStats: ['med'],
};
export const setup = () => ({});
export const visit = () => clicks.add(1);
export const handleSummary = (data) => ({ stdout: JSON.stringify(data.metrics.clicks) });
`;

async function run(script: string) {
  const file = join(folder, 'script.js');
  writeFileSync(file, script);
  return await runBundle({ file, env: {} });
}

it('runs a script for k6 as k6 counts it', async () => {
  const { written } = await run(SCRIPT);
  expect(JSON.parse(written.stdout ?? '')).toEqual({
    type: 'counter',
    values: { count: 4 },
    thresholds: { 'count==4': { ok: true } },
  });
});

it.each([
  ['a module of Node.js', `import 'node:fs';\n${SCRIPT}`, 'the bundle imports node:fs'],
  ['URL', SCRIPT.replace('({})', "new URL('http://a')"), 'URL is not defined'],
  ['fetch', SCRIPT.replace('({})', "fetch('http://a')"), 'fetch is not defined'],
  ['a timer', SCRIPT.replace('({})', 'setTimeout(() => 1, 1)'), 'setTimeout is not defined'],
  ['Intl', SCRIPT.replace('({})', "new Intl.NumberFormat('en')"), 'Intl is not defined'],
  ['a metric made later', SCRIPT.replace('({})', "new Counter('late')"), 'k6 does not allow this in setup'],
  [
    'a scenario without its function',
    SCRIPT.replace("exec: 'visit'", "exec: 'visitor'"),
    'no function visitor',
  ],
  ['a threshold of nothing', SCRIPT.replace('{ clicks: [', '{ click: ['), 'which there is not'],
])('refuses %s', async (_what, script, message) => {
  await expect(run(script)).rejects.toThrow(message);
});
