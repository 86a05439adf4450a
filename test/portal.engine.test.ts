import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  accessibilityFaults,
  findChromium,
  launchChromium,
  takePicture,
  watchConsole,
} from './support/browser.ts';
import { waitFor } from './support/engines.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';

const chromium = findChromium();
const ARRIVE_MS = 15_000;
const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';

describe.skipIf(chromium === undefined)('the portal in a browser', () => {
  let platform: TestPlatform;
  let browser: Browser;

  beforeAll(async () => {
    platform = await startPlatform();
    browser = await launchChromium(chromium ?? '');
  }, 90_000);
  afterAll(async () => {
    await browser?.close();
    await platform?.stop();
  });

  async function open(options: Parameters<Browser['newPage']>[0] = {}): Promise<Page> {
    const page = await browser.newPage({ baseURL: `${platform.apiUrl}/portal/`, ...options });
    page.setDefaultTimeout(ARRIVE_MS);
    await page.goto('');
    return page;
  }

  async function signIn(page: Page, who: 'partner' | 'operator'): Promise<void> {
    const { email, password } = platform.demo.portal[who];
    await page.getByLabel('E-mail address').fill(email);
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('link', { name: 'Overview' }).waitFor({ state: 'attached' });
  }

  const figure = (page: Page, title: string) =>
    page
      .locator('.stat', { has: page.getByText(title, { exact: true }) })
      .locator('.figure')
      .textContent();

  test('a wrong password is told; a right one opens the overview; a link is made, clicked, and earns', {
    timeout: 60_000,
  }, async () => {
    const page = await open();
    await page.getByLabel('E-mail address').fill(platform.demo.portal.partner.email);
    await page.getByLabel('Password').fill('not the password');
    await page.getByRole('button', { name: 'Sign in' }).click();
    expect(await page.getByRole('alert').textContent()).toContain('The address or the password is wrong');
    const complaints = watchConsole(page);
    await signIn(page, 'partner');
    await page.getByText('No clicks in this period').waitFor();

    await page.getByRole('navigation').getByRole('link', { name: 'Links' }).click();
    await page.getByRole('button', { name: 'New link' }).click();
    await page.getByLabel('Landing page').fill('https://shop.example/{nonsense}');
    await page.getByRole('button', { name: 'Make the link' }).click();
    await page.locator('.fault', { hasText: 'nonsense' }).waitFor();
    await page.getByLabel('Landing page').fill('https://shop.example/shoes?c={click_id}');
    await page.getByLabel('Name in the address').fill('shoes');
    await page.getByRole('button', { name: 'Make the link' }).click();
    await page.getByRole('heading', { name: 'Share shoes' }).waitFor();
    await page.getByLabel('sub1').fill('blog');
    const url = (await page.locator('dialog code').textContent()) ?? '';
    expect(url).toBe(`${platform.collectorUrl}/c/shoes?sub1=blog`);
    expect(
      await page
        .locator('dialog img')
        .evaluate((image) => (image as unknown as { naturalWidth: number }).naturalWidth),
    ).toBeGreaterThan(0);
    await page.getByRole('button', { name: 'Close' }).click();

    // The collectors know a new link within a second.
    const visit = await waitFor(
      async () => {
        const answer = await fetch(url, { redirect: 'manual', headers: { 'user-agent': FIREFOX } });
        return answer.status === 302 && answer;
      },
      { deadlineMs: ARRIVE_MS, what: 'the collector to serve the link' },
    );
    const clickId = new URL(visit.headers.get('location') ?? '').searchParams.get('c') ?? '';
    await page
      .locator('tr', { hasText: 'shoes' })
      .locator('td.numeric', { hasText: /^1$/ })
      .first()
      .waitFor();
    const order = new URLSearchParams({
      key: platform.demo.keys.advertiser,
      order_id: 'browser-1',
      amount: '120.00',
      currency: 'EUR',
      click_id: clickId,
    });
    expect((await fetch(`${platform.apiUrl}/postback?${order}`)).status).toBe(200);

    await page.getByRole('navigation').getByRole('link', { name: 'Overview' }).click();
    await page.locator('.stat', { hasText: 'Earned' }).getByText('€12.00').waitFor();
    expect([await figure(page, 'Clicks'), await figure(page, 'Credited orders')]).toEqual(['1', '1']);
    await page.getByRole('row', { name: /browser-1.*Attributed.*€120.00/ }).waitFor();
    expect(complaints.filter((line) => !line.includes('422'))).toEqual([]);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await page.close();
  });

  test.each(['light', 'dark'] as const)('the front door is fit for everybody, %s', async (colorScheme) => {
    const page = await open({ colorScheme });
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    await takePicture(page, `sign-in-${colorScheme}`);
    await page.close();
  });

  test('its files are kept by browsers, its page is asked for again, and nothing foreign may run', async () => {
    const home = await fetch(`${platform.apiUrl}/`);
    expect([home.url, home.status]).toEqual([`${platform.apiUrl}/portal/`, 200]);
    expect(home.headers.get('cache-control')).toBe('no-cache');
    expect(home.headers.get('content-security-policy')).toMatch(/script-src 'self'; style-src 'self';/);
    const etag = home.headers.get('etag') ?? '';
    const again = await fetch(home.url, { headers: { 'if-none-match': etag } });
    expect(again.status).toBe(304);
    const html = await home.text();
    const files = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path ?? '');
    expect(files).toHaveLength(3);
    for (const path of files) {
      const file = await fetch(platform.apiUrl + path);
      expect([path, file.status, file.headers.get('cache-control')]).toEqual([
        path,
        200,
        'public, max-age=31536000, immutable',
      ]);
    }
    const paths = ['/portal/links', '/portal/assets/none.js', '/portal/..%2f..%2fpackage.json'];
    const statuses = await Promise.all(
      paths.map(async (path) => (await fetch(platform.apiUrl + path)).status),
    );
    expect(statuses).toEqual([200, 404, 404]);
  });
});
