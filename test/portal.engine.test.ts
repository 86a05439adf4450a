import { readFile } from 'node:fs/promises';
import type { Browser, Page, Request } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  ALL_PAGES,
  ARRIVE_MS,
  accessibilityFaults,
  closeDialog,
  launchChromium,
  takePicture,
  watchConsole,
} from './support/browser.ts';
import { waitFor } from './support/engines.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';

const chromium = findChromium();
const PHONE = { width: 390, height: 844 };
const DESK = { width: 1280, height: 900 };
const WIDE = { width: 1440, height: 900 };
const NEW_PASSWORD = 'a sentence of mine';
const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';
/** Buttons of tables that only sideways scrolling would show. */
const BUTTONS_OUT_OF_SIGHT = `[...document.querySelectorAll('.table .actions > *')]
  .filter((button) => button.getBoundingClientRect().right > innerWidth)
  .map((button) => button.ariaLabel ?? button.textContent).slice(0, 3).join(', ')`;
/** From the sixth order of one customer a day on a person has to look. */
const ORDERS_BEFORE_REVIEW = 5;

/** What a page asks the API for while it waits for the answer to the same. */
function watchForDoubles(page: Page): string[] {
  const inFlight = new Set<string>();
  const doubles: string[] = [];
  const readOf = (request: Request) =>
    request.method() === 'GET' && request.resourceType() === 'fetch' ? request.url() : undefined;
  const end = (request: Request) => inFlight.delete(readOf(request) ?? '');
  page.on('request', (request) => {
    const read = readOf(request);
    if (read === undefined) return;
    if (inFlight.has(read)) doubles.push(read);
    inFlight.add(read);
  });
  page.on('requestfinished', end);
  page.on('requestfailed', end);
  return doubles;
}

