import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ALL_PAGES, goTo, launchChromium, look, signIn, watchConsole } from './support/browser.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';

const chromium = findChromium();

describe.skipIf(chromium === undefined || !ALL_PAGES)('saved reports, in a browser', () => {
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

  test.each(['operator', 'partner'] as const)(
    'a report of the %s is saved, scheduled, changed and deleted',
    async (role) => {
      const page = await signIn(browser, platform, role);
      const errors = watchConsole(page);
      await goTo(page, 'Reports');
      await page.getByLabel('By', { exact: true }).selectOption('sub1');
      await page.getByRole('button', { name: 'Save report' }).click();
      const dialog = page.getByRole('dialog');
      await dialog.getByLabel('Name').fill('Subs of the week');
      await dialog.getByLabel('Period').selectOption('last_7_days');
      await dialog.getByLabel('Schedule').selectOption('week');
      await dialog.getByLabel('On').selectOption('Monday');
      await dialog.getByLabel(/^At \(/).selectOption('07:00');
      expect(await dialog.getByLabel(/^Show it to/).count()).toBe(role === 'operator' ? 1 : 0);
      await look(page, `saved-report-dialog-${role}`);
      await dialog.getByRole('button', { name: 'Save', exact: true }).click();
      const row = page.getByRole('row', { name: /Subs of the week/ });
      await row.getByText(/Every week on Monday at 07:00, .*/).waitFor();
      await row.getByText(/^Next: /).waitFor();
      await look(page, `saved-reports-${role}`);

      await row.getByRole('button', { name: 'Edit' }).click();
      await dialog.getByLabel('Schedule').selectOption('never');
      await dialog.getByRole('button', { name: 'Save', exact: true }).click();
      await dialog.waitFor({ state: 'detached' });
      await expect.poll(async () => await row.getByText(/^Next: /).count()).toBe(0);

      await row.getByRole('link').click();
      await page.getByRole('heading', { level: 1, name: 'Subs of the week' }).waitFor();
      await page.getByText(/^The last 7 whole days, days of /).waitFor();
      await look(page, `saved-report-${role}`);
      await page.getByRole('button', { name: 'Other report' }).click();
      await row.getByRole('button', { name: 'Delete' }).click();
      await dialog.getByRole('button', { name: 'Delete' }).click();
      await row.waitFor({ state: 'detached' });
      expect(errors).toEqual([]);
      await page.context().close();
    },
  );
});
