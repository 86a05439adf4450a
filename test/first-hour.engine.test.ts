import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromProject } from '../core/config/paths.ts';
import { accessibilityFaults, launchChromium, takePicture, watchConsole } from './support/browser.ts';
import { waitFor } from './support/engines.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';

/** A real installation from its first start on: docs/first-hour.md as it stands, and the setup page. */

const SCRIPT_MS = 120_000;
const START_MS = 90_000;

/** The blocks of the page, without the one that starts the platform. */
function blocksOf(page: string): string[] {
  const text = readFileSync(fromProject(page), 'utf8');
  const blocks = [...text.matchAll(/^```sh\n(.*?)^```/gms)].map(([, block = '']) => block);
  expect(blocks[0]).toBe('npm start\n');
  return blocks.slice(1);
}

test('docs/first-hour.md leads from an empty folder to a credited order', {
  timeout: START_MS + SCRIPT_MS,
}, async () => {
  const platform = await startPlatform({ demo: false });
  try {
    const { config } = platform;
    const script = [
      'set -eu',
      `npx() { shift; "${process.execPath}" "${fromProject('dist/bin/afflux.js')}" "$@"; }`,
      ...blocksOf('docs/first-hour.md'),
    ]
      .join('\n')
      .replaceAll('localhost:8081', `localhost:${config.apiPort}`);
    const { code, output } = await runScript(script, platform.env);
    expect(code, output).toBe(0);
    expect(output).toMatch(/made {2}link {6}lnk_1 {2}http:\/\/localhost:\d+\/c\/\w+/);
    expect(output).toContain('"status":"accepted","outcome":"recorded"');
    expect(output).toMatch(/"order_id":"1001".*"state":"attributed"|"state":"attributed".*"order_id":"1001"/);
    const steps = output.slice(output.lastIndexOf('prg_1 My shop'));
    expect(steps.match(/^ {2}(missing|advised) .*$/gm)).toEqual([expect.stringContaining('A mail server')]);
    expect(output.match(/set-password\?token=/g)).toHaveLength(3);
  } finally {
    await platform.stop();
  }
});

async function runScript(
  script: string,
  env: Readonly<Record<string, string>>,
): Promise<{ code: number | null; output: string }> {
  const child = spawn('bash', ['-c', script], { env: { ...env }, cwd: fromProject('.') });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (output += bytes));
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  await waitFor(hasEnded, { deadlineMs: SCRIPT_MS, what: 'the script' }).catch(() => child.kill('SIGKILL'));
  return { code: child.exitCode, output };
}

const chromium = findChromium();
const SIZES = [
  ['1440', { width: 1440, height: 900 }],
  ['390', { width: 390, height: 844 }],
] as const;
const PASSWORD = 'several uncommon words';

