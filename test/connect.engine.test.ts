import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fromProject } from '../core/config/paths.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';

/** The commands of docs/connect, word for word but for the ports, against the platform as `npm start` runs it. */

const FOLDER = fromProject('docs/connect');
const pages = readdirSync(FOLDER);
const SCRIPT_MS = 30_000;

let platform: TestPlatform;
let folder: string;

beforeAll(async () => {
  platform = await startPlatform();
  folder = mkdtempSync(join(tmpdir(), 'afflux-connect-'));
  symlinkSync(platform.config.home, join(folder, '.afflux'));
});
afterAll(async () => {
  await platform?.stop();
  rmSync(folder, { recursive: true, force: true });
});

test.each(pages)(
  '%s leads to a credited order',
  async (page) => {
    const text = readFileSync(join(FOLDER, page), 'utf8');
    const script = [...text.matchAll(/^```sh\n(.*?)^```/gms)].map(([, block = '']) => block).join('\n');
    const commands = script
      .replaceAll('http://localhost:8081', platform.apiUrl)
      .replaceAll('http://localhost:8080', platform.collectorUrl);
    const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', commands], {
      cwd: folder,
      timeout: SCRIPT_MS,
    });
    const [, orderId] = /conversions\?order_id=([\w-]+)/.exec(text) ?? [];
    expect(stdout, stdout).toContain(`"order_id":"${orderId}"`);
    expect(stdout, stdout).not.toContain('"type":"about:blank"');
    const headers = { authorization: `Bearer ${platform.demo.keys.advertiser}` };
    const state = async () => {
      const answer = await fetch(`${platform.apiUrl}/v1/conversions?order_id=${orderId}`, { headers });
      const { data } = (await answer.json()) as { data: { affiliate_id: string | null; state: string }[] };
      return data.map(({ affiliate_id, state }) => [affiliate_id !== null, state]);
    };
    await expect
      .poll(state, { timeout: 20_000 })
      .toEqual([[true, expect.stringMatching(/^(?:attributed|partially_refunded)$/)]]);
  },
  60_000,
);
