import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addMonths } from '../core/time.ts';
import { issueStatements } from '../ledger/books/statement-documents.ts';
import { connectDatabase, type Database } from '../ledger/postgres/db.ts';
import { accessibilityFaults, launchChromium, takePicture, watchConsole } from './support/browser.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';

const chromium = findChromium();
const ARRIVE_MS = 15_000;
const SIZES = { desk: { width: 1440, height: 900 }, phone: { width: 390, height: 844 } } as const;

describe.skipIf(chromium === undefined)('what an operator can do to a partner, in a browser', () => {
  let platform: TestPlatform;
  let browser: Browser;
  let ledger: Database;

  beforeAll(async () => {
    platform = await startPlatform();
    browser = await launchChromium(chromium ?? '');
    ledger = await connectDatabase({ url: platform.config.databaseUrl, max: 1, name: 'test' });
  }, 90_000);
  afterAll(async () => {
    await browser?.close();
    await ledger?.end();
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
      await takePicture(page, `acts-${name}-${size}`);
      const width = Number(await page.evaluate('document.documentElement.scrollWidth'));
      expect([name, size, width <= viewport.width]).toEqual([name, size, true]);
    }
    expect([name, await accessibilityFaults(page)]).toEqual([name, []]);
    await page.setViewportSize(SIZES.desk);
  }

  test('a bonus is in the partner’s statement, and a terminated partner forfeits and is erased', {
    timeout: 90_000,
  }, async () => {
    const operator = await signIn('operator');
    const errors = watchConsole(operator);
    await goTo(operator, 'Partners');
    await operator.getByRole('button', { name: 'Open Cat Coupons' }).click();
    await operator.getByText('Bonus or deduction').click();
    await operator.getByText('Merge into another partner').click();
    await look(operator, 'partner');
    await operator.getByLabel('Amount in EUR').fill('12.50');
    await operator.getByLabel('Note in the statement').fill('Partner of the month');
    await operator.getByRole('button', { name: 'Book it' }).click();
    await operator.getByRole('dialog').waitFor({ state: 'detached' });

    const partner = await signIn('partner');
    await goTo(partner, 'Payouts');
    await partner.getByText('Partner of the month').waitFor();
    await look(partner, 'statement');

    await operator.getByRole('button', { name: 'Open Cat Coupons' }).click();
    await operator.getByLabel('Note', { exact: true }).fill('asked for it');
    await operator.getByRole('button', { name: 'Terminate', exact: true }).click();
    await operator.getByRole('dialog').waitFor({ state: 'detached' });
    await operator.getByRole('button', { name: 'Open Cat Coupons' }).click();
    await operator.getByText('Close the balance, erase').click();
    await look(operator, 'terminated');
    await operator.getByLabel('Reason').fill('asked for it');
    await operator.getByRole('button', { name: 'Forfeit the balance' }).click();
    await operator.getByRole('dialog').waitFor({ state: 'detached' });
    await operator.getByRole('button', { name: 'Open Cat Coupons' }).click();
    await operator.getByText('Close the balance, erase').click();
    await operator.getByRole('button', { name: 'Erase the person' }).click();
    await operator.getByText('who it is stands on its statement').waitFor();
    await look(operator, 'not-yet');
    await issueStatements(ledger, { now: addMonths(new Date(), 2) });
    await operator.getByRole('button', { name: 'Erase the person' }).click();
    await operator.getByRole('button', { name: 'Open erased' }).waitFor();
    expect(await operator.getByText('Cat Coupons').count()).toBe(0);
    // The browser notes what was refused.
    expect(errors.filter((text) => !text.includes('409'))).toEqual([]);
  });
});
