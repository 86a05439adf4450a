import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { goTo, launchChromium, signIn } from './support/browser.ts';
import { waitFor } from './support/engines.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';

/**
 * From the click on a page of the menu to its heading and first rows, in a program with 1,000 links and 10,000 orders;
 * 0 (in `npm test`): not measured.
 */
const MOST_MS = Number(process.env.AFFLUX_TEST_PAGE_MS ?? 0);
const LINKS = 1_000;
const ORDERS = 10_000;
/** Of each page, after a round that loads its code; the median counts. */
const ROUNDS = 5;
const FILL_MS = 180_000;
const BATCH = 1_000;
const PAGE_MS = 15_000;

const chromium = findChromium();

describe.skipIf(chromium === undefined || MOST_MS === 0)('pages with 1,000 links and 10,000 orders', () => {
  let platform: TestPlatform;
  let browser: Browser;

  beforeAll(async () => {
    platform = await startPlatform();
    browser = await launchChromium(chromium ?? '');
    const [campaign] = platform.demo.campaigns;
    const links = Array.from(
      { length: LINKS },
      (_, i) => `cat,cmp_${campaign?.id},https://shop.example/page-${i},speed${i}`,
    );
    await importCsv('links', 'affiliate_ref_code,campaign_id,landing_url,code', links);
    const [partner] = platform.demo.affiliates;
    await post('/v1/coupons', {
      affiliate_id: `aff_${partner?.id}`,
      campaign_id: `cmp_${campaign?.id}`,
      code: 'SPEED',
    });
    for (let batch = 0; batch < ORDERS / BATCH; batch++) {
      const orders = Array.from({ length: BATCH }, (_, i) => ({
        order_id: `speed-${batch * BATCH + i}`,
        amount: `${(i % 400) + 1}.50`,
        currency: 'EUR',
        coupon: 'SPEED',
      }));
      const answer = await post('/v1/conversions/batch', { conversions: orders });
      expect(answer).toMatchObject({ accepted: BATCH });
    }
    const isDecided = async () => {
      const { data } = await read('/v1/conversions?state=received&limit=1');
      return (data as unknown[]).length === 0;
    };
    await waitFor(isDecided, { deadlineMs: FILL_MS, what: 'the decisions' });
  }, 2 * FILL_MS);
  afterAll(async () => {
    await browser?.close();
    await platform?.stop();
  });

  const headers = (type: string) => ({
    authorization: `Bearer ${platform.demo.keys.operator}`,
    'content-type': type,
  });

  async function read(path: string): Promise<Record<string, unknown>> {
    const answer = await fetch(`${platform.apiUrl}${path}`, { headers: headers('application/json') });
    return (await answer.json()) as Record<string, unknown>;
  }

  async function post(path: string, json: object): Promise<Record<string, unknown>> {
    const answer = await fetch(`${platform.apiUrl}${path}`, {
      method: 'POST',
      headers: headers('application/json'),
      body: JSON.stringify(json),
    });
    const body = (await answer.json()) as Record<string, unknown>;
    expect([path, answer.status < 300, body]).toEqual([path, true, body]);
    return body;
  }

  async function importCsv(kind: string, header: string, rows: readonly string[]): Promise<void> {
    const body = [header, ...rows].join('\n');
    const url = `${platform.apiUrl}/v1/imports?kind=${kind}&dry_run=false`;
    const answer = await fetch(url, { method: 'POST', headers: headers('text/csv'), body });
    const { id } = (await answer.json()) as { id: string };
    const isDone = async () => (await read(`/v1/jobs/${id}`)).state === 'done';
    await waitFor(isDone, { deadlineMs: FILL_MS, what: 'the import' });
    expect((await read(`/v1/jobs/${id}`)).result).toMatchObject({ taken: rows.length });
  }

  test.for(['operator', 'partner'] as const)('each page of the %s', { timeout: 300_000 }, async (who) => {
    const page = await signIn(browser, platform, who);
    const names = await page.getByRole('navigation', { name: 'Pages' }).getByRole('link').allTextContents();
    // The first page of a round is another one than that of the round before.
    await goTo(page, names.at(-1) ?? '');
    await page.locator('main h1').waitFor();
    const times = new Map<string, number[]>(names.map((name) => [name, []]));
    for (let round = 0; round <= ROUNDS; round++) {
      for (const name of names) {
        const ms = await timeOf(page, name);
        // The first round is the one that loads the code of the pages.
        if (round > 0) times.get(name)?.push(ms);
      }
    }
    const medians = [...times].map(([name, all]) => ({ name, ms: medianOf(all) }));
    process.stdout.write(`${who}: ${medians.map(({ name, ms }) => `${name} ${ms} ms`).join(', ')}\n`);
    expect(medians.filter(({ ms }) => ms > MOST_MS)).toEqual([]);
  });
});

function medianOf(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** Milliseconds until the page has another heading and its first rows or figures. */
async function timeOf(page: Page, name: string): Promise<number> {
  return Number(
    await page.evaluate(`new Promise((resolve, reject) => {
      const main = document.querySelector('main');
      const link = [...document.querySelectorAll('nav a')].find((a) => a.textContent === ${JSON.stringify(name)});
      const before = main.querySelector('h1');
      const began = performance.now();
      const late = setTimeout(() => reject(new Error(${JSON.stringify(name)})), ${PAGE_MS});
      const look = () => {
        const heading = main.querySelector('h1');
        if (!heading || heading === before) return;
        if (!main.querySelector('tbody tr, .empty, .stat, .queue li, .promise') && main.querySelector('.loading')) return;
        observer.disconnect();
        clearTimeout(late);
        requestAnimationFrame(() => resolve(Math.round(performance.now() - began)));
      };
      const observer = new MutationObserver(look);
      observer.observe(main, { childList: true, subtree: true });
      link.click();
    })`),
  );
}
