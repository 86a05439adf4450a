import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromProject } from '../core/config/paths.ts';
import {
  ALL_PAGES,
  ARRIVE_MS,
  closeDialog,
  enter,
  goTo,
  launchChromium,
  look,
  SIZES,
  signIn,
  watchConsole,
} from './support/browser.ts';
import { waitFor } from './support/engines.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';

const chromium = findChromium();
/** Without a place to break. */
const LONG_NAME = `Sommer${'W'.repeat(190)}`;
const ORDERS = 30;

describe.skipIf(chromium === undefined || !ALL_PAGES)('lists of the portal, in a browser', () => {
  let platform: TestPlatform;
  let browser: Browser;

  beforeAll(async () => {
    platform = await startPlatform({ env: { WEBHOOK_NETWORKS: '127.0.0.1' } });
    browser = await launchChromium(chromium ?? '');
    const [link] = platform.demo.links;
    const rows = Array.from({ length: ORDERS }, (_, i) => {
      const at = new Date(Date.now() - (ORDERS - i) * 3_600_000).toISOString();
      return `order-${i},${i + 1}.00,EUR,${at},${link?.code}`;
    });
    await post('/v1/campaigns', { name: LONG_NAME, landing_url: 'https://shop.example/' });
    await importCsv('conversions', ['order_id,amount,currency,occurred_at,link_code', ...rows].join('\n'));
  });
  afterAll(async () => {
    await browser?.close();
    await platform?.stop();
  });

  async function call(method: string, path: string, body: string | undefined, type: string) {
    const headers = { authorization: `Bearer ${platform.demo.keys.operator}`, 'content-type': type };
    const answer = await fetch(`${platform.apiUrl}${path}`, {
      method,
      headers,
      ...(body !== undefined && { body }),
    });
    expect([path, answer.status < 300]).toEqual([path, true]);
    return (await answer.json()) as Record<string, unknown>;
  }
  const post = async (path: string, json: object) =>
    await call('POST', path, JSON.stringify(json), 'application/json');

  async function importCsv(kind: string, csv: string): Promise<void> {
    const job = await call('POST', `/v1/imports?kind=${kind}&dry_run=false`, csv, 'text/csv');
    const isDone = async () =>
      (await call('GET', `/v1/jobs/${job.id}`, undefined, 'application/json')).state === 'done';
    await waitFor(isDone, { deadlineMs: ARRIVE_MS, what: 'the import' });
  }

  const firstOrder = (page: Page) => page.locator('tbody tr th').first();

  test('a search, a filter and a sort are in the address: reload, Back and a bookmark know them', async () => {
    const page = await signIn(browser, platform, 'operator');
    const errors = watchConsole(page);
    await goTo(page, 'Conversions');
    await page.getByLabel('Search').fill('  order-7  ');
    await page.getByRole('row', { name: /order-7/ }).waitFor();
    await expect.poll(async () => await page.locator('tbody tr').count()).toBe(1);
    await page.reload();
    await page.getByRole('row', { name: /order-7/ }).waitFor();
    expect(await page.locator('tbody tr').count()).toBe(1);
    await page.goBack();
    await expect.poll(async () => await page.getByLabel('Search').inputValue()).toBe('');
    await page.getByRole('row', { name: /order-29/ }).waitFor();

    await page.getByRole('button', { name: 'Order value' }).click();
    await page.locator('th[aria-sort="descending"]', { hasText: 'Order value' }).waitFor();
    await expect.poll(async () => await firstOrder(page).textContent()).toContain('order-29');
    await page.getByRole('button', { name: 'Order value' }).click();
    await page.locator('th[aria-sort="ascending"]', { hasText: 'Order value' }).waitFor();
    await expect.poll(async () => await firstOrder(page).textContent()).toContain('order-0');
    await page.getByLabel('Status').selectOption('Attributed');
    await expect.poll(() => page.url()).toContain('state=attributed');
    await page.goBack();
    await expect.poll(async () => await page.getByLabel('Status').inputValue()).toBe('');
    expect(page.url()).toContain('sort=amount');
    await page.getByLabel('Search').fill('nothing-like-this');
    await page.getByText('Nothing found').waitFor();
    await look(page, 'list-nothing-found');
    await page.getByRole('button', { name: 'Show all' }).click();
    await page.getByRole('row', { name: /order-0/ }).waitFor();
    expect(errors).toEqual([]);
  });

  test('the export has what is selected, with names and currency', async () => {
    const page = await signIn(browser, platform, 'operator');
    await page.goto('conversions?search=order-3&sort=-amount');
    const download = page.waitForEvent('download');
    await page.getByRole('link', { name: 'Export of Conversions as CSV' }).click();
    const file = await (await download).path();
    const [header = '', ...lines] = readFileSync(file, 'utf8').trimEnd().split('\r\n');
    expect(header.split(',')).toEqual(
      expect.arrayContaining(['order_id', 'amount', 'amount_currency', 'affiliate_name', 'campaign_name']),
    );
    expect(lines.map((line) => /order-\d+/.exec(line)?.[0])).toEqual(['order-3']);
  });

  test('Back closes a dialog and stays on its page; closed by hand, it leaves no step behind', async () => {
    const page = await signIn(browser, platform, 'operator');
    await goTo(page, 'Campaigns');
    await goTo(page, 'Conversions');
    await page.getByRole('button', { name: 'Open order order-29' }).click();
    await page.locator('dialog[open]').waitFor();
    await page.goBack();
    await page.locator('dialog[open]').waitFor({ state: 'detached' });
    expect(page.url()).toMatch(/\/conversions$/);
    await page.getByRole('button', { name: 'Open order order-28' }).click();
    await page.locator('dialog[open]').waitFor();
    await closeDialog(page);
    await page.locator('dialog[open]').waitFor({ state: 'detached' });
    await expect.poll(() => page.evaluate('history.state')).toBe(null);
    await page.goBack();
    await page.getByRole('heading', { name: 'Campaigns', level: 1 }).waitFor();
  });

  test('what was typed is there after the session has ended and its reader has signed in again', async () => {
    const page = await signIn(browser, platform, 'operator');
    await goTo(page, 'Campaigns');
    await page.getByRole('button', { name: 'New campaign' }).click();
    await page.locator('dialog').getByLabel('Name').fill('Half a campaign');
    await page.context().clearCookies();
    await page.getByRole('button', { name: 'Create campaign' }).click();
    await page.getByText('Your session has ended').waitFor();
    await look(page, 'sign-in-again');
    await enter(page, platform.demo.portal.operator);
    await page.getByText('Your session has ended').waitFor({ state: 'detached' });
    expect(await page.locator('dialog').getByLabel('Name').inputValue()).toBe('Half a campaign');
    await page.getByRole('button', { name: 'Create campaign' }).click();
    await page.getByRole('row', { name: /Half a campaign/ }).waitFor();
  });

  test('a card of the settings is saved, and what is typed in another stays', async () => {
    const page = await signIn(browser, platform, 'operator');
    await goTo(page, 'Program settings');
    await page.getByLabel('Fallback page').fill('https://shop.example/else');
    const cookies = page.getByLabel('Set the click cookie');
    const before = await cookies.isChecked();
    await cookies.setChecked(!before);
    const saved = page.waitForResponse((response) => response.request().method() === 'PATCH');
    await page.getByRole('button', { name: 'Save privacy' }).click();
    expect((await saved).status()).toBe(200);
    expect(await page.getByLabel('Fallback page').inputValue()).toBe('https://shop.example/else');
    const general = page.waitForResponse((response) => response.request().method() === 'PATCH');
    await page.getByRole('button', { name: 'Save', exact: true }).first().click();
    expect((await general).status()).toBe(200);
    const program = await call(
      'GET',
      `/v1/programs/prg_${platform.demo.program.id}`,
      undefined,
      'application/json',
    );
    expect(program).toMatchObject({ fallback_url: 'https://shop.example/else', cookies: !before });
  });

  test('names without a blank make nothing wider than its page; on a phone no table is cut off', async () => {
    const page = await signIn(browser, platform, 'operator');
    for (const path of ['campaigns', 'terms', 'links', 'conversions', 'commissions', 'payouts', 'users']) {
      for (const viewport of Object.values(SIZES)) {
        await page.setViewportSize(viewport);
        await page.goto(path);
        await page.locator('main tbody tr:visible, main .empty:visible').first().waitFor();
        const wide = await page.evaluate(() => {
          const root = (globalThis as unknown as { document: BrowserDocument }).document;
          const parts = [root.documentElement, ...root.querySelectorAll('.table')];
          return parts.filter((part) => part.scrollWidth > part.clientWidth + 1).length;
        });
        expect([path, viewport.width, wide]).toEqual([path, viewport.width, 0]);
      }
    }
    await page.setViewportSize(SIZES.desk);
    await page.goto('campaigns');
    await page.getByRole('row', { name: /SommerWWW/ }).waitFor();
    await look(page, 'list-long-name');
  });

  test('a printed list is all of it, with its program and without the menu', async () => {
    const page = await signIn(browser, platform, 'partner');
    await page.goto('conversions?from=2026-01-01');
    await page.evaluate('window.print = () => { window.isPrinted = true; }');
    await page.getByRole('row', { name: /order-29/ }).waitFor();
    expect(await page.locator('tbody tr').count()).toBeLessThan(ORDERS);
    await page.getByRole('button', { name: 'Print Conversions' }).click();
    await expect.poll(() => page.evaluate('window.isPrinted')).toBe(true);
    expect(await page.locator('tbody tr').count()).toBe(ORDERS);
    await page.emulateMedia({ media: 'print' });
    await page.locator('.print-head', { hasText: 'Demo shop' }).waitFor();
    for (const hidden of ['nav', '.filters', 'tbody button'])
      expect([hidden, await page.locator(hidden).first().isVisible()]).toEqual([hidden, false]);
    await page.getByText('From day: ').waitFor();
    await page.pdf({ path: join(fromProject('.afflux/pictures'), 'list-printed.pdf'), format: 'A4' });
  });

  test('a task of the overview opens the list that it counts', async () => {
    await post('/v1/affiliates', { name: 'Gus', email: 'gus@affiliates.example', ref_code: 'gus' });
    const page = await signIn(browser, platform, 'operator');
    await page.getByRole('link', { name: '1 partner to approve' }).click();
    await page.getByRole('row', { name: /Gus/ }).waitFor();
    expect(await page.locator('tbody tr').count()).toBe(1);
    expect(await page.getByLabel('Status').inputValue()).toBe('pending');
  });

  test('a postback is edited, and deleted after a question', async () => {
    const page = await signIn(browser, platform, 'partner');
    await goTo(page, 'Postbacks and webhooks');
    await page.getByRole('button', { name: 'New postback' }).click();
    await page.getByLabel('Postback URL of the tracker').fill('https://127.0.0.1/a?cid={sub1}');
    await page.getByRole('button', { name: 'Create postback' }).click();
    await page.getByRole('heading', { name: 'The signing secret' }).waitFor();
    await closeDialog(page);
    await page.getByRole('button', { name: 'Edit' }).click();
    await page.getByLabel('Postback URL of the tracker').fill('https://127.0.0.1/b?cid={sub1}');
    await page.getByLabel('Paid').check();
    await look(page, 'postback-edit');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('row', { name: /\/b\?cid=/ }).waitFor();
    await page.getByRole('button', { name: 'Delete' }).click();
    await page.getByText('Delete it with its log?').waitFor();
    await page.locator('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.getByText('No postbacks or webhooks yet').waitFor();
  });
});

/** What the test reads of a page's document. */
interface BrowserDocument {
  readonly documentElement: BrowserElement;
  querySelectorAll(selector: string): Iterable<BrowserElement>;
}
interface BrowserElement {
  readonly scrollWidth: number;
  readonly clientWidth: number;
}
