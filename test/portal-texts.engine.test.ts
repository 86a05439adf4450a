import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromProject } from '../core/config/paths.ts';
import english from '../dashboards/portal/src/text/messages/en.ts';
import { ALL_PAGES, ARRIVE_MS, closeDialog, enter, goTo, launchChromium, signIn } from './support/browser.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';

const chromium = findChromium();
/** A made language, of a code that no real one has; every message of it stands in brackets. */
const LANGUAGE = 'qps';
const bracketed = (text: string): string => `⟦${text}⟧`;
/** What the portal's build reads. */
const SOURCES = ['dashboards/portal', 'core', 'api/client', 'tsconfig.json'];

/** The portal built with one more file: that of the made language. */
async function buildWithLanguage(folder: string): Promise<string> {
  for (const source of SOURCES) cpSync(fromProject(source), join(folder, source), { recursive: true });
  const messages = Object.entries(english).map(([key, message]) => [
    key,
    typeof message === 'string'
      ? bracketed(message)
      : Object.fromEntries(Object.entries(message).map(([form, text]) => [form, bracketed(text)])),
  ]);
  const file = `export default ${JSON.stringify(Object.fromEntries(messages))};\n`;
  writeFileSync(join(folder, 'dashboards/portal/src/text/messages', `${LANGUAGE}.ts`), file);
  await build({ configFile: join(folder, 'dashboards/portal/vite.config.ts'), logLevel: 'error' });
  return join(folder, 'dist/portal');
}

/** Answers for the portal's files from another build, with the headers of the API. */
async function serveFrom(page: Page, built: string): Promise<void> {
  await page.route('**/portal/**', async (route) => {
    const { pathname } = new URL(route.request().url());
    const asset = join(built, 'assets', basename(pathname));
    if (pathname.includes('/assets/')) return await route.fulfill({ path: asset });
    await route.fulfill({ response: await route.fetch(), path: join(built, 'index.html') });
  });
}

/** Every text that the API has given the page. */
function watchAnswers(page: Page): Set<string> {
  const texts = new Set<string>();
  const read = (value: unknown): void => {
    if (typeof value === 'string') texts.add(value);
    else if (typeof value === 'object' && value !== null) {
      for (const [key, member] of Object.entries(value)) {
        texts.add(key);
        read(member);
      }
    }
  };
  page.on('response', (response) => {
    if (!/json/.test(response.headers()['content-type'] ?? '')) return;
    response.json().then(read, () => undefined);
  });
  return texts;
}

/** What a reader sees and what is read out: the text of the page and of its attributes. */
const SHOWN = `[document.title, document.body.innerText, ...[...document.body.querySelectorAll('*')]
  .filter((element) => element.checkVisibility())
  .flatMap((element) => ['aria-label', 'title', 'placeholder', 'alt'].map((name) => element.getAttribute(name) ?? ''))]
  .join('\\n')`;
/** Names and codes that are the same in every language. */
const SAME = /\b(?:Afflux|English|qps|CSV|PDF|GET|POST|Parquet|Arrow|W-\d\w*(?:-E)?|sub\d|npm start)\b/g;
/** What Intl writes of days, times, money and lists, and a time as the API writes it. */
const BY_INTL =
  /\b(?:\d{4}-\d\d-\d\dT[\d:.]+Z|(?:Jan|Febr)(?:uary)?|Feb|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|(?:Sep|Oct|Nov|Dec)(?:t?ember|ober)?|\w+day|at|and|AM|PM|GMT|UTC|Coordinated Universal Time|[A-Z]{2,3}(?=\s?\d))\b/g;
/** Samples in empty fields are no texts. */
const SAMPLE = /\b(?:[a-z]+(?:[_:.][a-z\d]+)+|DE, AT|mobile, tablet|iOS|de, fr)\b|https?:\S+/g;