describe.skipIf(chromium === undefined)('the portal in a browser', () => {
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

  async function open(options: Parameters<Browser['newPage']>[0] = {}): Promise<Page> {
    const page = await browser.newPage({ baseURL: `${platform.apiUrl}/portal/`, viewport: DESK, ...options });
    page.setDefaultTimeout(ARRIVE_MS);
    await page.goto('');
    return page;
  }

  async function signIn(page: Page, who: 'partner' | 'operator'): Promise<void> {
    const { email, password } = platform.demo.portal[who];
    await page.getByLabel('E-mail address').fill(email);
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('link', { name: 'Overview' }).waitFor({ state: 'attached' });
  }

  /** Invites a user, who sets a password by the link of the mail; gives the address. */
  async function invite(role: string, email: string): Promise<string> {
    const said = platform.output().length;
    const invited = await fetch(`${platform.apiUrl}/v1/users`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${platform.demo.keys.operator}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ email, name: role, role }),
    });
    expect([invited.status, await invited.text()]).toEqual([201, expect.stringContaining(email)]);
    const token = await waitFor(
      () => /set-password\?token=([\w.-]+)/.exec(platform.output().slice(said))?.[1],
      {
        deadlineMs: ARRIVE_MS,
        what: 'the invitation',
      },
    );
    const page = await browser.newPage({ baseURL: platform.apiUrl, viewport: DESK });
    page.setDefaultTimeout(ARRIVE_MS);
    await page.goto(`/set-password?token=${token}`);
    await page.getByLabel('New password').fill(NEW_PASSWORD);
    await page.getByRole('button', { name: 'Set the password' }).click();
    await page.getByRole('link', { name: 'Sign in' }).waitFor();
    await page.close();
    return email;
  }

  async function signInAs(page: Page, email: string): Promise<void> {
    await page.getByLabel('E-mail address').fill(email);
    await page.getByLabel('Password').fill(NEW_PASSWORD);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('link', { name: 'Your account' }).waitFor();
  }

  const goTo = (page: Page, name: string) =>
    page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name, exact: true }).click();

  const figure = (page: Page, title: string) =>
    page
      .locator('.stat', { has: page.getByText(title, { exact: true }) })
      .locator('.figure')
      .textContent();

  async function postOrder(order: Record<string, string>): Promise<void> {
    const query = new URLSearchParams({ key: platform.demo.keys.advertiser, currency: 'EUR', ...order });
    const answer = await fetch(`${platform.apiUrl}/postback?${query}`);
    expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('accepted')]);
  }

  /** Gives the partner of the demo an account: none is paid without one. */
  async function nameAccount(): Promise<void> {
    const partner = platform.demo.affiliates.find(({ ref_code }) => ref_code === 'cat');
    const answer = await fetch(`${platform.apiUrl}/v1/affiliates/aff_${partner?.id}/payout-method`, {
      method: 'PUT',
      headers: {
        authorization: `Bearer ${platform.demo.keys.operator}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ kind: 'bank', holder: 'Cat Coupons', iban: 'DE89370400440532013000' }),
    });
    expect(answer.status).toBe(200);
  }

  /** Ends the hold of the newest conversions: their commissions can be paid at once. */
  async function endHolds(): Promise<void> {
    const headers = { authorization: `Bearer ${platform.demo.keys.operator}` };
    const list = await fetch(`${platform.apiUrl}/v1/conversions?limit=100`, { headers });
    const { data } = (await list.json()) as { data: { id: string }[] };
    const answers = await Promise.all(
      data.map(({ id }) =>
        fetch(`${platform.apiUrl}/v1/conversions/${id}/confirm`, { method: 'POST', headers }),
      ),
    );
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThan(10);
  }

  async function makeLink(page: Page): Promise<string> {
    await goTo(page, 'Links');
    await page.getByRole('button', { name: 'New link' }).click();
    await page.getByLabel('Landing page').fill('https://shop.example/{nonsense}');
    await page.getByRole('button', { name: 'Create link' }).click();
    await page.locator('.fault', { hasText: 'nonsense' }).waitFor();
    await page.getByLabel('Landing page').fill('https://shop.example/shoes?c={click_id}');
    await page.getByLabel('Code').fill('shoes');
    await page.getByRole('button', { name: 'Create link' }).click();
    await page.getByRole('heading', { name: 'Share shoes' }).waitFor();
    await page.getByLabel('sub1').fill('blog');
    const code = page.locator('dialog img');
    await code.evaluate((image) => (image as unknown as { decode(): Promise<void> }).decode());
    const url = (await page.locator('dialog code').textContent()) ?? '';
    await closeDialog(page);
    return url;
  }

  /** A visitor follows the link; gives the click's id. */
  async function click(url: string): Promise<string> {
    // The collectors know a new link within a second.
    const visit = await waitFor(
      async () => {
        const answer = await fetch(url, { redirect: 'manual', headers: { 'user-agent': FIREFOX } });
        return answer.status === 302 && answer;
      },
      { deadlineMs: ARRIVE_MS, what: 'the collector to serve the link' },
    );
    return new URL(visit.headers.get('location') ?? '').searchParams.get('c') ?? '';
  }

  test('from a link to the money: a partner makes it, a visitor clicks and buys, an operator reviews and pays', async () => {
    const partner = await open();
    await partner.getByLabel('E-mail address').fill(platform.demo.portal.partner.email);
    await partner.getByLabel('Password').fill('not the password');
    await partner.getByRole('button', { name: 'Sign in' }).click();
    expect(await partner.getByRole('alert').textContent()).toContain('Wrong e-mail address or password');
    await signIn(partner, 'partner');
    await partner.getByText('No clicks in this period').waitFor();

    const url = await makeLink(partner);
    expect(url).toBe(`${platform.collectorUrl}/c/shoes?sub1=blog`);
    const clickId = await click(url);
    await partner.locator('tr', { hasText: 'shoes' }).getByRole('cell', { name: '1', exact: true }).waitFor();
    await postOrder({ order_id: 'browser-1', amount: '120.00', click_id: clickId });
    await goTo(partner, 'Overview');
    await partner.locator('.stat', { hasText: 'Earned' }).getByText('€12.00').waitFor();
    expect([await figure(partner, 'Clicks'), await figure(partner, 'Credited conversions')]).toEqual([
      '1',
      '1',
    ]);
    await partner.getByRole('row', { name: /browser-1.*Attributed.*€120.00/ }).waitFor();

    for (let i = 0; i <= ORDERS_BEFORE_REVIEW; i++) {
      await postOrder({ order_id: `again-${i}`, amount: '10.00', click_id: clickId, customer_id: 'c-1' });
    }
    const operator = await open();
    await signIn(operator, 'operator');
    await operator.getByRole('link', { name: '1 conversion to review' }).click();
    await operator.getByText('The customer ordered').waitFor();
    await operator
      .getByRole('row', { name: /Repeat orders orders of one customer a day Fired: review 6 5/ })
      .waitFor();
    await operator.getByLabel('Reason').fill('a loyal customer, known to the shop');
    await operator.getByRole('button', { name: 'Credit' }).click();
    await operator.getByText('The queue is empty').waitFor();

    await goTo(operator, 'Conversions');
    await operator.getByRole('button', { name: 'Open order browser-1' }).click();
    await operator.getByRole('button', { name: 'End the hold' }).click();
    await operator.getByText('The hold ended').waitFor();
    await closeDialog(operator);
    await nameAccount();
    await goTo(operator, 'Payouts');
    await operator.getByRole('button', { name: 'Pay €12.00' }).click();
    await operator.getByRole('button', { name: 'Confirm €12.00' }).click();
    await operator.getByText('1 payout created, 1 submitted').waitFor();
    await operator.getByRole('button', { name: 'Mark paid' }).click();
    await operator.getByRole('row', { name: /Cat Coupons.*Paid.*€12.00/ }).waitFor();
    await operator.close();

    await goTo(partner, 'Payouts');
    await partner
      .getByRole('row', { name: /Paid.*€12.00/ })
      .first()
      .waitFor();
    await partner.getByRole('row', { name: /Closing balance.*€6.00.*€12.00/ }).waitFor();
    await partner.getByRole('button', { name: 'Sign out' }).click();
    await partner.getByRole('heading', { name: 'Sign in' }).waitFor();
    await partner.close();
  });

  test('a spoken code credits its partner, and an operator credits an order that nothing credited', async () => {
    const operator = await open({ viewport: WIDE });
    await signIn(operator, 'operator');
    const consoleErrors = watchConsole(operator);
    await goTo(operator, 'Coupon codes');
    await operator.getByRole('button', { name: 'New code' }).first().click();
    const dialog = operator.getByRole('dialog');
    await dialog.getByLabel('Partner').selectOption({ label: 'Cat Coupons' });
    await dialog.getByLabel('Code').fill('Spoken10');
    await takePicture(operator, 'coupon-new-wide');
    await dialog.getByRole('button', { name: 'Create code' }).click();
    await operator.getByRole('row', { name: /Spoken10.*Cat Coupons.*Valid/ }).waitFor();

    await postOrder({ order_id: 'spoken-1', amount: '40.00', coupon: 'WELCOME, spoken10' });
    await postOrder({ order_id: 'welcome-1', amount: '50.00', coupon: 'WELCOME' });
    await goTo(operator, 'Conversions');
    await operator.getByRole('row', { name: /spoken-1.*Attributed/ }).waitFor();
    await operator.getByRole('row', { name: /welcome-1.*No click, and no code of a partner/ }).waitFor();
    await operator.getByRole('button', { name: 'Open order welcome-1' }).click();
    await dialog.getByText('it was of no affiliate of the program').waitFor();
    await dialog.getByRole('button', { name: 'Credit to a partner' }).click();
    await dialog.getByLabel('Partner').selectOption({ label: 'Cat Coupons' });
    await dialog.getByLabel('Reason').fill('named by the customer');
    await takePicture(operator, 'credit-by-hand-wide');
    await operator.setViewportSize(PHONE);
    await takePicture(operator, 'credit-by-hand-phone');
    await operator.setViewportSize(WIDE);
    await dialog.getByRole('button', { name: 'Credit the order' }).click();
    await dialog.getByRole('button', { name: 'Confirm: credit the order' }).click();
    await dialog.getByText('“named by the customer”').waitFor();
    await closeDialog(operator);
    await operator.getByRole('row', { name: /welcome-1.*Attributed/ }).waitFor();

    const partner = await open();
    await signIn(partner, 'partner');
    await goTo(partner, 'Links');
    await partner.getByRole('row', { name: /Spoken10.*Valid/ }).waitFor();
    for (const [size, viewport] of [
      ['wide', WIDE],
      ['phone', PHONE],
    ] as const) {
      await partner.setViewportSize(viewport);
      await takePicture(partner, `coupon-partner-${size}`);
    }
    await partner.close();

    await goTo(operator, 'Coupon codes');
    for (const [size, viewport] of [
      ['phone', PHONE],
      ['wide', WIDE],
    ] as const) {
      await operator.setViewportSize(viewport);
      await takePicture(operator, `coupon-list-${size}`);
    }
    await operator.getByRole('link', { name: 'Orders by code' }).click();
    await operator.getByRole('row', { name: /^Spoken10 1 1 .*€40\.00/ }).waitFor();
    for (const [size, viewport] of [
      ['phone', PHONE],
      ['wide', WIDE],
    ] as const) {
      await operator.setViewportSize(viewport);
      await takePicture(operator, `report-by-code-${size}`);
    }
    const downloaded = operator.waitForEvent('download');
    await operator.getByRole('link', { name: 'Export' }).click();
    const csv = await readFile(await (await downloaded).path(), 'utf8');
    expect(csv).toMatch(/^"coupon","conversions",.*\n(.*\n)*"Spoken10",1,1,0,40,4,"EUR"\n/);
    await goTo(operator, 'Coupon codes');
    await operator.getByRole('button', { name: 'Edit Spoken10' }).click();
    await takePicture(operator, 'coupon-edit-wide');
    await dialog.getByRole('button', { name: 'Withdraw' }).click();
    await operator.getByRole('row', { name: /Spoken10.*Withdrawn/ }).waitFor();
    expect(consoleErrors).toEqual([]);
    await operator.close();
  });

  describe('every page', () => {
    beforeAll(async () => {
      await platform.afflux('demo', '--clicks', '2000');
    }, 180_000);

    test.each([
      ['partner', 'light'],
      ['operator', 'dark'],
      ...(ALL_PAGES
        ? ([
            ['partner', 'dark'],
            ['operator', 'light'],
          ] as const)
        : []),
    ] as const)(
      'of the %s, %s, is accessible, logs no errors, asks no other host and nothing twice at once',
      async (who, colorScheme) => {
        const page = await open({ colorScheme });
        const consoleErrors = watchConsole(page);
        const foreign: string[] = [];
        page.on('request', (request) => {
          if (!request.url().startsWith(platform.apiUrl)) foreign.push(request.url());
        });
        const askedTwice = watchForDoubles(page);
        await signIn(page, who);
        const names = await page
          .getByRole('navigation', { name: 'Pages' })
          .getByRole('link')
          .allTextContents();
        const faults: string[] = [];
        for (const name of names) {
          await page.setViewportSize(DESK);
          await goTo(page, name);
          await page.locator('.loading').first().waitFor({ state: 'detached' });
          await takePicture(page, `${who}-${colorScheme}-${name.toLowerCase().replaceAll(/\W+/g, '-')}`);
          faults.push(...(await accessibilityFaults(page)).map((fault) => `${name}: ${fault}`));
          await page.setViewportSize(PHONE);
          const width = await page.evaluate('document.documentElement.scrollWidth');
          if (Number(width) > PHONE.width) faults.push(`${name}: is ${width} px wide on a phone`);
          const hidden = await page.evaluate(BUTTONS_OUT_OF_SIGHT);
          if (hidden !== '') faults.push(`${name}: to be scrolled for on a phone: ${hidden}`);
        }
        expect(names.length).toBeGreaterThan(8);
        expect({ faults, consoleErrors, foreign, askedTwice }).toEqual({
          faults: [],
          consoleErrors: [],
          foreign: [],
          askedTwice: [],
        });
        await page.close();
      },
    );

    test.each(['finance', 'fraud', 'advertiser'])(
      'of %s: invited by mail they set a password, and no page asks for what it would be refused',
      async (role) => {
        const page = await open();
        await signInAs(page, await invite(role, `${role}@demo.example`));
        const consoleErrors = watchConsole(page);
        const names = await page
          .getByRole('navigation', { name: 'Pages' })
          .getByRole('link')
          .allTextContents();
        for (const name of names) {
          await goTo(page, name);
          await page.locator('.loading').first().waitFor({ state: 'detached' });
          expect([name, await page.locator('.problem').count()]).toEqual([name, 0]);
        }
        expect(names.length).toBeGreaterThan(5);
        expect(consoleErrors).toEqual([]);
        await page.close();
      },
    );

    test('a run waits for a second person, who approves it; a partner sees that a changed account is on hold', async () => {
      // What is due otherwise depends on the demo's chance.
      await endHolds();
      const page = await open();
      await signIn(page, 'operator');
      await goTo(page, 'Payouts');
      await page.getByLabel('A second person approves each run').check();
      const preview = page.waitForResponse(
        async (response) =>
          response.url().includes('/preview') && (await response.json()).needs_approval === true,
      );
      await page.getByRole('button', { name: 'Save', exact: true }).click();
      await preview;
      await page.getByRole('button', { name: /^Pay €/ }).click();
      await page.getByText('They wait for a second person').waitFor();
      await page.getByRole('button', { name: /^Confirm €/ }).click();
      await page.getByText('awaiting approval.').waitFor();
      const waiting = page.getByRole('row', { name: /^run_\d+.*started by you/ });
      await waiting.getByRole('button', { name: /Reject/ }).waitFor();
      expect(await waiting.getByRole('button', { name: /Approve/ }).count()).toBe(0);
      await page.close();

      const second = await open();
      await signInAs(second, await invite('operator', 'second@demo.example'));
      const faults: string[] = [];
      for (const [name, viewport] of [
        ['wide', WIDE],
        ['phone', PHONE],
      ] as const) {
        await second.setViewportSize(viewport);
        await second.goto('payouts');
        await second.getByRole('button', { name: /^Approve run_/ }).waitFor();
        await takePicture(second, `approval-${name}`);
        const hidden = await second.evaluate(BUTTONS_OUT_OF_SIGHT);
        if (hidden !== '') faults.push(`to be scrolled for: ${hidden}`);
        faults.push(...(await accessibilityFaults(second)));
        const width = await second.evaluate('document.documentElement.scrollWidth');
        if (Number(width) > viewport.width) faults.push(`is ${width} px wide on ${viewport.width}`);
      }
      await second.getByRole('button', { name: /^Approve run_/ }).click();
      await takePicture(second, 'approval-dialog-phone');
      await second
        .getByRole('dialog')
        .getByRole('button', { name: /^Pay €/ })
        .click();
      await second.getByText('Runs awaiting approval').waitFor({ state: 'detached' });
      await second
        .getByRole('row', { name: /Submitted/ })
        .first()
        .waitFor();
      expect(faults).toEqual([]);
      await second.close();

      const partner = await open({ viewport: WIDE });
      await signIn(partner, 'partner');
      await goTo(partner, 'Profile and payout method');
      await partner.getByLabel('Account holder').fill('Cat');
      await partner.getByLabel('IBAN').fill('BE68 5390 0754 7034');
      await partner.getByRole('button', { name: 'Replace' }).click();
      await partner.getByText(/Payouts on hold until .*, because the payout method was changed on/).waitFor();
      await takePicture(partner, 'hold-profile-wide');
      for (const [name, viewport] of [
        ['wide', WIDE],
        ['phone', PHONE],
      ] as const) {
        await partner.setViewportSize(viewport);
        await partner.goto('payouts');
        await partner.getByText(/Payouts on hold until/).waitFor();
        await takePicture(partner, `hold-${name}`);
      }
      await partner.close();
    });

    test('the file of a run is downloaded once without being asked again; tax data are kept by both', async () => {
      const page = await open();
      const consoleErrors = watchConsole(page);
      await signIn(page, 'operator');
      await goTo(page, 'Payouts');
      const file = page.getByRole('row', { name: /^Bank file bat_\d+.*Not yet/ }).first();
      const downloaded = page.waitForEvent('download');
      await file.getByRole('button', { name: /^Download bat_/ }).click();
      expect((await downloaded).suggestedFilename()).toMatch(/^\d{4}-\d\d-\d\d-bat_[0-9a-f]{32}\.csv$/);
      await page.getByText('by Olga Operator', { exact: true }).waitFor();
      await page
        .getByRole('button', { name: /^Download bat_/ })
        .first()
        .click();
      await page.getByText('may be paid twice').waitFor();
      await takePicture(page, 'download-again');
      await page.getByRole('button', { name: 'Cancel' }).click();
      await page.getByLabel('Legal name').fill('Demo Shop GmbH');
      await page.getByLabel('Address').fill('Hauptstraße 1\n10115 Berlin');
      await page.getByLabel('Country').fill('de');
      await page.getByLabel('VAT number').fill('DE136695977');
      await page.getByLabel('Statements are self-billing invoices with VAT').check();
      await page.getByLabel('VAT, %').fill('19');
      await page.getByRole('button', { name: 'Save tax data' }).click();
      await page.locator('.fault', { hasText: 'no VAT number of DE' }).waitFor();
      await page.getByLabel('VAT number').fill('DE136695976');
      await page.getByRole('button', { name: 'Save tax data' }).click();
      await page.locator('.fault').waitFor({ state: 'detached' });
      await takePicture(page, 'payouts-papers-wide');
      await page.setViewportSize(PHONE);
      await takePicture(page, 'payouts-papers-phone');
      expect(consoleErrors.filter((line) => !line.includes('422'))).toEqual([]);
      await page.close();

      const partner = await open();
      await signIn(partner, 'partner');
      await goTo(partner, 'Profile and payout method');
      await partner.getByLabel('Legal name').fill('Cat Coupons Ltd');
      await partner.getByLabel('Address', { exact: true }).fill('1 High Street');
      await partner.getByLabel('Country').fill('IE');
      const saved = partner.waitForResponse((response) => response.request().method() === 'PUT');
      await partner.getByRole('button', { name: 'Save tax data' }).click();
      expect((await saved).status()).toBe(200);
      await partner.reload();
      expect(await partner.getByLabel('Legal name').inputValue()).toBe('Cat Coupons Ltd');
      await takePicture(partner, 'profile-tax-wide');
      await partner.setViewportSize(PHONE);
      await takePicture(partner, 'profile-tax-phone');
      await partner.close();
    });

    test('can be reached and used without a mouse', async () => {
      const page = await open();
      await signIn(page, 'partner');
      await page.keyboard.press('Tab');
      expect(await page.evaluate('document.activeElement.textContent')).toBe('Skip to the content');
      await page.getByRole('link', { name: 'Links' }).focus();
      await page.keyboard.press('Enter');
      await page.getByRole('button', { name: 'New link' }).focus();
      await page.keyboard.press('Enter');
      await page.getByRole('heading', { name: 'New link' }).waitFor();
      await page.keyboard.press('Escape');
      await page.getByRole('heading', { name: 'New link' }).waitFor({ state: 'detached' });
      expect(await page.evaluate('document.activeElement.textContent')).toBe('New link');
      await page.close();
    });
  });

  test.each(['light', 'dark'] as const)('the front door is accessible, %s', async (colorScheme) => {
    const page = await open({ colorScheme });
    const consoleErrors = watchConsole(page);
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    expect(await accessibilityFaults(page)).toEqual([]);
    await takePicture(page, `sign-in-${colorScheme}`);
    await page.getByRole('link', { name: 'Set a new password' }).click();
    await page.getByLabel('E-mail address').fill('nobody@example.com');
    await page.getByRole('button', { name: 'Send the link' }).click();
    await page.getByRole('heading', { name: 'Check your e-mail' }).waitFor();
    await page.goto('/set-password?token=usr_1.1.nonsense');
    await page.getByLabel('New password').fill('long enough to be one');
    await page.getByRole('button', { name: 'Set the password' }).click();
    await page.getByRole('heading', { name: 'This link is no longer valid' }).waitFor();
    // The browser itself tells of the refusal.
    expect(consoleErrors.filter((line) => !line.includes('422'))).toEqual([]);
    await page.close();
  });

  test('its files are kept by browsers, its page is asked for again, and nothing foreign may run', async () => {
    const home = await fetch(`${platform.apiUrl}/`);
    expect([home.url, home.status]).toEqual([`${platform.apiUrl}/portal/`, 200]);
    expect(home.headers.get('cache-control')).toBe('no-cache');
    expect(home.headers.get('content-security-policy')).toMatch(/script-src 'self'; style-src 'self';/);
    const etag = home.headers.get('etag') ?? '';
    const again = await fetch(home.url, { headers: { 'if-none-match': etag } });
    expect(again.status).toBe(304);
    const html = await home.text();
    const files = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path ?? '');
    const kinds = new Set(files.map((path) => path.replace(/^.*\./, '')));
    expect(kinds).toEqual(new Set(['svg', 'js', 'css']));
    for (const path of files) {
      const file = await fetch(platform.apiUrl + path);
      const kept = 'public, max-age=31536000, immutable';
      expect([path, file.status, file.headers.get('cache-control')]).toEqual([path, 200, kept]);
    }
    const paths = ['/portal/links', '/portal/assets/none.js', '/portal/..%2f..%2fpackage.json'];
    const statuses = await Promise.all(
      paths.map(async (path) => (await fetch(platform.apiUrl + path)).status),
    );
    expect(statuses).toEqual([200, 404, 404]);
  });
});
