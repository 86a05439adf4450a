import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ALL_PAGES, goTo, launchChromium, look, signIn, watchConsole } from './support/browser.ts';
import { waitFor } from './support/engines.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';

const chromium = findChromium();
const ORDERS = 4;
const PEOPLE = { 'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0' };

describe.skipIf(chromium === undefined || !ALL_PAGES)('the fraud rules in the portal', () => {
  let platform: TestPlatform;
  let browser: Browser;

  beforeAll(async () => {
    platform = await startPlatform();
    browser = await launchChromium(chromium ?? '');
    await orderRepeatedly();
  });
  afterAll(async () => {
    await browser?.close();
    await platform?.stop();
  });

  async function call(method: string, path: string, body?: object) {
    const answer = await fetch(`${platform.apiUrl}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${platform.demo.keys.operator}`,
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    expect([path, answer.status < 300, text]).toEqual([path, true, text]);
    return JSON.parse(text) as Record<string, unknown>;
  }

  /** Orders of one customer, each for a click of its own and decided before the next. */
  async function orderRepeatedly(): Promise<void> {
    for (let i = 0; i < ORDERS; i++) {
      const redirect = await fetch(platform.demo.links[0]?.url ?? '', {
        redirect: 'manual',
        headers: PEOPLE,
      });
      const click_id = new URL(redirect.headers.get('location') ?? '').searchParams.get('click_id');
      const occurred_at = new Date(Date.now() + 120_000).toISOString();
      const order = {
        order_id: `repeated-${i}`,
        amount: '30.00',
        currency: 'EUR',
        customer_id: 'c',
        click_id,
      };
      await call('POST', '/v1/conversions', { ...order, occurred_at });
      // One after the other: each counts for the next one.
      await waitFor(
        async () => {
          const { orders } = await call('GET', `/v1/programs/prg_${platform.demo.program.id}/fraud-rules`);
          return orders === i + 1;
        },
        { deadlineMs: 30_000, what: 'the order to be decided' },
      );
    }
  }

  test('a threshold is tried on the orders of 30 days before it is saved', async () => {
    const page = await signIn(browser, platform, 'operator');
    const errors = watchConsole(page);
    await goTo(page, 'Fraud rules');
    await page.getByText(`Of the ${ORDERS} orders decided in the last 30 days.`).waitFor();
    const field = page.getByLabel('Repeat orders, orders of one customer a day');
    expect(await field.inputValue()).toBe('5');
    await look(page, 'fraud-rules');

    await field.fill('2');
    await page.getByRole('button', { name: 'Preview' }).click();
    const changed = page.getByRole('region', { name: 'Orders that change' });
    await changed.getByText('Newly held').first().waitFor();
    // The third and the fourth order of the customer.
    expect(await changed.getByRole('row').allInnerTexts()).toEqual([
      expect.stringContaining('Because of'),
      expect.stringMatching(/repeated-3[\s\S]*Repeat orders: 4/),
      expect.stringMatching(/repeated-2[\s\S]*Repeat orders: 3/),
    ]);
    await look(page, 'fraud-rules-preview');

    // What was changed since is not what was seen.
    await field.fill('3');
    const save = page.getByRole('button', { name: 'Save thresholds' });
    expect(await save.isDisabled()).toBe(true);
    await page.getByRole('button', { name: 'Preview' }).click();
    await save.click();
    const row = page.getByRole('row', { name: /Repeat orders/ });
    await row.getByText('Default').waitFor({ state: 'detached' });
    expect(await field.inputValue()).toBe('3');
    expect(await call('GET', `/v1/programs/prg_${platform.demo.program.id}`)).toMatchObject({
      fraud_rules: { repeat_orders: 3 },
    });
    expect(errors).toEqual([]);
  });
});
