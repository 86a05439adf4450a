import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ALL_PAGES, goTo, launchChromium, look, signIn, watchConsole } from './support/browser.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';

const chromium = findChromium();

const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';

/** A visitor clicks and orders. */
async function visit({ apiUrl, collectorUrl, demo }: TestPlatform): Promise<void> {
  const click = await fetch(`${collectorUrl}/c/ann-summer`, {
    redirect: 'manual',
    headers: { 'user-agent': FIREFOX },
  });
  const [, id] = /click_id=([\w-]{22})/.exec(click.headers.get('location') ?? '') ?? [];
  const order = `key=${demo.keys.advertiser}&order_id=explored&amount=10&currency=EUR&click_id=${id}`;
  expect((await fetch(`${apiUrl}/postback?${order}`)).status).toBe(200);
}

describe.skipIf(chromium === undefined || !ALL_PAGES)('the explorer, in a browser', () => {
  let platform: TestPlatform;
  let browser: Browser;

  beforeAll(async () => {
    platform = await startPlatform();
    browser = await launchChromium(chromium ?? '');
  });
  afterAll(async () => {
    await browser?.close();
    await platform?.stop();
  });

  const heading = async (page: Page) => await page.getByRole('heading', { level: 1 }).textContent();

  test('leads from the list to an address, to its network, to a partner, to an order', async () => {
    const page = await signIn(browser, platform, 'operator');
    const errors = watchConsole(page);
    await visit(platform);
    await goTo(page, 'Velocity');
    await page.getByLabel('First', { exact: true }).selectOption({ label: 'Most orders' });
    const list = page.getByRole('region', { name: 'Who stands out' });
    // The page reads it again until the order is mirrored.
    const first = list.getByRole('row', { name: /100%/ });
    const address = (await first.getByRole('link').textContent()) ?? '';
    await look(page, 'explorer-velocity');

    await first.getByRole('link').click();
    await page.getByRole('heading', { level: 1, name: `Address ${address}` }).waitFor();
    await page.getByRole('region', { name: 'Orders' }).getByRole('row').nth(1).waitFor();
    await page.getByRole('img', { name: 'Clicks and orders over time' }).waitFor();
    await look(page, 'explorer-address');
    const block = await page.getByRole('link', { name: 'Block', exact: true }).getAttribute('href');
    expect(block).toBe(`/portal/blocks?kind=address&value=${encodeURIComponent(address)}`);
    await page.getByRole('button', { name: 'Last day by minute' }).click();
    await page.getByRole('img', { name: 'Clicks and orders over time' }).waitFor();

    const partners = page.getByRole('region', { name: 'Partner', exact: true });
    await partners.getByRole('link').first().click();
    await page.getByRole('heading', { level: 1, name: /^Partner / }).waitFor();
    await page.getByRole('region', { name: 'Clicks' }).getByRole('row').nth(1).waitFor();
    await look(page, 'explorer-partner');

    const field = page.getByLabel('Look up');
    await field.fill('198.51.100.77/24');
    await page.getByRole('button', { name: 'Open', exact: true }).click();
    await page.getByRole('heading', { level: 1, name: 'Network 198.51.100.0/24' }).waitFor();
    await field.fill('Eve@Example.com');
    await page.getByRole('button', { name: 'Open', exact: true }).click();
    await page.getByRole('heading', { level: 1, name: /^Customer / }).waitFor();
    // What was typed is in no address.
    expect(page.url()).toMatch(/customer\/sha256%3A[0-9a-f]{64}$/);
    expect(await heading(page)).not.toContain('Eve');
    expect(errors).toEqual([]);
  });
});
