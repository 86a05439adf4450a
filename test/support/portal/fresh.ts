import type { Browser, Page } from 'playwright-core';
import { expect } from 'vitest';
import type { Sent } from '../../../api/sources/kinds/example-events.ts';
import { connectDatabase, type Database } from '../../../ledger/postgres/db.ts';
import { updateProgram } from '../../../ledger/programs/programs.ts';
import { enter, goTo, launchChromium, openPortal } from '../browser.ts';
import { startPlatform, type TestPlatform } from '../platform.ts';

/** A fresh platform with one program, and its operator in a browser, who connects what sends orders. */

const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';
export const PASSWORD = 'several uncommon words';
/** For the platform and the browser to end. */
export const STOP_MS = 60_000;
const OLGA = { email: 'olga@shop.example', password: PASSWORD };

export interface FreshPortal {
  readonly platform: TestPlatform;
  readonly ledger: Database;
  /** The overview, for Olga or another user. */
  open(who?: { email: string; password: string }): Promise<Page>;
  /** A visitor follows the link of the partner. @returns The click id with which it lands. */
  click(): Promise<string>;
  stop(): Promise<void>;
}

export async function startFreshPortal(chromium: string): Promise<FreshPortal> {
  const platform = await startPlatform({ demo: false });
  const browser: Browser = await launchChromium(chromium);
  const ledger = await connectDatabase({ url: platform.config.databaseUrl, max: 1, name: 'test' });
  const linkUrl = await setUp(platform);
  // Visitors of these tests order within a second of their click, which is a case for the review queue.
  await updateProgram(ledger, { id: 1, changes: { fraudRules: { instant_conversion: false } } });
  return {
    platform,
    ledger,
    async open(who = OLGA) {
      const page = await openPortal(browser, platform);
      await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
      await enter(page, who);
      await page.getByRole('link', { name: 'Overview' }).waitFor({ state: 'attached' });
      return page;
    },
    async click() {
      const visit = await fetch(linkUrl, { redirect: 'manual', headers: { 'user-agent': FIREFOX } });
      const id = new URL(visit.headers.get('location') ?? '').searchParams.get('click_id');
      expect([visit.status, id]).toEqual([302, expect.stringMatching(/^[\w-]{22}$/)]);
      return id ?? '';
    },
    async stop() {
      await ledger.end();
      await browser.close();
      await platform.stop();
    },
  };
}

/** The first setup of a platform, as its page sends it. @returns The link of its partner. */
async function setUp({ apiUrl, output }: TestPlatform): Promise<string> {
  const [, token] = /\/portal\/setup#(\S+)/.exec(output()) ?? [];
  const answer = await fetch(`${apiUrl}/v1/setup`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      token,
      operator: { name: 'Olga', ...OLGA },
      program: { name: 'My shop', currency: 'EUR' },
      terms: { rate_bps: 1_000, hold_days: 30, cookie_days: 30, payout_min: '0' },
      campaign: { name: 'Everything', landing_url: 'https://shop.example/' },
      affiliate: { name: 'Ann', email: 'ann@blog.example' },
    }),
  });
  const { link_url } = (await answer.json()) as { link_url: string };
  expect(answer.status).toBe(201);
  return link_url;
}

/** A call of a source, as a vendor makes it. */
export async function send(url: string, { headers, body }: Sent): Promise<[number, Record<string, unknown>]> {
  const answer = await fetch(url, { method: 'POST', headers, body });
  return [answer.status, (await answer.json()) as Record<string, unknown>];
}

/** Who acts on a page; each act is counted. */
export interface Person {
  steps(): number;
  press(name: string | RegExp, within?: Pick<Page, 'getByRole'>): Promise<void>;
  write(label: string, text: string): Promise<void>;
  /** Presses a button and reads the clipboard. */
  copy(what: string): Promise<string>;
  go(name: string): Promise<void>;
}

export function personAt(page: Page): Person {
  let steps = 0;
  return {
    steps: () => steps,
    async press(name, within = page) {
      steps++;
      await within.getByRole('button', { name }).click();
    },
    async write(label, text) {
      steps++;
      await page.getByLabel(label).fill(text);
    },
    async copy(what) {
      steps++;
      await page.getByRole('button', { name: `Copy ${what}` }).click();
      return String(await page.evaluate('navigator.clipboard.readText()'));
    },
    async go(name) {
      steps++;
      await goTo(page, name);
    },
  };
}

/** Connects a source, from the menu to its page. */
export async function connect(page: Page, { kind, name }: { kind: RegExp; name: string }): Promise<Person> {
  const olga = personAt(page);
  await olga.go('Connect');
  await olga.press('Connect', page.locator('.page-head'));
  await olga.press(kind, page.getByRole('dialog'));
  await olga.write('Name', name);
  await olga.press('Connect', page.getByRole('dialog'));
  await page.getByRole('heading', { name, exact: true }).waitFor();
  await page.getByText('No call yet').waitFor();
  return olga;
}

/** The line of a call in the list of a source. */
export function lineOf(page: Page, text: string) {
  return page.getByRole('row').filter({ hasText: text });
}
