import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ALL_PAGES, ARRIVE_MS, goTo, launchChromium, look, signIn, watchConsole } from './support/browser.ts';
import { waitFor } from './support/engines.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';

const chromium = findChromium();
const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';
const ORDERS = ['case-1', 'case-2', 'case-3', 'case-4'];

describe.skipIf(chromium === undefined || !ALL_PAGES)('several orders reviewed as one, in a browser', () => {
  let platform: TestPlatform;
  let browser: Browser;

  beforeAll(async () => {
    platform = await startPlatform();
    browser = await launchChromium(chromium ?? '');
    await orderAtOnce();
  });
  afterAll(async () => {
    await browser?.close();
    await platform?.stop();
  });

  const inState = async (state: string) => {
    const answer = await fetch(`${platform.apiUrl}/v1/conversions?state=${state}`, {
      headers: { authorization: `Bearer ${platform.demo.keys.operator}` },
    });
    const { data } = (await answer.json()) as { data: { order_id: string }[] };
    return data.map(({ order_id }) => order_id).filter((id) => ORDERS.includes(id));
  };

  /** Orders in the minute of their click, which a rule puts in review. */
  async function orderAtOnce(): Promise<void> {
    const changed = await fetch(`${platform.apiUrl}/v1/programs/prg_${platform.demo.program.id}`, {
      method: 'PATCH',
      headers: {
        authorization: `Bearer ${platform.demo.keys.operator}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ fraud_rules: { instant_conversion: 3_600 } }),
    });
    expect(changed.status).toBe(200);
    const [link] = platform.demo.links;
    const visit = await fetch(link?.url ?? '', { redirect: 'manual', headers: { 'user-agent': FIREFOX } });
    const location = new URL(visit.headers.get('location') ?? '');
    const click_id = [...location.searchParams.values()].find((value) => /^[\w-]{22}$/.test(value)) ?? '';
    for (const order_id of ORDERS) {
      const order = { key: platform.demo.keys.advertiser, order_id, amount: '50', currency: 'EUR', click_id };
      const answer = await fetch(`${platform.apiUrl}/postback?${new URLSearchParams(order)}`);
      expect(answer.status).toBe(200);
    }
    await waitFor(async () => (await inState('review')).length === ORDERS.length, {
      deadlineMs: ARRIVE_MS,
      what: 'the orders to be in review',
    });
  }

  /** An order that somebody adds while the dialog is open is not among the others that it decides. */
  async function decideWhatWasSeen(page: Page): Promise<void> {
    const dialog = page.getByRole('dialog');
    await page.getByRole('button', { name: 'Take out order case-4' }).click();
    await page.getByText('1 in review, €50.00').waitFor();
    await page.getByLabel('Select order case-3').check();
    await page.getByRole('button', { name: 'Decide the selected (1)' }).click();
    await dialog.getByLabel('1 selected order').waitFor();
    const headers = {
      authorization: `Bearer ${platform.demo.keys.operator}`,
      'content-type': 'application/json',
    };
    const found = await fetch(`${platform.apiUrl}/v1/conversions?state=review`, { headers });
    const { data } = (await found.json()) as { data: { id: string; order_id: string }[] };
    const added = data.find(({ order_id }) => order_id === 'case-4')?.id;
    const id = new URL(page.url()).pathname.split('/').at(-1);
    const body = JSON.stringify({ conversion_ids: [added] });
    const answer = await fetch(`${platform.apiUrl}/v1/cases/${id}/orders`, { method: 'POST', headers, body });
    expect(answer.status).toBe(200);
    await page.getByText('2 in review, €100.00').waitFor();
    expect(await dialog.getByLabel(/other order in review/).count()).toBe(0);
    await dialog.getByRole('button', { name: 'Decide 1 order' }).waitFor();
    await page.keyboard.press('Escape');
  }

  test('an operator opens a case, adds what shares its address, and decides it', async () => {
    const page = await signIn(browser, platform, 'operator');
    const errors = watchConsole(page);
    await goTo(page, 'Review queue');
    await page.getByLabel('Select order case-1').check();
    await page.getByLabel('Select order case-2').check();
    await look(page, 'cases-queue');
    await page.getByRole('button', { name: 'Open a case (2)' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Title').fill('Four orders at once');
    await dialog.getByRole('button', { name: 'Open a case' }).click();
    await page.getByRole('heading', { name: 'Four orders at once' }).waitFor();
    await page.getByText('2 in review, €100.00').waitFor();
    await look(page, 'cases-case');

    await page.getByLabel('Select order case-1').check();
    await page.getByRole('button', { name: 'Decide the selected (1)' }).click();
    await dialog.getByLabel('1 selected order').selectOption('approve');
    await dialog.getByLabel('1 other order in review').selectOption('reject');
    await dialog
      .getByText(/^1 order of €50\.00, commissions/)
      .first()
      .waitFor();
    await dialog.getByLabel('Reason').fill('the first one is real');
    await look(page, 'cases-decide');
    await dialog.getByRole('button', { name: 'Decide 2 orders' }).click();
    await page.getByText('Decision: 1 credited, 1 rejected').waitFor();
    expect([await inState('attributed'), await inState('rejected')]).toEqual([['case-1'], ['case-2']]);
    await look(page, 'cases-decided');

    await goTo(page, 'Conversions');
    await page.getByRole('button', { name: 'Open order case-3' }).click();
    await dialog.getByRole('link', { name: 'Open a case' }).click();
    await dialog.getByText('2 orders, €100.00.').waitFor();
    await look(page, 'cases-related');
    await dialog.getByLabel('Title').fill('The others');
    await dialog.getByRole('button', { name: 'Open a case' }).click();
    await page.getByRole('heading', { name: 'The others' }).waitFor();
    await goTo(page, 'Conversions');
    await page.getByRole('button', { name: 'Open order case-3' }).click();
    await dialog.getByRole('link', { name: 'Case The others (Open)' }).click();
    await page.getByRole('heading', { name: 'The others' }).waitFor();
    await decideWhatWasSeen(page);
    await goTo(page, 'Cases');
    await page.locator('tr', { hasText: 'Four orders at once' }).getByText('Decided').waitFor();
    await look(page, 'cases-list');
    expect(errors).toEqual([]);
  });
});
