import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  ALL_PAGES,
  ARRIVE_MS,
  closeDialog,
  goTo,
  launchChromium,
  look,
  signIn,
  watchConsole,
} from './support/browser.ts';
import { waitFor } from './support/engines.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';
import { type Receiver, startReceiver } from './support/servers/receiver.ts';

const chromium = findChromium();
const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';

describe.skipIf(chromium === undefined || !ALL_PAGES)('a partner with its own tracker', () => {
  let platform: TestPlatform;
  let browser: Browser;
  let tracker: Receiver;

  beforeAll(async () => {
    platform = await startPlatform({ env: { WEBHOOK_NETWORKS: '127.0.0.1' } });
    browser = await launchChromium(chromium ?? '');
    tracker = await startReceiver();
  });
  afterAll(async () => {
    await browser?.close();
    await tracker?.stop();
    await platform?.stop();
  });

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

  test('adds its postback, tests it, and sees which sub id earned what', async () => {
    const page = await signIn(browser, platform, 'partner');
    const errors = watchConsole(page);
    await goTo(page, 'Postbacks and webhooks');
    await page.getByRole('button', { name: 'New postback' }).click();
    await page.getByLabel('Postback URL of the tracker').fill(`${tracker.url}?cid={subid}`);
    await page.getByRole('button', { name: 'Create postback' }).click();
    await page.locator('.fault', { hasText: 'unknown macro {subid}' }).waitFor();
    await look(page, 'postbacks-new');
    const url = `${tracker.url}?cid={sub1}&payout={commission}&status={status}&order={order_ref}`;
    await page.getByLabel('Postback URL of the tracker').fill(url);
    await page.getByRole('button', { name: 'Create postback' }).click();
    await page.getByRole('heading', { name: 'The signing secret' }).waitFor();
    await closeDialog(page);
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
    await look(page, 'postbacks-list');
    await page
      .locator('tr', { hasText: 'conversion.changed' })
      .getByRole('button', { name: 'Details' })
      .click();
    await page.getByText(/^GET http.*cid=tracker-1/).waitFor();
    await look(page, 'postbacks-delivery');
    await closeDialog(page);

    await goTo(page, 'Conversions');
    await page.locator('tr', { hasText: 'tracked-1' }).getByText('sub1 tracker-1').waitFor();
    await look(page, 'postbacks-conversions');
    await goTo(page, 'Overview');
    await page.getByRole('heading', { name: 'Next payout' }).waitFor();
    await page.getByText('The next run is on').waitFor();
    await look(page, 'postbacks-overview');
    await goTo(page, 'Reports');
    await page.getByLabel('By', { exact: true }).selectOption('sub1');
    const row = page.locator('tr', { hasText: 'tracker-1' });
    await row.waitFor();
    expect(await row.textContent()).toMatch(/€\d/);
    await look(page, 'postbacks-report');
    expect(errors.filter((text) => !text.includes('422'))).toEqual([]);
  });

  test('is given one by the operator', async () => {
    const page = await signIn(browser, platform, 'operator');
    await goTo(page, 'Postbacks and webhooks');
    await page.getByRole('button', { name: 'New postback' }).click();
    await page.getByLabel('Postback URL of the tracker').fill('https://tracker.example/?cid={sub1}');
    await page.getByLabel('For').selectOption({ label: 'Dan Deals' });
    await page.getByLabel('Rejected').check();
    await page.getByRole('button', { name: 'Create postback' }).click();
    await closeDialog(page);
    await page.getByText('Postback by GET, rejected, of Dan Deals').waitFor();
    await look(page, 'postbacks-operator');
  });
});
