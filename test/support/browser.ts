import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { expect } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import type { TestPlatform } from './platform.ts';

/** A real Chromium for the portal's tests. */

/** Whether pages are walked through in full: every act, both themes, with pictures. By default the main ways only. */
export const ALL_PAGES = process.env.AFFLUX_TEST_PAGES === '1';

/** Pictures of every page, to be looked at; not kept in the repository. */
const PICTURES = fromProject('.afflux/pictures');

export async function launchChromium(executablePath: string): Promise<Browser> {
  return await chromium.launch({
    executablePath,
    args: [
      '--disable-background-networking',
      // Its sandbox refuses to run as root.
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
    ],
  });
}

/** Errors and warnings of a page's console; a good page leaves it empty. */
export function watchConsole(page: Page): string[] {
  const errors: string[] = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) errors.push(`${page.url()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => errors.push(`${page.url()}: ${error.message}`));
  return errors;
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What axe finds wrong with a page for those who cannot see it or use no mouse: serious and critical faults. */
export async function accessibilityFaults(page: Page): Promise<string[]> {
  await page.evaluate(axeSource);
  return await page.evaluate(async () => {
    const axe = (globalThis as unknown as { axe: { run(): Promise<{ violations: AxeViolation[] }> } }).axe;
    const { violations } = await axe.run();
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).join(', ')}`);
  });
}

interface AxeViolation {
  readonly id: string;
  readonly impact: string;
  readonly nodes: readonly { readonly target: readonly string[] }[];
}

/** With {@link ALL_PAGES} only: a whole page takes Chromium 0.2 s. */
export async function takePicture(page: Page, name: string): Promise<void> {
  if (!ALL_PAGES) return;
  mkdirSync(PICTURES, { recursive: true });
  await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });
}

/** At which every page is looked at. */
export const SIZES = { desk: { width: 1440, height: 900 }, phone: { width: 390, height: 844 } } as const;
/** For what a page shows to arrive, on a slow machine that runs three tests at once. */
export const ARRIVE_MS = 45_000;

/** The sign-in page of the portal, for a visitor of its own. */
export async function openPortal(browser: Browser, { apiUrl }: Pick<TestPlatform, 'apiUrl'>): Promise<Page> {
  const context = await browser.newContext({ baseURL: `${apiUrl}/portal/`, viewport: SIZES.desk });
  const page = await context.newPage();
  page.setDefaultTimeout(ARRIVE_MS);
  await page.goto('');
  return page;
}

export async function enter(
  page: Page,
  { email, password }: { readonly email: string; readonly password: string },
): Promise<void> {
  await page.getByLabel('E-mail address').fill(email);
  await page.getByLabel('Password', { exact: true }).fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

/** The overview of somebody of the demo. */
export async function signIn(
  browser: Browser,
  platform: TestPlatform,
  who: 'partner' | 'operator',
): Promise<Page> {
  const page = await openPortal(browser, platform);
  await enter(page, platform.demo.portal[who]);
  await page.getByRole('link', { name: 'Overview' }).waitFor({ state: 'attached' });
  return page;
}

/** Follows the menu to a page. */
export async function goTo(page: Page, name: string): Promise<void> {
  const menu = page.getByRole('navigation', { name: 'Pages' });
  await menu.getByRole('link', { name, exact: true }).click();
}

/** A picture at each size; nothing is wider than a phone, and a screen reader finds its way. */
export async function look(page: Page, name: string): Promise<void> {
  for (const [size, viewport] of Object.entries(SIZES)) {
    await page.setViewportSize(viewport);
    await takePicture(page, `${name}-${size}`);
    const width = Number(await page.evaluate('document.documentElement.scrollWidth'));
    expect([name, size, width <= viewport.width]).toEqual([name, size, true]);
    expect([name, size, await accessibilityFaults(page)]).toEqual([name, size, []]);
  }
  await page.setViewportSize(SIZES.desk);
}

/** Closes the open dialog, and waits until its entry of the history is left: a reload in this moment would be aborted. */
export async function closeDialog(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Close' }).click();
  await expect.poll(async () => await page.evaluate('history.state?.dialog === true')).toBe(false);
}
