import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ALL_PAGES, goTo, launchChromium, look, signIn, watchConsole } from './support/browser.ts';
import { askClickHouse, waitFor } from './support/engines.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';

/** What the start, the demo's file, the command and the page say of an analyst's login, and that it is true. */

const chromium = findChromium();
let platform: TestPlatform;

beforeAll(async () => {
  platform = await startPlatform();
});
afterAll(async () => {
  await platform?.stop();
});

async function askAs(user: string, password: string, query: string): Promise<string> {
  const { analyst } = platform.demo;
  const url = new URL(analyst.url);
  url.username = user;
  url.password = encodeURIComponent(password);
  return await (await askClickHouse(url.href, {}, { method: 'POST', body: query })).text();
}

test('the printed login, that of the demo and that of the command are one, and it reads only', async () => {
  const { user, password, url } = platform.demo.analyst;
  expect(user).toBe('analyst');
  expect(platform.output()).toMatch(
    new RegExp(`analysts +${url} +ClickHouse, read only: user analyst; npx afflux analyst prints`),
  );
  expect(platform.output()).not.toContain(password);
  const printed = await platform.afflux('analyst');
  for (const part of [user, password, 'afflux']) expect(printed).toContain(part);
  const names = "SELECT name FROM analyst_names WHERE kind = 'program'";
  // The mirror brings them.
  await waitFor(async () => (await askAs(user, password, names)) !== '', {
    deadlineMs: 30_000,
    what: 'the names in ClickHouse',
  });
  expect(await askAs(user, password, names)).toBe('Demo shop\n');
  expect(await askAs(user, password, 'SELECT * FROM migrations')).toContain('ACCESS_DENIED');
  expect(await askAs(user, password, "SELECT dictGet('asn', 'asn', toIPv6('::1'))")).toBe('0\n');
});

test('the command prints a login of one program', async () => {
  const id = `prg_${platform.demo.program.id}`;
  const printed = await platform.afflux('analyst', '--program', id);
  const [, password = ''] = /password +(\S+)/.exec(printed) ?? [];
  expect(password).not.toBe(platform.demo.analyst.password);
  expect(
    await askAs(`analyst_${id}`, password, "SELECT count() FROM analyst_names WHERE kind = 'campaign'"),
  ).toBe('3\n');
  expect(await askAs(`analyst_${id}`, password, 'SELECT count() FROM clicks')).toContain('ACCESS_DENIED');
  await expect(platform.afflux('analyst', '--program', 'cmp_1')).rejects.toThrow(
    'is not the id of a program',
  );
});

describe.skipIf(chromium === undefined || !ALL_PAGES)('the page', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchChromium(chromium ?? '');
  });
  afterAll(async () => {
    await browser?.close();
  });

  test('says what to enter, and not the password', async () => {
    const page = await signIn(browser, platform, 'operator');
    const faults = watchConsole(page);
    await goTo(page, 'Analysts');
    const id = `prg_${platform.demo.program.id}`;
    await page.getByText(`npx afflux analyst --program ${id}`).waitFor();
    const text = (await page.locator('main').textContent()) ?? '';
    expect(text).toContain(`analyst_${id}`);
    expect(text).toContain(new URL(platform.demo.analyst.url).port);
    expect(text).not.toContain(platform.demo.analyst.password);
    await look(page, 'analysts');
    expect(faults).toEqual([]);
  });
});
