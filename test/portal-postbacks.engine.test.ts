import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { accessibilityFaults, launchChromium, takePicture, watchConsole } from './support/browser.ts';
import { waitFor } from './support/engines.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';
import { type Receiver, startReceiver } from './support/servers/receiver.ts';

const chromium = findChromium();
const ARRIVE_MS = 15_000;
const SIZES = { desk: { width: 1440, height: 900 }, phone: { width: 390, height: 844 } } as const;
const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';

describe.skipIf(chromium === undefined)('a partner with a tracker of its own, in a browser', () => {
  let platform: TestPlatform;
  let browser: Browser;
  let tracker: Receiver;

  beforeAll(async () => {
    platform = await startPlatform({ env: { WEBHOOK_NETWORKS: '127.0.0.1' } });
    browser = await launchChromium(chromium ?? '');
    tracker = await startReceiver();
  }, 90_000);
  afterAll(async () => {
    await browser?.close();
    await tracker?.stop();
    await platform?.stop();
  });

  async function signIn(who: 'partner' | 'operator'): Promise<Page> {
    const baseURL = `${platform.apiUrl}/portal/`;
    const page = await (await browser.newContext({ baseURL, viewport: SIZES.desk })).newPage();
    page.setDefaultTimeout(ARRIVE_MS);
    await page.goto('');
    const { email, password } = platform.demo.portal[who];
    await page.getByLabel('E-mail address').fill(email);
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('link', { name: 'Overview' }).waitFor({ state: 'attached' });
    return page;
  }

  const goTo = (page: Page, name: string) =>
    page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name, exact: true }).click();

  /** A picture at both sizes; nothing is wider than a phone, and a screen reader finds its way. */
  async function look(page: Page, name: string): Promise<void> {
    for (const [size, viewport] of Object.entries(SIZES)) {
      await page.setViewportSize(viewport);
      await takePicture(page, `postbacks-${name}-${size}`);
      const width = Number(await page.evaluate('document.documentElement.scrollWidth'));
      expect([name, size, width <= viewport.width]).toEqual([name, size, true]);
    }
    expect([name, await accessibilityFaults(page)]).toEqual([name, []]);
    await page.setViewportSize(SIZES.desk);
  }

  async function clickOf(sub1: string): Promise<string> {
    const partner = platform.demo.affiliates.find(({ ref_code }) => ref_code === 'cat');
    const link = platform.demo.links.find(({ affiliate_id }) => affiliate_id === partner?.id);
    const visit = await fetch(`${link?.url}?sub1=${sub1}`, {
      redirect: 'manual',
      headers: { 'user-agent': FIREFOX },
    });
    const location = new URL(visit.headers.get('location') ?? '');
    const id = [...location.searchParams.values()].find((value) => /^[\w-]{22}$/.test(value));
    expect([visit.status, id]).toEqual([302, expect.any(String)]);
    return id ?? '';
  }

  async function postOrder(order: Record<string, string>): Promise<void> {
    const query = new URLSearchParams({ key: platform.demo.keys.advertiser, currency: 'EUR', ...order });
    const answer = await fetch(`${platform.apiUrl}/postback?${query}`);
    expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('accepted')]);
  }

  const calls = () =>
    tracker.received.map(({ url }) => Object.fromEntries(new URLSearchParams(url?.split('?')[1])));

  test('adds its postback, tests it, and sees which sub id earned what', { timeout: 90_000 }, async () => {
    const page = await signIn('partner');
    const errors = watchConsole(page);
    await goTo(page, 'Postbacks and webhooks');
    await page.getByRole('button', { name: 'New postback' }).click();
    await page.getByLabel('Postback URL of the tracker').fill(`${tracker.url}?cid={subid}`);
    await page.getByRole('button', { name: 'Create postback' }).click();
    await page.locator('.fault', { hasText: 'unknown macro {subid}' }).waitFor();
    await look(page, 'new');
    const url = `${tracker.url}?cid={sub1}&payout={commission}&status={status}&order={order_ref}`;
    await page.getByLabel('Postback URL of the tracker').fill(url);
    await page.getByRole('button', { name: 'Create postback' }).click();
    await page.getByRole('heading', { name: 'The signing secret' }).waitFor();
    await page.getByRole('button', { name: 'Close' }).click();
    await page.getByRole('button', { name: 'Send a test' }).click();
    await page.locator('tr', { hasText: 'webhook.test' }).getByText('Delivered').waitFor();
    expect(calls()).toEqual([
      { cid: 'example-sub1', payout: '10.00', status: 'pending', order: 'afflux-test' },
    ]);

    await postOrder({ order_id: 'tracked-1', amount: '120.00', click_id: await clickOf('tracker-1') });
    await waitFor(() => calls().some(({ cid }) => cid === 'tracker-1'), {
      deadlineMs: ARRIVE_MS,
      what: 'the postback',
    });
    expect(calls().find(({ cid }) => cid === 'tracker-1')).toMatchObject({
      order: 'tracked-1',
      status: 'pending',
    });
    await page.locator('tr', { hasText: 'conversion.changed' }).getByText('Delivered').waitFor();
    await look(page, 'list');
    await page
      .locator('tr', { hasText: 'conversion.changed' })
      .getByRole('button', { name: 'Details' })
      .click();
    await page.getByText(/^GET http.*cid=tracker-1/).waitFor();
    await look(page, 'delivery');
    await page.getByRole('button', { name: 'Close' }).click();

    await goTo(page, 'Conversions');
    await page.locator('tr', { hasText: 'tracked-1' }).getByText('sub1 tracker-1').waitFor();
    await look(page, 'conversions');
    await goTo(page, 'Overview');
    await page.getByRole('heading', { name: 'Next payout' }).waitFor();
    await page.getByText('The next run is on').waitFor();
    await look(page, 'overview');
    await goTo(page, 'Reports');
    await page.getByLabel('By', { exact: true }).selectOption('sub1');
    const row = page.locator('tr', { hasText: 'tracker-1' });
    await row.waitFor();
    expect(await row.textContent()).toMatch(/€\d/);
    await look(page, 'report');
    expect(errors.filter((text) => !text.includes('422'))).toEqual([]);
  });

  test('is given one by the operator', { timeout: 90_000 }, async () => {
    const page = await signIn('operator');
    await goTo(page, 'Postbacks and webhooks');
    await page.getByRole('button', { name: 'New postback' }).click();
    await page.getByLabel('Postback URL of the tracker').fill('https://tracker.example/?cid={sub1}');
    await page.getByLabel('For').selectOption({ label: 'Dan Deals' });
    await page.getByLabel('Rejected').check();
    await page.getByRole('button', { name: 'Create postback' }).click();
    await page.getByRole('button', { name: 'Close' }).click();
    await page.getByText('Postback by GET, rejected, of Dan Deals').waitFor();
    await look(page, 'operator');
  });
});