/** Words that stand in no brackets and that the API has not given. */
async function wordsOutside(page: Page, answers: ReadonlySet<string>): Promise<string[]> {
  let shown = String(await page.evaluate(SHOWN));
  for (let before = ''; before !== shown; ) {
    before = shown;
    shown = shown.replaceAll(/⟦[^⟦⟧]*⟧/g, ' ');
  }
  const given = [...answers]
    .filter((text) => /\p{L}/u.test(text))
    .toSorted((a, b) => b.length - a.length)
    .map((text) => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  const ofAnswers = new RegExp(`(?<!\\p{L})(?:${given.join('|')})(?!\\p{L})`, 'gu');
  const rest = [...(given.length > 0 ? [ofAnswers] : []), BY_INTL, SAME, SAMPLE].reduce(
    (text, pattern) => text.replaceAll(pattern, ' '),
    shown,
  );
  return [...new Set(rest.split('\n').filter((line) => /\p{L}/u.test(line)))].map((line) => line.trim());
}

describe.skipIf(chromium === undefined || !ALL_PAGES)('the texts of the portal', () => {
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

  test.each(['partner', 'operator'] as const)(
    'a language needs a file only: pages of a %s',
    {
      timeout: 180_000,
    },
    async (who) => {
      const folder = mkdtempSync(fromProject('.afflux/portal-language-'));
      try {
        const context = await browser.newContext({ baseURL: `${platform.apiUrl}/portal/` });
        await context.addInitScript(`localStorage.setItem('afflux-language', '${LANGUAGE}')`);
        const page = await context.newPage();
        page.setDefaultTimeout(ARRIVE_MS);
        const answers = watchAnswers(page);
        await serveFrom(page, await buildWithLanguage(folder));
        await page.goto('');
        await page.getByRole('heading', { name: '⟦Sign in⟧' }).waitFor();
        expect(await page.evaluate('document.documentElement.lang')).toBe(LANGUAGE);
        expect(await wordsOutside(page, answers)).toEqual([]);
        const { email, password } = platform.demo.portal[who];
        await page.getByLabel('⟦E-mail address⟧').fill(email);
        await page.getByLabel('⟦Password⟧', { exact: true }).fill(password);
        await page.getByRole('button', { name: '⟦Sign in⟧' }).click();

        const links = page.getByRole('navigation', { name: '⟦Pages⟧' }).getByRole('link');
        await links.first().waitFor();
        const names = await links.allInnerTexts();
        expect(names.length).toBeGreaterThan(8);
        const outside = new Map<string, string[]>();
        for (const name of names) {
          await page.getByRole('link', { name, exact: true }).click();
          await page.locator('main h1').waitFor();
          await page.waitForLoadState('networkidle');
          await page.locator('main .loading').first().waitFor({ state: 'detached' });
          const words = await wordsOutside(page, answers);
          if (words.length > 0) outside.set(name, words);
        }
        expect([...outside]).toEqual([]);
        await context.close();
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
      expect(existsSync(folder)).toBe(false);
    },
  );

  test('amounts are typed and shown as the browser writes them; what has two readings is refused', async () => {
    const context = await browser.newContext({ baseURL: `${platform.apiUrl}/portal/`, locale: 'de-DE' });
    const page = await context.newPage();
    page.setDefaultTimeout(ARRIVE_MS);
    await page.goto('');
    await enter(page, platform.demo.portal.operator);
    await goTo(page, 'Partners');
    await page
      .getByRole('button', { name: /^Open / })
      .first()
      .click();
    // The facts push down what stands below them.
    await page.getByText('Recruited by').waitFor();
    await page.getByText('Bonus or deduction').click();
    const amount = page.getByLabel('Amount in EUR');
    const book = page.getByRole('button', { name: 'Book it' });
    await page.getByLabel('Note in the statement').fill('for the summer');
    await amount.fill('1.234');
    await page.locator('dialog .fault', { hasText: 'Has two readings: write 1234 or 1,234' }).waitFor();
    await book.click();
    // The browser keeps a form that has a fault.
    expect(
      await amount.evaluate((input: { validity: { customError: boolean } }) => input.validity.customError),
    ).toBe(true);
    await amount.fill('1.048,25');
    const answer = page.waitForResponse((response) => response.url().endsWith('/adjustments'));
    await book.click();
    expect(await (await answer).json()).toMatchObject({ amount: { amount: '1048.25', currency: 'EUR' } });
    await page
      .getByRole('button', { name: /^Open / })
      .first()
      .click();
    await page.getByText('1.048,25\u00a0€').waitFor();
    await context.close();
  });

  test('an operator sees names beside the ids of the audit log, and invites a developer to one program, and reads which columns an import has', async () => {
    const page = await signIn(browser, platform, 'operator');
    await goTo(page, 'Audit log');
    await page
      .getByRole('cell', { name: /^Olga Operator user:\d+$/ })
      .first()
      .waitFor();
    await goTo(page, 'Users');
    await page.getByRole('button', { name: 'Invite a user' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Role').selectOption('advertiser');
    expect(await dialog.getByLabel('For').locator('option').allInnerTexts()).toEqual([
      platform.demo.program.name,
    ]);
    await closeDialog(page);
    await goTo(page, 'Imports');
    await page.getByLabel('Kind').selectOption('conversions');
    await page.getByText(/^Columns: order_id, .*link_code/).waitFor();
    await page.context().close();
  });
});
