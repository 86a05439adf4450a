import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addMonths } from '../core/time.ts';
import { issueStatements } from '../ledger/books/statement-documents.ts';
import { connectDatabase, type Database } from '../ledger/postgres/db.ts';
import { ALL_PAGES, goTo, launchChromium, look, signIn, watchConsole } from './support/browser.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';

const chromium = findChromium();

describe.skipIf(chromium === undefined || !ALL_PAGES)('what an operator can do, in a browser', () => {
  let platform: TestPlatform;
  let browser: Browser;
  let ledger: Database;

  beforeAll(async () => {
    platform = await startPlatform();
    browser = await launchChromium(chromium ?? '');
    ledger = await connectDatabase({ url: platform.config.databaseUrl, max: 1, name: 'test' });
  });
  afterAll(async () => {
    await browser?.close();
    await ledger?.end();
    await platform?.stop();
  });

  test('a bonus is in the partner’s statement, and a terminated partner forfeits and is erased', async () => {
    const operator = await signIn(browser, platform, 'operator');
    const errors = watchConsole(operator);
    await goTo(operator, 'Partners');
    await operator.getByRole('button', { name: 'Open Cat Coupons' }).click();
    // The facts push down what stands below them.
    await operator.getByText('Recruited by').waitFor();
    await operator.getByText('Bonus or deduction').click();
    await operator.getByText('Merge into another partner').click();
    await look(operator, 'acts-partner');
    await operator.getByLabel('Amount in EUR').fill('12.50');
    await operator.getByLabel('Note in the statement').fill('Partner of the month');
    await operator.getByRole('button', { name: 'Book it' }).click();
    await operator.getByRole('dialog').waitFor({ state: 'detached' });

    const partner = await signIn(browser, platform, 'partner');
    await goTo(partner, 'Payouts');
    await partner.getByText('Partner of the month').waitFor();
    await look(partner, 'acts-statement');

    await operator.getByRole('button', { name: 'Open Cat Coupons' }).click();
    await operator.getByLabel('Note', { exact: true }).fill('asked for it');
    await operator.getByRole('button', { name: 'Terminate', exact: true }).click();
    await operator.getByRole('dialog').waitFor({ state: 'detached' });
    await operator.getByRole('button', { name: 'Open Cat Coupons' }).click();
    await operator.getByText('Close the balance, erase').click();
    await look(operator, 'acts-terminated');
    await operator.getByLabel('Reason').fill('asked for it');
    await operator.getByRole('button', { name: 'Forfeit the balance' }).click();
    await operator.getByRole('dialog').waitFor({ state: 'detached' });
    await operator.getByRole('button', { name: 'Open Cat Coupons' }).click();
    await operator.getByText('Close the balance, erase').click();
    await operator.getByRole('button', { name: 'Erase the person' }).click();
    await operator.getByText('who it is stands on its statement').waitFor();
    await look(operator, 'acts-not-yet');
    await issueStatements(ledger, { now: addMonths(new Date(), 2) });
    await operator.getByRole('button', { name: 'Erase the person' }).click();
    await operator.getByRole('button', { name: 'Open erased' }).waitFor();
    expect(await operator.getByText('Cat Coupons').count()).toBe(0);
    // The browser notes what was refused.
    expect(errors.filter((text) => !text.includes('409'))).toEqual([]);
  });

  test('the settings of postbacks name parameters as a tracker does', async () => {
    const operator = await signIn(browser, platform, 'operator');
    await goTo(operator, 'Postback calls');
    await operator.getByRole('button', { name: 'Settings of postbacks' }).click();
    const names = operator.getByLabel('Names of parameters');
    await names.fill('tid = order_id\nsum = amounts');
    await operator.getByRole('button', { name: 'Save' }).click();
    await operator.getByText('must be one of our names').waitFor();
    await look(operator, 'acts-postback-settings');
    const lines = 'sum = {"field":"amount","decimal":","}\ntid = order_id';
    await names.fill(lines);
    await operator.getByLabel('Addresses that may call').fill('127.0.0.0/8 ::1');
    await operator.getByRole('button', { name: 'Save' }).click();
    await operator.getByRole('dialog').waitFor({ state: 'detached' });
    await operator.getByRole('button', { name: 'Settings of postbacks' }).click();
    expect(await names.inputValue()).toBe(lines);
    expect(await operator.getByLabel('Addresses that may call').inputValue()).toBe('127.0.0.0/8\n::1/128');
  });
});
