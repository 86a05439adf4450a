import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  ALL_PAGES,
  ARRIVE_MS,
  closeDialog,
  enter,
  goTo,
  launchChromium,
  look,
  openPortal,
  signIn,
  watchConsole,
} from './support/browser.ts';
import { waitFor } from './support/engines.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';

const chromium = findChromium();
const PASSWORD = 'several uncommon words';
const EMAIL = 'nora@example.com';
/** Stored as it is written, and harmless when it is shown. */
const NAME = 'Nora <img src=x onerror=alert(1)>';

describe.skipIf(chromium === undefined || !ALL_PAGES)('from sign-up to an answered question', () => {
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

  async function call(
    method: string,
    path: string,
    body?: object,
    key = platform.demo.keys.operator,
  ): Promise<Record<string, unknown>> {
    const answer = await fetch(`${platform.apiUrl}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    expect([path, answer.status < 300, text]).toEqual([path, true, text]);
    return JSON.parse(text) as Record<string, unknown>;
  }

  /** What the mails in the log lead to. */
  async function linkInLog(pattern: RegExp): Promise<string> {
    const find = () => [...platform.output().matchAll(pattern)].at(-1)?.[0];
    await waitFor(() => find() !== undefined, { deadlineMs: ARRIVE_MS, what: `a mail with ${pattern}` });
    return find() ?? '';
  }

  /** Opens the sign-up page of the program. */
  async function openSignUp(operator: Page): Promise<string> {
    await goTo(operator, 'Sign-up page');
    await operator.getByLabel('Address').fill('Demo Shop');
    await operator.getByLabel('Take applications').check();
    await operator.getByRole('button', { name: 'Add a question' }).click();
    const added = operator.getByRole('group', { name: 'Question 3' });
    await added.getByLabel('Question', { exact: true }).fill('Your main channel');
    await added.getByLabel('Answer', { exact: true }).selectOption('choice');
    await added.getByLabel('Choices').pressSequentially('Blog, Newsletter, Video');
    await operator.getByLabel('Text').fill('No brand bidding.\nNo unsolicited mails.');
    await operator.getByRole('button', { name: 'Save' }).click();
    await operator.locator('.fault', { hasText: 'lower-case letters' }).waitFor();
    await operator.getByLabel('Address').fill('demo-shop');
    await operator.getByRole('button', { name: 'Save' }).click();
    await operator.getByText('It takes applications.').waitFor();
    await operator.getByText('Version 1. Another text is a new version').waitFor();
    await look(operator, 'sign-up-settings');
    return String(await operator.locator('.copy-text code').textContent());
  }

  async function apply(url: string): Promise<Page> {
    const context = await browser.newContext();
    const applicant = await context.newPage();
    applicant.setDefaultTimeout(ARRIVE_MS);
    await applicant.goto(url);
    await applicant.getByRole('heading', { name: 'Become a partner of Demo shop' }).waitFor();
    await applicant.getByLabel('Your name').fill(NAME);
    await applicant.getByLabel('Your e-mail address').fill(EMAIL);
    await applicant.getByLabel('Country').fill('de');
    await applicant.getByLabel('Your website or channel').fill('https://nora.example');
    await applicant.getByLabel('How will you promote us?').fill('Reviews.\nA newsletter.');
    await applicant.getByLabel('I accept the conditions (version 1)').check();
    await applicant.getByRole('button', { name: 'Apply' }).click();
    // What was not chosen is named beside its field.
    await applicant.locator('.at-fault', { hasText: 'Your main channel' }).waitFor();
    await look(applicant, 'join');
    await applicant.getByLabel('Your main channel').selectOption('Blog');
    await applicant.getByRole('button', { name: 'Apply' }).click();
    await applicant.getByRole('heading', { name: 'Check your mail' }).waitFor();
    await look(applicant, 'join-sent');
    await applicant.goto(await linkInLog(/http\S+\/portal\/confirm\?token=[\w-]{43}/g));
    // What is confirmed is read first: anybody can apply with an address.
    await applicant.getByText('https://nora.example').waitFor();
    await applicant.getByText('No unsolicited mails.').waitFor();
    await look(applicant, 'join-confirm');
    await applicant.getByRole('button', { name: 'Confirm this application' }).click();
    await applicant.getByRole('heading', { name: 'Your application is confirmed' }).waitFor();
    await applicant.reload();
    await applicant.getByRole('heading', { name: 'This link is no longer valid' }).waitFor();
    return applicant;
  }

  /** Approves the application; the link of the new login, as the portal shows it. */
  async function approve(operator: Page): Promise<string> {
    await goTo(operator, 'Overview');
    await operator.getByRole('link', { name: '1 application' }).click();
    await look(operator, 'applications');
    await operator.getByRole('button', { name: 'Open the application of Nora' }).click();
    await operator.getByText('https://nora.example').last().waitFor();
    await look(operator, 'application');
    await operator.getByLabel('Note').fill('Glad to have you.');
    await operator.getByRole('button', { name: 'Approve', exact: true }).click();
    await operator.getByRole('heading', { name: 'Pass the link on' }).waitFor();
    await look(operator, 'application-link');
    const link = String(await operator.locator('dialog .copy-text code').textContent());
    await closeDialog(operator);
    // Uncut, as long as the name before it is.
    expect(await linkInLog(/http\S+\/set-password\?token=[\w.-]+/g)).toBe(link);
    return link;
  }

  async function signInFirst(applicant: Page, link: string): Promise<void> {
    await applicant.goto(link);
    await applicant.getByLabel('New password').fill(PASSWORD);
    await applicant.getByRole('button', { name: 'Set the password' }).click();
    await applicant.getByRole('link', { name: 'Sign in' }).click();
    await enter(applicant, { email: EMAIL, password: PASSWORD });
    await applicant.getByRole('heading', { name: `Hello, ${NAME}` }).waitFor();
  }

  /** An order that a code of the new partner credits. */
  async function creditedOrder(orderId: string): Promise<void> {
    const { data } = await call('GET', '/v1/affiliates?limit=1000');
    const [partner] = (data as { id: string; email: string }[]).filter(({ email }) => email === EMAIL);
    const campaign_id = `cmp_${platform.demo.campaigns[0]?.id}`;
    await call('POST', '/v1/coupons', { affiliate_id: partner?.id, campaign_id, code: 'NORA10' });
    const order = { order_id: orderId, amount: '80.00', currency: 'EUR', coupons: ['NORA10'] };
    await call('POST', '/v1/conversions', order, platform.demo.keys.advertiser);
    await expect
      .poll(async () => (await call('GET', `/v1/conversions?order_id=${orderId}`)).data, { timeout: 20_000 })
      .toMatchObject([{ state: 'attributed', affiliate_id: partner?.id }]);
  }

  async function cancel(operator: Page, orderId: string): Promise<void> {
    await goTo(operator, 'Conversions');
    await operator.getByLabel('Search').fill(orderId);
    await operator.getByRole('button', { name: `Open order ${orderId}` }).click();
    await operator.getByRole('button', { name: 'Cancel the order' }).click();
    await operator.getByLabel('Reason').fill('for us alone');
    await operator.getByLabel('Said to the partner').selectOption('returned');
    await operator.getByLabel('In your words').fill('All of it, on the first day.');
    await look(operator, 'order-cancel');
    await operator.getByRole('button', { name: 'Cancel the order' }).click();
    await operator.getByRole('button', { name: 'Confirm: cancel the order' }).click();
    await operator.getByText('The shop cancelled the order.').first().waitFor();
    await closeDialog(operator);
  }

  test('a partner joins, reads why an order was cancelled, asks, and is answered', {
    timeout: 150_000,
  }, async () => {
    const operator = await signIn(browser, platform, 'operator');
    const errors = watchConsole(operator);
    const partner = await apply(await openSignUp(operator));
    await signInFirst(partner, await approve(operator));

    const orderId = 'order-of-nora';
    await creditedOrder(orderId);
    await cancel(operator, orderId);
    // The mail leads to the order.
    await partner.goto(await linkInLog(/http\S+\/portal\/conversions\?order=cnv_\d+/g));
    const dialog = partner.getByRole('dialog');
    await dialog.getByText('The customer returned the goods. All of it, on the first day.').waitFor();
    expect(await partner.getByText('for us alone').count()).toBe(0);
    await dialog.getByLabel('Your question').fill('Which goods?\n<script>alert(1)</script>');
    await dialog.getByRole('button', { name: 'Ask' }).click();
    await dialog.getByText('<script>alert(1)</script>').waitFor();
    await look(partner, 'question-asked');

    await goTo(operator, 'Overview');
    await operator.getByRole('link', { name: '1 question of a partner' }).click();
    await look(operator, 'questions');
    await operator.getByRole('button', { name: `Answer about order ${orderId}` }).click();
    await operator.getByLabel('Your answer').fill('The blue shoes.');
    await look(operator, 'question-thread');
    await operator.getByRole('button', { name: 'Answer', exact: true }).last().click();
    await operator.getByRole('dialog').getByText('The blue shoes.').waitFor();
    await closeDialog(operator);
    await operator.getByText('No open questions').waitFor();

    await partner.reload();
    await partner.getByRole('button', { name: `Details of order ${orderId}` }).click();
    await dialog.getByText('The blue shoes.').waitFor();
    await dialog.getByLabel('Your question').fill('Thank you!');
    await dialog.getByRole('button', { name: 'Ask' }).click();
    await dialog.getByText('Thank you!').waitFor();
    // Not every message needs an answer.
    await goTo(operator, 'Overview');
    await operator.getByRole('link', { name: '1 question of a partner' }).click();
    await operator.getByRole('button', { name: `Answer about order ${orderId}` }).click();
    const close = operator.getByRole('button', { name: 'Close without an answer' });
    await close.waitFor();
    await look(operator, 'question-close');
    await close.click();
    await close.waitFor({ state: 'detached' });
    await closeDialog(operator);
    await operator.getByText('No open questions').waitFor();
    expect(errors.filter((text) => !text.includes('422'))).toEqual([]);
  });

  test('an operator puts a mail in other words, and back', async () => {
    const operator = await signIn(browser, platform, 'operator');
    await goTo(operator, 'Mails');
    await look(operator, 'mails');
    await operator.getByRole('button', { name: 'Edit Order reason' }).click();
    const dialog = operator.getByRole('dialog');
    await dialog.getByLabel('Text').fill('Hallo {nmae}');
    await dialog.getByRole('button', { name: 'Preview' }).click();
    await dialog.locator('.fault', { hasText: '{nmae} is unknown' }).waitFor();
    await dialog.getByLabel('Text').fill('Hallo {name},\n\n{reason}');
    await dialog.getByRole('button', { name: 'Preview' }).click();
    await dialog.getByText('Hallo Ann Example,').waitFor();
    await look(operator, 'mail-template');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await operator.getByText('your own').waitFor();
    await operator.getByRole('button', { name: 'Edit Order reason' }).click();
    await dialog.getByRole('button', { name: 'Back to the default' }).click();
    await operator.getByText('your own').waitFor({ state: 'detached' });
  });

  test('a page that is closed says so', async () => {
    const visitor = await openPortal(browser, platform);
    await visitor.goto(`${platform.apiUrl}/portal/join/no-such-page`);
    await visitor.getByRole('heading', { name: 'Applications are closed' }).waitFor();
    await look(visitor, 'join-closed');
  });
});
