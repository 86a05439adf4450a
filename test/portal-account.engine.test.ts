import { Secret, TOTP } from 'otpauth';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hashPassword } from '../api/auth/passwords.ts';
import { createUser, setPassword } from '../ledger/access/users.ts';
import { connectDatabase, type Database } from '../ledger/postgres/db.ts';
import { ALL_PAGES, ARRIVE_MS, enter, launchChromium, look, openPortal } from './support/browser.ts';
import { waitFor } from './support/engines.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';

const chromium = findChromium();
const PASSWORD = 'correct horse battery';

describe.skipIf(chromium === undefined || !ALL_PAGES)('signing in to the portal in a browser', () => {
  let platform: TestPlatform;
  let browser: Browser;
  let ledger: Database;

  beforeAll(async () => {
    platform = await startPlatform();
    browser = await launchChromium(chromium ?? '');
    ledger = await connectDatabase({ url: platform.config.databaseUrl, max: 1, name: 'test' });
  });
  afterAll(async () => {
    await ledger?.end();
    await browser?.close();
    await platform?.stop();
  });

  async function createOperator(email: string): Promise<{ email: string; password: string }> {
    const user = { email, name: 'Ada Admin', role: 'operator', programId: null, affiliateId: null } as const;
    const { id } = await createUser(ledger, user);
    await setPassword(ledger, { id, hash: await hashPassword(PASSWORD) });
    return { email, password: PASSWORD };
  }

  /** Enrols with the secret that the page shows. @returns The app's codes, by steps from now on, and the recovery codes. */
  async function enrol(page: Page): Promise<{ codeOf: (step: number) => string; recovery: string[] }> {
    const secret = (await page.locator('.copy-text code').textContent()) ?? '';
    const totp = new TOTP({ secret: Secret.fromBase32(secret) });
    const enrolledAt = Date.now();
    const codeOf = (step: number) => totp.generate({ timestamp: enrolledAt + step * 30_000 });
    await page.getByLabel('Code').fill('000000');
    await page.getByRole('button', { name: 'Turn on' }).click();
    await page.locator('.fault', { hasText: 'not the code' }).waitFor();
    await page.getByLabel('Code').fill(codeOf(0));
    await page.getByRole('button', { name: 'Turn on' }).click();
    await page.getByText('Store these recovery codes now').waitFor();
    return { codeOf, recovery: await page.locator('.codes code').allTextContents() };
  }

  test('with a second factor: set up, asked for at the sign-in and before a new key, then removed', async () => {
    const operator = await createOperator('ada@example.com');
    const page = await openPortal(browser, platform);
    await enter(page, operator);
    await page.getByRole('link', { name: 'Your account' }).click();
    await page.getByRole('row', { name: /This session/ }).waitFor();
    await look(page, 'account-page');
    await page.getByRole('button', { name: 'Set up a second factor' }).click();
    await page.locator('dialog img').waitFor();
    await look(page, 'account-enrolment');
    const { codeOf, recovery } = await enrol(page);
    expect(new Set(recovery).size).toBe(10);
    await look(page, 'account-recovery-codes');
    await page.getByRole('button', { name: 'I have stored the codes' }).click();
    await page.getByText('10 recovery codes left').waitFor();

    await ledger`update sessions set authenticated_at = now() - interval '11 minutes'`;
    await page.getByRole('link', { name: 'API keys' }).click();
    await page.getByRole('button', { name: 'New key' }).first().click();
    await page.getByLabel('Name').fill('from the browser');
    await page.getByRole('button', { name: 'Create key' }).click();
    await page.getByRole('heading', { name: 'Confirm that it is you' }).waitFor();
    await look(page, 'account-confirm');
    await page.getByLabel(/^Password of/).fill('wrong');
    await page.getByLabel('Code').fill(codeOf(1));
    await page.getByRole('button', { name: 'Confirm' }).click();
    await page.locator('.fault', { hasText: 'is wrong' }).waitFor();
    await page.getByLabel(/^Password of/).fill(operator.password);
    await page.getByRole('button', { name: 'Confirm' }).click();
    await page.locator('code', { hasText: /^afx_/ }).waitFor();

    const elsewhere = await openPortal(browser, platform);
    await enter(elsewhere, operator);
    await elsewhere.getByRole('heading', { name: 'Enter your code' }).waitFor();
    await look(elsewhere, 'account-code');
    await elsewhere.getByLabel('Code').fill(codeOf(1));
    await elsewhere.getByRole('button', { name: 'Sign in' }).click();
    await elsewhere.locator('.fault', { hasText: 'used before' }).waitFor();
    await elsewhere.getByLabel('Code').fill(recovery[0] ?? '');
    await elsewhere.getByRole('button', { name: 'Sign in' }).click();
    await elsewhere.getByRole('link', { name: 'Your account' }).click();
    await elsewhere.getByText('9 recovery codes left').waitFor();
    await look(elsewhere, 'account-two-sessions');
    await elsewhere.getByRole('button', { name: 'Sign out all others' }).click();
    await elsewhere.getByRole('button', { name: 'Sign out all others' }).waitFor({ state: 'detached' });
    await page.reload();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await elsewhere.getByRole('button', { name: 'Remove' }).click();
    await elsewhere.getByRole('button', { name: 'Set up a second factor' }).waitFor();
    await Promise.all([page.close(), elsewhere.close()]);
  });

  test('where the program requires a second factor, it is set up before anything else', async () => {
    const { email, password } = await createOperator('bea@example.com');
    const operator = await openPortal(browser, platform);
    await enter(operator, { email, password });
    await operator.getByRole('link', { name: 'Users' }).click();
    await operator.getByRole('button', { name: 'Require a second factor' }).click();
    await operator.getByRole('heading', { name: 'Set up a second factor' }).waitFor();
    await operator.locator('.qr').waitFor();
    await look(operator, 'account-required');
    await enrol(operator);
    await operator.getByRole('button', { name: 'I have stored the codes' }).click();
    await operator.getByRole('button', { name: 'No longer require it' }).waitFor();
    await look(operator, 'account-users');
    const output = await platform.afflux('users', 'reset-second-factor', email);
    expect(output).toContain('is removed');
    await waitFor(() => platform.output().includes('Your second factor was removed'), {
      deadlineMs: ARRIVE_MS,
      what: 'the mail',
    });
    await operator.reload();
    await operator.getByRole('heading', { name: 'Sign in' }).waitFor();
    await operator.close();
  });
});