describe.skipIf(chromium === undefined)('the setup page in a browser', () => {
  let platform: TestPlatform;
  let browser: Browser;
  beforeAll(async () => {
    platform = await startPlatform({ demo: false });
    browser = await launchChromium(chromium ?? '');
  }, START_MS);
  afterAll(async () => {
    await browser?.close();
    await platform?.stop();
  });

  async function look(page: Page, name: string): Promise<void> {
    for (const [width, viewport] of SIZES) {
      await page.setViewportSize(viewport);
      expect(await accessibilityFaults(page), name).toEqual([]);
      const overflow = await page.evaluate(
        'document.documentElement.scrollWidth - document.documentElement.clientWidth',
      );
      expect([name, width, overflow]).toEqual([name, width, 0]);
      await takePicture(page, `first-hour-${name}-${width}`);
    }
  }

  test('sets the platform up, once, and leads to what is missing', async () => {
    // On a terminal the start prints it; where lines are JSON, only the command does.
    const printed = /http\S+\/portal\/setup#afx_setup_\d{10}_[\w-]{43}\s/;
    expect(platform.output()).toMatch(printed);
    const json = await platform.afflux('init', '--link');
    const [url = ''] = printed.exec(json) ?? [];
    const token = url.trim().split('#')[1] ?? '';
    expect(token).toMatch(/^afx_setup_/);
    const page = await browser.newPage();
    const faults = watchConsole(page);
    const requested: string[] = [];
    page.on('request', (request) => requested.push(`${request.url()} ${JSON.stringify(request.headers())}`));

    // Without the link the page asks for the token.
    await page.goto(`${platform.apiUrl}/portal/`);
    await page.getByLabel('One-time token').waitFor();
    await look(page, 'without-link');
    await page.goto('about:blank');

    await page.goto(url);
    await page.getByRole('heading', { name: 'Set up your platform' }).waitFor();
    expect(await page.getByLabel('One-time token').count()).toBe(0);
    expect(page.url()).toBe(`${platform.apiUrl}/portal/setup`);
    await look(page, 'setup');

    const other = await browser.newPage();
    await other.goto(url);
    await other.getByRole('heading', { name: 'Set up your platform' }).waitFor();

    await fill(page);
    await page.getByLabel('Your password').fill('password123');
    await page.getByRole('button', { name: 'Set up' }).click();
    await page.locator('.fault', { hasText: 'too easy to guess' }).waitFor();
    await look(page, 'setup-fault');
    faults.length = 0;
    await page.getByLabel('Your password').fill(PASSWORD);
    await page.getByRole('button', { name: 'Set up' }).click();
    await page.getByRole('heading', { name: 'Setup' }).waitFor();
    expect(page.url()).toBe(`${platform.apiUrl}/portal/`);
    await page.getByText('A source or a key by which the shop reports its orders').waitFor();
    await look(page, 'overview');

    await fill(other);
    await other.getByLabel('Your password').fill(PASSWORD);
    await other.getByRole('button', { name: 'Set up' }).click();
    await other.locator('.problem', { hasText: 'Not found' }).waitFor();
    expect((await other.goto(url.replace('#', '?again#')))?.status()).toBe(404);
    await other.getByRole('heading', { name: 'This platform is set up' }).waitFor();
    await other.close();

    // The way on: each missing step leads to its page.
    await page.setViewportSize(SIZES[0][1]);
    await page.getByRole('link', { name: 'Connect the shop' }).click();
    await page.getByRole('heading', { name: 'Connect', exact: true }).waitFor();
    await page.getByRole('link', { name: 'Program settings' }).click();
    await page.getByRole('heading', { name: 'Link templates' }).waitFor();
    await page.getByLabel('Tracking domain').fill('a/b');
    await page.getByRole('button', { name: 'Save', exact: true }).first().click();
    await page.locator('.fault', { hasText: 'host name' }).waitFor();
    await page.getByLabel('Tracking domain').fill('go.shop.example');
    await page.getByRole('button', { name: 'Save', exact: true }).first().click();
    await page.getByRole('button', { name: 'New template' }).click();
    await page.getByRole('dialog').getByLabel('Name').fill('Summer');
    await page.getByLabel('Landing page').fill('https://shop.example/summer');
    await page.getByRole('button', { name: 'Create template' }).click();
    await page.getByRole('cell', { name: 'https://shop.example/summer' }).waitFor();
    await page.getByLabel('Set the click cookie').click();
    const isSaved = page.waitForResponse((answer) => answer.request().method() === 'PATCH');
    await page.getByRole('button', { name: 'Save privacy' }).click();
    await isSaved;
    await page.reload();
    await page.getByRole('heading', { name: 'Link templates' }).waitFor();
    expect(await page.getByLabel('Set the click cookie').isChecked()).toBe(false);
    expect(await page.getByLabel('Tracking domain').inputValue()).toBe('go.shop.example');
    await look(page, 'settings');

    await page.setViewportSize(SIZES[0][1]);
    await page.getByRole('button', { name: 'New program' }).click();
    await page.getByLabel('Name of the shop').fill('Second shop');
    await page.getByRole('button', { name: 'Create program' }).click();
    await page.getByRole('heading', { name: 'Second shop' }).waitFor();
    await page.getByText('Terms: what partners earn').waitFor();
    await look(page, 'second-program');

    const said = platform
      .output()
      .split('\n')
      .filter((line) => line.includes('afx_setup_'));
    expect(said).toHaveLength(1);
    expect(requested.filter((line) => line.includes(token))).toEqual([]);
    expect(faults.filter((line) => !line.includes('status of 422'))).toEqual([]);
  });

  async function fill(page: Page): Promise<void> {
    await page.getByLabel('Your name').fill('Olga');
    await page.getByLabel('Your e-mail address').fill('olga@shop.example');
    await page.getByLabel('Name of the shop').fill('My shop');
    await page.getByLabel('Page of the shop that links lead to').fill('https://shop.example/');
    await page.getByLabel('Name of the partner').fill('Ann');
    await page.getByLabel('E-mail address of the partner').fill('ann@blog.example');
  }
});
