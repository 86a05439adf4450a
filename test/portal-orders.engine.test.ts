import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { components } from '../api/client/types.ts';
import { ALL_PAGES, goTo, launchChromium, look, signIn, watchConsole } from './support/browser.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';

type Schemas = components['schemas'];

const chromium = findChromium();

describe.skipIf(chromium === undefined || !ALL_PAGES)('what orders are of and contain, in the portal', () => {
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

  async function call(method: string, path: string, body: object, key = platform.demo.keys.operator) {
    const answer = await fetch(`${platform.apiUrl}${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const text = await answer.text();
    expect([path, answer.status < 300, text]).toEqual([path, true, text]);
    return JSON.parse(text) as Record<string, unknown>;
  }

  /** What the API answers to a change that the page makes. */
  async function answerTo(page: Page, path: string, act: () => Promise<void>): Promise<Schemas['Terms']> {
    const [response] = await Promise.all([
      page.waitForResponse((one) => one.url().endsWith(path) && one.request().method() !== 'GET'),
      act(),
    ]);
    return await response.json();
  }

  const namedIn = ({ origins }: Schemas['Terms']) =>
    Object.keys(origins).filter((name) => origins[name as keyof typeof origins] === 'named');

  test('an operator sets what orders are of and what earns, and terms that name what was typed alone', async () => {
    const page = await signIn(browser, platform, 'operator');
    const errors = watchConsole(page);
    await goTo(page, 'Program settings');
    const saveEvents = page
      .locator('form', { has: page.getByLabel('Events') })
      .getByRole('button', { name: 'Save', exact: true });
    await page.getByLabel('Events').fill('sale, Lead!');
    await saveEvents.click();
    await page.locator('.fault', { hasText: 'must be lower-case letters' }).waitFor();
    await page.getByLabel('Events').fill('sale lead');
    await page.getByLabel('Earns commissions').selectOption('net_of_tax');
    await page.getByLabel('Of a click and a code of different partners counts').selectOption('click_wins');
    await saveEvents.click();
    // Read again after it was saved.
    await expect.poll(() => page.getByLabel('Events').inputValue()).toBe('sale, lead');
    await look(page, 'program-settings');
    await page.getByRole('link', { name: 'a page of their own' }).click();
    await page.getByLabel('Repeat orders, orders of one customer a day').fill('7');
    // What they would find is seen before they are saved.
    expect(await page.getByRole('button', { name: 'Save thresholds' }).isDisabled()).toBe(true);
    await page.getByRole('button', { name: 'Preview' }).click();
    await page.getByRole('heading', { name: 'Before and after' }).waitFor();
    const program = await answerTo(page, `/v1/programs/prg_${platform.demo.program.id}`, () =>
      page.getByRole('button', { name: 'Save thresholds' }).click(),
    );
    expect(program).toMatchObject({
      events: ['sale', 'lead'],
      commission_base: 'net_of_tax',
      coupon_evidence: 'click_wins',
      fraud_rules: { repeat_orders: 7 },
    });

    await goTo(page, 'Terms');
    await page.getByRole('button', { name: 'New terms' }).click();
    // Of the program, which has terms: what they name stays named.
    await page.getByText('In force for these: trm_1, whose own values are filled in.').waitFor();
    expect(await page.getByLabel('Share, %').inputValue()).toBe('10');
    await page.getByText('Empty: 30 days, by default.').first().waitFor();
    await page.getByLabel('Event').selectOption('lead');
    await page.getByText('Empty: 10%, from trm_1.').waitFor();
    expect(await page.getByLabel('Share, %').inputValue()).toBe('');
    await page.getByText('Volume tiers, subscriptions, limits').click();
    await page.getByLabel('Tiers', { exact: true }).fill('1000.00 = 12\n5000 = 15,5');
    await page.getByText('Other rates by customer and item').click();
    const levels = page.getByLabel('Level 2 and above, %');
    await levels.fill('3,1');
    await page.locator('dialog .fault', { hasText: 'two readings: write 3.1 or 3; 1' }).waitFor();
    await levels.fill('2,0625 1');
    await page.getByLabel('Rates by customer of their own').check();
    const special = page.getByLabel('New customers, %');
    await special.fill('7,125');
    await page.locator('dialog .fault', { hasText: 'two readings: write 7125 or 7.125' }).waitFor();
    await special.fill('7.125');
    await page.getByLabel('Returning customers, %').fill('0');
    await page.getByLabel('Items').fill('sku A-1 = 12,5\nfees = 0');
    await page.locator('dialog .fault', { hasText: 'Not a rate: fees = 0' }).waitFor();
    await page.getByRole('button', { name: 'Create terms' }).click();
    await page.locator('dialog').getByText('Invalid input').waitFor();
    await page.getByLabel('Items').fill('sku A-1 = 12,3456\ncategory fees = 0');
    await look(page, 'new-terms');
    const made = await answerTo(page, '/v1/terms', () =>
      page.getByRole('button', { name: 'Create terms' }).click(),
    );
    const named = ['tiers', 'customer_rates', 'item_rates', 'level_rates_bps'];
    const eur = (amount: string) => ({ amount, currency: 'EUR' });
    const values = {
      event_name: 'lead',
      level_rates_bps: [206.25, 100],
      tiers: [
        { from: eur('1000.00'), rate_bps: 1_200 },
        { from: eur('5000.00'), rate_bps: 1_550 },
      ],
      customer_rates: { new: { rate_bps: 712.5 }, returning: { rate_bps: 0 } },
      item_rates: [
        { sku: 'A-1', rate_bps: 1_234.56 },
        { category: 'fees', rate_bps: 0 },
      ],
    };
    expect(made).toMatchObject(values);
    expect(namedIn(made)).toEqual(named);
    const table = page.getByRole('region', { name: /lead only/ });
    await table.getByText('7.125% for new customers, 0% for returning customers').waitFor();
    await table.getByText('12.3456% for A-1, fees excluded').waitFor();
    await table.getByText(/from trm_1: .*hold days/).waitFor();
    await look(page, 'terms-of-event');

    // Changed again, they keep all that they named before.
    await page.getByRole('button', { name: 'New terms' }).click();
    await page.getByLabel('Event').selectOption('lead');
    await page.getByLabel('Hold, days').fill('45');
    await page.getByLabel(/^Valid from/).fill(`${new Date().getFullYear() + 1}-01-01T00:00`);
    const again = await answerTo(page, '/v1/terms', () =>
      page.getByRole('button', { name: 'Create terms' }).click(),
    );
    expect(again).toMatchObject({ ...values, hold_days: 45 });
    expect(namedIn(again)).toEqual([...named, 'hold_days']);
    await table.getByRole('button', { name: /^Withdraw trm_/ }).click();
    await table.getByText('Future').waitFor({ state: 'detached' });
    expect(errors.filter((text) => !text.includes('422'))).toEqual([]);
    await page.close();
  });

  test('an operator credits an order, refunds its items once over a broken line, changes and cancels it', async () => {
    const items = [
      { sku: 'A-1', brand: 'Acme', category: 'shoes', quantity: 2, amount: '95.10', tax: '15.18' },
      { category: 'shipping', amount: '4.90', shipping: '4.90' },
    ];
    await call('PATCH', `/v1/programs/prg_${platform.demo.program.id}`, { events: ['sale', 'lead'] });
    const order = { order_id: 'with-items', event_name: 'lead', amount: '100.00', currency: 'EUR', items };
    await call('POST', '/v1/conversions', order, platform.demo.keys.advertiser);
    const page = await signIn(browser, platform, 'operator');
    const errors = watchConsole(page);
    await page.goto('conversions?text=with-items');
    await page.getByText('Lead, cnv_').waitFor();
    await page.getByRole('row', { name: /Unattributed/ }).waitFor();
    await page.getByRole('button', { name: 'Open order with-items' }).click();
    const dialog = page.getByRole('dialog');
    const button = (name: string) => dialog.getByRole('button', { name, exact: true });
    const because = async (note: string) => await dialog.getByLabel('Reason').fill(note);
    const effect = (name: string, text: RegExp) =>
      dialog
        .locator('dt', { hasText: name })
        .locator('xpath=following-sibling::dd[1]')
        .getByText(text)
        .waitFor();
    await dialog.getByRole('region', { name: 'Items' }).getByText('1. A-1').waitFor();
    await dialog.getByText('Acme, shoes').waitFor();

    await button('Credit to a partner').click();
    await button('A link').click();
    await dialog.getByLabel('Code of the link').fill('nothing');
    await because('named by the customer');
    await button('Credit the order').click();
    await button('Confirm: credit the order').click();
    await dialog.locator('.fault', { hasText: 'there is no such link' }).waitFor();
    await dialog.getByLabel('Code of the link').fill(platform.demo.links[0]?.code ?? '');
    await button('Credit the order').click();
    await look(page, 'order-credit');
    await button('Confirm: credit the order').click();
    await dialog.getByText('“named by the customer”').waitFor();

    // The answer is lost; sent again under the same key, the refund is recorded once.
    const keys: (string | undefined)[] = [];
    await page.route('**/v1/refunds', async (route) => {
      if (route.request().method() !== 'POST') return await route.continue();
      keys.push(route.request().headers()['idempotency-key']);
      const answer = await route.fetch();
      return keys.length === 1 ? await route.abort() : await route.fulfill({ response: answer });
    });
    await button('Refund').click();
    await button('Items').click();
    await dialog.getByLabel(/1\. A-1, €95\.10 is left/).check();
    await dialog.getByLabel('Refunded of 1. A-1, EUR').fill('45.10');
    await dialog.getByLabel('The shop’s reference').fill('r-1');
    await because('one piece came back');
    await look(page, 'order-refund');
    await button('Record the refund').click();
    await effect('Refunded', /€0\.00 → €45\.10/);
    await effect('Left of the order', /€100\.00 → €54\.90/);
    await look(page, 'order-refund-confirm');
    await button('Confirm: record the refund').click();
    await dialog.getByText('The server is unreachable').waitFor();
    await button('Record the refund').click();
    await button('Confirm: record the refund').click();
    await dialog.getByText('€45.10 taken off').waitFor();
    expect([keys.length, new Set(keys).size, keys[0]]).toEqual([2, 1, expect.any(String)]);

    await button('Undo a refund').click();
    await because('it was another order');
    await button('Take the refund back').click();
    await effect('Refunded', /€45\.10 → €0\.00/);
    await button('Confirm: take the refund back').click();
    await button('Undo a refund').waitFor({ state: 'detached' });

    await button('Raise or lower').click();
    await dialog.getByLabel('The order comes to, EUR').fill('80.00');
    await because('a discount');
    await button('Change the amount').click();
    await effect('The order comes to', /€100\.00 → €80\.00/);
    await button('Confirm: change the amount').click();
    await dialog.getByText('€20.00 taken off').waitFor();

    await button('Refund').click();
    await button('All that is left').click();
    await dialog.getByLabel('The shop’s reference').fill('r-2');
    await because('all of it');
    await button('Record the refund').click();
    await effect('Left of the order', /€80\.00 → €0\.00/);
    await button('Cancel').click();
    await button('Cancel').click();

    await button('Cancel the order').click();
    await because('a test');
    await button('Cancel the order').click();
    await effect('Earns by', /€80\.00 → €0\.00/);
    await button('Confirm: cancel the order').click();
    await button('Restore the order').click();
    await because('no test');
    await button('Restore the order').click();
    await effect('Earns by', /€0\.00 → €80\.00/);
    await button('Confirm: restore the order').click();
    await button('Cancel the order').waitFor();
    await look(page, 'order-items');
    const audit = await fetch(`${platform.apiUrl}/v1/audit-log?limit=100`, {
      headers: { authorization: `Bearer ${platform.demo.keys.operator}` },
    });
    const log = await audit.text();
    const notes = ['one piece came back', 'it was another order', 'a discount', 'a test', 'no test'];
    expect(notes.filter((note) => !log.includes(note))).toEqual([]);
    expect(errors.filter((text) => !/422|ERR_FAILED/.test(text))).toEqual([]);
    await page.close();
  });

  test('a customer is erased where orders are looked up by customer', async () => {
    const order = { order_id: 'forget-me', amount: '10.00', currency: 'EUR', customer_id: 'cus-forget' };
    await call('POST', '/v1/conversions', order, platform.demo.keys.advertiser);
    const page = await signIn(browser, platform, 'operator');
    await page.goto('conversions?customer_id=cus-forget');
    await page.getByRole('row', { name: /forget-me.*Unattributed/ }).waitFor();
    await page.getByText('Erase this customer').click();
    await look(page, 'erase-customer');
    await page.getByRole('button', { name: 'Erase the customer' }).click();
    await page.getByText('Erased: orders 1').waitFor();
    await page.getByText('Nothing found').waitFor();
    await page.close();
  });
});
