import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { accessibilityFaults, launchChromium, takePicture, watchConsole } from './support/browser.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';

const chromium = findChromium();
const ARRIVE_MS = 15_000;
const SIZES = [
  ['wide', { width: 1440, height: 900 }],
  ['phone', { width: 390, height: 844 }],
] as const;

describe.skipIf(chromium === undefined)('what orders are of and contain, in the portal', () => {
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

  async function operatorPage(): Promise<Page> {
    const page = await browser.newPage({ baseURL: `${platform.apiUrl}/portal/`, viewport: SIZES[0][1] });
    page.setDefaultTimeout(ARRIVE_MS);
    await page.goto('');
    const { email, password } = platform.demo.portal.operator;
    await page.getByLabel('E-mail address').fill(email);
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('link', { name: 'Overview' }).waitFor({ state: 'attached' });
    return page;
  }

  async function pictures(page: Page, name: string): Promise<string[]> {
    const faults: string[] = [];
    for (const [size, viewport] of SIZES) {
      await page.setViewportSize(viewport);
      await takePicture(page, `${name}-${size}`);
      const width = Number(await page.evaluate('document.documentElement.scrollWidth'));
      if (width > viewport.width) faults.push(`${name}: ${width} px wide on ${size}`);
      faults.push(...(await accessibilityFaults(page)));
    }
    await page.setViewportSize(SIZES[0][1]);
    return faults;
  }

  test('an operator sets terms for an event with rates by customer and item', async () => {
    await call('PATCH', `/v1/programs/prg_${platform.demo.program.id}`, { events: ['sale', 'lead'] });
    const page = await operatorPage();
    const errors = watchConsole(page);
    await page
      .getByRole('navigation', { name: 'Pages' })
      .getByRole('link', { name: 'Terms', exact: true })
      .click();
    await page.getByRole('button', { name: 'New terms' }).click();
    await page.getByLabel('Event').selectOption('lead');
    await page.getByText('Other rates by customer and item').click();
    const levels = page.getByLabel('Level 2 and above, %');
    await levels.fill('3,1');
    await page.locator('dialog .fault', { hasText: 'two readings: write 3.1 or 3; 1' }).waitFor();
    await levels.fill('3,0625; 1');
    await page.getByLabel('New customers, %').fill('7,125');
    await page.getByLabel('Returning customers, %').fill('0');
    await page.getByLabel('Items').fill('sku A-1 = 12,5\nfees = 0');
    await page.locator('dialog .fault', { hasText: 'Not a rate: fees = 0' }).waitFor();
    await page.getByRole('button', { name: 'Create terms' }).click();
    await page.locator('dialog').getByText('Invalid input').waitFor();
    await page.getByLabel('Items').fill('sku A-1 = 12,3456\ncategory fees = 0');
    const faults = await pictures(page, 'new-terms');
    await page.getByRole('button', { name: 'Create terms' }).click();
    const table = page.getByRole('region', { name: /lead only/ });
    await table.getByText('7.125% for new customers, 0% for returning customers').waitFor();
    await table.getByText('3.0625%, 1%').waitFor();
    await table.getByText('12.3456% for A-1, fees excluded').waitFor();
    faults.push(...(await pictures(page, 'terms-of-event')));
    expect(faults).toEqual([]);
    expect(errors.filter((text) => !text.includes('422'))).toEqual([]);
    await page.close();
  }, 120_000);

  test('an order shows its event and its items', async () => {
    const items = [
      { sku: 'A-1', brand: 'Acme', category: 'shoes', quantity: 2, amount: '95.10', tax: '15.18' },
      { category: 'shipping', amount: '4.90', shipping: '4.90' },
    ];
    const order = { order_id: 'with-items', event_name: 'lead', amount: '100.00', currency: 'EUR', items };
    await call('POST', '/v1/conversions', order, platform.demo.keys.advertiser);
    const page = await operatorPage();
    await page.goto('conversions?text=with-items');
    await page.getByText('Lead, cnv_').waitFor();
    await page.getByRole('button', { name: 'Open order with-items' }).click();
    const shown = page.getByRole('region', { name: 'Items' });
    await shown.getByText('1. A-1').waitFor();
    await shown.getByText('Acme, shoes').waitFor();
    expect(await pictures(page, 'order-items')).toEqual([]);
    await page.close();
  }, 120_000);

  test('a customer is erased where orders are looked up by customer', async () => {
    const order = { order_id: 'forget-me', amount: '10.00', currency: 'EUR', customer_id: 'cus-forget' };
    await call('POST', '/v1/conversions', order, platform.demo.keys.advertiser);
    const page = await operatorPage();
    await page.goto('conversions?field=customer_id&text=cus-forget');
    await page.getByRole('row', { name: /forget-me.*Unattributed/ }).waitFor();
    await page.getByText('Erase this customer').click();
    expect(await pictures(page, 'erase-customer')).toEqual([]);
    await page.getByRole('button', { name: 'Erase the customer' }).click();
    await page.getByText('Erased: orders 1').waitFor();
    await page.getByText('No conversions found').waitFor();
    await page.close();
  }, 120_000);
});
