import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { connectDatabase, type Database } from '../ledger/postgres/db.ts';
import {
  ALL_PAGES,
  ARRIVE_MS,
  enter,
  goTo,
  launchChromium,
  look,
  openPortal,
  signIn,
} from './support/browser.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';

const chromium = findChromium();
const TEST_MS = 60_000;
const REPORTS = '**/v1/reports?*';
const STREAM = '**/v1/freshness/stream';
const PARTNER = 'Cat Coupons';
const FAILURE = {
  status: 503,
  contentType: 'application/problem+json',
  body: JSON.stringify({
    type: 'about:blank',
    title: 'Unavailable',
    status: 503,
    code: 'unavailable',
    detail: 'the warehouse is unavailable',
    request_id: 'test',
  }),
};

describe.skipIf(chromium === undefined || !ALL_PAGES)(
  'a page of the portal that stays open, in a browser',
  () => {
    let platform: TestPlatform;
    let browser: Browser;
    let ledger: Database;

    beforeAll(async () => {
      platform = await startPlatform();
      browser = await launchChromium(chromium ?? '');
      ledger = await connectDatabase({ url: platform.config.databaseUrl, max: 1, name: 'test' });
    });
    afterEach(async () => {
      await Promise.all(browser.contexts().map((context) => context.close()));
    });
    afterAll(async () => {
      await ledger?.end();
      await browser?.close();
      await platform?.stop();
    });

    const ofFigures = (page: Page) => page.locator('main .fresh').first();
    const ofPlatform = (page: Page) => page.locator('.side-foot .fresh');

    /** The stream has gone on since: what the platform counts is newer than before. */
    async function countsGoOn(page: Page): Promise<void> {
      const before = await ofPlatform(page).textContent();
      const text = () => ofPlatform(page).textContent();
      await expect.poll(text, { timeout: ARRIVE_MS }).not.toBe(before);
      await expect.poll(text, { timeout: ARRIVE_MS }).toContain('Clicks counted to');
    }

    /** What stands beside figures with this `complete_to`, in the zone of the browser. */
    async function badgeOf(page: Page, completeTo: string): Promise<string> {
      const clock = await page.evaluate((at) => new Date(at).toTimeString().slice(0, 8), completeTo);
      return `Complete to ${clock}`;
    }

    describe('how fresh its figures are', () => {
      test('is said by the report on the screen, also when the platform has counted more since', {
        timeout: TEST_MS,
      }, async () => {
        const page = await signIn(browser, platform, 'operator');
        await page.clock.install();
        const answered = page.waitForResponse(
          (answer) => answer.url().includes('/v1/reports?') && answer.url().includes('order_by=day'),
        );
        await goTo(page, 'Reports');
        const { complete_to } = await (await answered).json();
        const said = await badgeOf(page, complete_to);
        await expect.poll(() => ofFigures(page).textContent()).toContain(said);
        await countsGoOn(page);
        await countsGoOn(page);
        expect(await ofFigures(page).textContent()).toContain(said);
        await page.clock.fastForward('02:00');
        await page.locator('main .fresh.late').waitFor();
        expect(await ofFigures(page).textContent()).toContain(said);
        await look(page, 'open-page-late');
      });

      test('is said by a list of clicks, which is asked for less often than others', {
        timeout: TEST_MS,
      }, async () => {
        const page = await signIn(browser, platform, 'operator');
        await page.clock.install();
        const answered = page.waitForResponse(
          (answer) => answer.url().includes('/v1/velocity?') && answer.url().includes('minutes=1440'),
        );
        await page.goto('velocity?minutes=1440');
        const { complete_to } = await (await answered).json();
        const said = await badgeOf(page, complete_to);
        await expect.poll(() => ofFigures(page).textContent()).toContain(said);
        await countsGoOn(page);
        // What is asked for every few seconds is asked for now.
        await page.clock.fastForward('00:10');
        await countsGoOn(page);
        await countsGoOn(page);
        expect(await ofFigures(page).textContent()).toContain(said);
        await page.locator('main .fresh', { hasText: 'Orders as of' }).waitFor();
        await look(page, 'velocity-of-a-day');
      });

      test('stays what it was while later reports fail, and comes with figures shown again', {
        timeout: TEST_MS,
      }, async () => {
        const page = await signIn(browser, platform, 'operator');
        let last = '';
        page.on('response', async (answer) => {
          const { url, status } = { url: answer.url(), status: answer.status() };
          if (!url.includes('/v1/reports?') || !url.includes('group_by=day') || status !== 200) return;
          last = (await answer.json()).complete_to;
        });
        await expect
          .poll(() => ofFigures(page).textContent(), { timeout: ARRIVE_MS })
          .toContain('Complete to');
        await page.route(REPORTS, (route) => route.fulfill(FAILURE));
        await page.getByRole('alert').waitFor();
        const said = await badgeOf(page, last);
        expect(await ofFigures(page).textContent()).toContain(said);
        await countsGoOn(page);
        await countsGoOn(page);
        expect(await ofFigures(page).textContent()).toContain(said);
        await goTo(page, 'Conversions');
        await page.getByRole('heading', { name: 'Conversions', level: 1 }).waitFor();
        await goTo(page, 'Overview');
        await page.locator('.stats').waitFor();
        expect(await ofFigures(page).textContent()).toContain(said);
        await page.unroute(REPORTS);
        await expect.poll(() => ofFigures(page).textContent(), { timeout: ARRIVE_MS }).not.toContain(said);
      });

      test('stands on every page with figures of clicks', { timeout: TEST_MS }, async () => {
        const operator = await signIn(browser, platform, 'operator');
        for (const name of ['Campaigns', 'Links and routing', 'Velocity', 'Audit']) {
          await goTo(operator, name);
          await operator.getByRole('heading', { name, level: 1 }).waitFor();
          await operator.locator('main .fresh', { hasText: 'Complete to' }).first().waitFor();
        }
        const partner = await signIn(browser, platform, 'partner');
        await partner.locator('main .fresh', { hasText: 'Complete to' }).waitFor();
        await goTo(partner, 'Links');
        await partner.locator('main .fresh', { hasText: 'Complete to' }).waitFor();
      });
    });

    describe('its stream of the freshness', () => {
      test('is opened again after an error answer', { timeout: TEST_MS }, async () => {
        const page = await openPortal(browser, platform);
        await page.route(STREAM, (route) => route.fulfill(FAILURE), { times: 1 });
        const refused = page.waitForResponse(STREAM);
        await enter(page, platform.demo.portal.operator);
        expect((await refused).status()).toBe(FAILURE.status);
        await countsGoOn(page);
      });

      test('is opened again once its reader has signed in again', { timeout: TEST_MS }, async () => {
        const page = await signIn(browser, platform, 'operator');
        await countsGoOn(page);
        const refused = page.waitForResponse((answer) => answer.url().endsWith('/stream') && !answer.ok());
        await ledger`delete from sessions`;
        expect((await refused).status()).toBe(401);
        const opened = page.waitForResponse((answer) => answer.url().endsWith('/stream') && answer.ok());
        await enter(page, platform.demo.portal.operator);
        await opened;
        await countsGoOn(page);
      });
    });

    describe('when somebody signs in in another tab', () => {
      const sessionOf = async (page: Page, who: 'partner' | 'operator') => {
        const { email, password } = platform.demo.portal[who];
        const data = { email, password };
        // The cookie of all tabs, and not a word to this one.
        const answer = await page.context().request.post(`${platform.apiUrl}/v1/session`, { data });
        expect(answer.ok()).toBe(true);
      };
      const draft = async (page: Page, name: string) => {
        await goTo(page, 'Campaigns');
        await page.getByRole('button', { name: 'New campaign' }).click();
        const dialog = page.locator('dialog');
        await dialog.getByLabel('Name').fill(name);
        await dialog.getByLabel('Landing page').fill('https://shop.example/');
      };

      test('the same user goes on, with what was typed, and can sign out', { timeout: TEST_MS }, async () => {
        const page = await signIn(browser, platform, 'operator');
        await draft(page, 'Two sessions');
        await sessionOf(page, 'operator');
        await page.getByRole('button', { name: 'Create campaign' }).click();
        await page.getByRole('row', { name: /Two sessions/ }).waitFor();
        await sessionOf(page, 'operator');
        await page.getByRole('button', { name: 'Sign out' }).click();
        await page.getByRole('heading', { name: 'Sign in' }).waitFor();
      });

      test('nothing is sent as another user: the page begins again as theirs', {
        timeout: TEST_MS,
      }, async () => {
        const page = await signIn(browser, platform, 'operator');
        await draft(page, 'Of the operator');
        await sessionOf(page, 'partner');
        const sent: (string | undefined)[] = [];
        page.on('request', (request) => {
          if (request.method() === 'POST') sent.push(request.headers()['x-csrf-token']);
        });
        await page.getByRole('button', { name: 'Create campaign' }).click();
        await page.locator('dialog').waitFor({ state: 'detached' });
        await page.locator('.who', { hasText: PARTNER }).waitFor();
        expect(sent.length).toBe(1);
      });

      test('the other tabs are of the new user at once', { timeout: TEST_MS }, async () => {
        const first = await openPortal(browser, platform);
        const second = await first.context().newPage();
        await second.goto('');
        await second.getByRole('heading', { name: 'Sign in' }).waitFor();
        await enter(first, platform.demo.portal.operator);
        await second.getByRole('link', { name: 'Partners', exact: true }).waitFor({ state: 'attached' });
        await goTo(second, 'Campaigns');
        await first.getByRole('button', { name: 'Sign out' }).click();
        await enter(first, platform.demo.portal.partner);
        await second.locator('.who', { hasText: PARTNER }).waitFor();
        await second.getByRole('link', { name: 'Partners', exact: true }).waitFor({ state: 'detached' });
      });
    });

    test('what was typed outlasts Back and Escape under the sign-in of a session that ended', {
      timeout: TEST_MS,
    }, async () => {
      const page = await signIn(browser, platform, 'operator');
      await goTo(page, 'Campaigns');
      await page.getByRole('button', { name: 'New campaign' }).click();
      await page.locator('dialog').getByLabel('Name').fill('Half a campaign');
      await page.context().clearCookies();
      const ended = page.getByText('Your session has ended');
      await ended.waitFor();
      for (let i = 0; i < 2; i++) {
        await page.goBack();
        await expect.poll(() => page.evaluate('history.state')).toEqual({ dialog: true });
        await page.keyboard.press('Escape');
      }
      expect([await ended.isVisible(), page.url()]).toEqual([true, expect.stringMatching(/\/campaigns$/)]);
      await enter(page, platform.demo.portal.operator);
      await ended.waitFor({ state: 'detached' });
      expect(await page.locator('dialog').getByLabel('Name').inputValue()).toBe('Half a campaign');
      await page.goBack();
      await page.locator('dialog').waitFor({ state: 'detached' });
      expect(page.url()).toMatch(/\/campaigns$/);
    });
  },
);
