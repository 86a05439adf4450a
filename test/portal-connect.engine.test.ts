import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hashPassword } from '../api/auth/passwords.ts';
import {
  type Sent,
  shopifyCall,
  shopifyOrder,
  stripeCall,
  stripeEvent,
  stripeSession,
  woocommerceCall,
  woocommerceOrder,
} from '../api/sources/kinds/example-events.ts';
import type { Role } from '../ledger/access/api-keys.ts';
import { createUser, setPassword } from '../ledger/access/users.ts';
import { connectDatabase, type Database } from '../ledger/postgres/db.ts';
import { createProgram, updateProgram } from '../ledger/programs/programs.ts';
import { enter, goTo, launchChromium, look, openPortal, watchConsole } from './support/browser.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { findChromium } from './support/programs.ts';

/**
 * A fresh platform, and what is connected to it in the portal: the events are of the shapes that the vendors document, made
 * up here, and sent as the vendors send them.
 */

const chromium = findChromium();
const FIREFOX = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';
const PASSWORD = 'several uncommon words';
const OLGA = { email: 'olga@shop.example', password: PASSWORD };
/** Of what a person does on the pages of this portal until the first order is credited, for one kind. */
const MOST_STEPS = 10;

describe.skipIf(chromium === undefined)('connecting a shop in a browser', () => {
  let platform: TestPlatform;
  let browser: Browser;
  let ledger: Database;
  let linkUrl: string;

  beforeAll(async () => {
    platform = await startPlatform({ demo: false });
    browser = await launchChromium(chromium ?? '');
    ledger = await connectDatabase({ url: platform.config.databaseUrl, max: 1, name: 'test' });
    linkUrl = await setUp(platform);
    // Visitors of this test order within a second of their click, which is a case for the review queue.
    await updateProgram(ledger, { id: 1, changes: { fraudRules: { instant_conversion: false } } });
  }, 90_000);
  afterAll(async () => {
    await ledger?.end();
    await browser?.close();
    await platform?.stop();
  });

  async function open(who = OLGA): Promise<Page> {
    const page = await openPortal(browser, platform);
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await enter(page, who);
    await page.getByRole('link', { name: 'Overview' }).waitFor({ state: 'attached' });
    return page;
  }

  async function user(role: Role, programId: number | null): Promise<typeof OLGA> {
    const email = `${role}-${programId}@shop.example`;
    const { id } = await createUser(ledger, { email, name: role, role, programId, affiliateId: null });
    await setPassword(ledger, { id, hash: await hashPassword(PASSWORD) });
    return { email, password: PASSWORD };
  }

  /** A visitor follows the link of a partner. @returns The click id with which it lands. */
  async function click(): Promise<string> {
    const visit = await fetch(linkUrl, { redirect: 'manual', headers: { 'user-agent': FIREFOX } });
    const id = new URL(visit.headers.get('location') ?? '').searchParams.get('click_id');
    expect([visit.status, id]).toEqual([302, expect.stringMatching(/^[\w-]{22}$/)]);
    return id ?? '';
  }

  async function send(url: string, { headers, body }: Sent): Promise<[number, Record<string, unknown>]> {
    const answer = await fetch(url, { method: 'POST', headers, body });
    return [answer.status, (await answer.json()) as Record<string, unknown>];
  }

  /** A page, with each act on it counted. */
  function person(page: Page) {
    let steps = 0;
    return {
      steps: () => steps,
      async press(name: string | RegExp, within: Pick<Page, 'getByRole'> = page) {
        steps++;
        await within.getByRole('button', { name }).click();
      },
      async write(label: string, text: string) {
        steps++;
        await page.getByLabel(label).fill(text);
      },
      async copy(what: string) {
        steps++;
        await page.getByRole('button', { name: `Copy ${what}` }).click();
        return await page.evaluate('navigator.clipboard.readText()').then(String);
      },
      async go(name: string) {
        steps++;
        await goTo(page, name);
      },
    };
  }

  async function connect(page: Page, { kind, name }: { kind: RegExp; name: string }) {
    const olga = person(page);
    await olga.go('Connect');
    await olga.press('Connect', page.locator('.page-head'));
    await olga.press(kind, page.getByRole('dialog'));
    await olga.write('Name', name);
    await olga.press('Connect', page.getByRole('dialog'));
    await page.getByRole('heading', { name, exact: true }).waitFor();
    await page.getByText('No call yet').waitFor();
    return olga;
  }

  /** The order, as it stands on the page of conversions a moment later. */
  async function isCredited(page: Page, orderId: string, olga: ReturnType<typeof person>): Promise<void> {
    await olga.go('Conversions');
    const row = page.locator('tr', { hasText: orderId });
    await row.getByText('Attributed').waitFor();
    expect(olga.steps()).toBeLessThanOrEqual(MOST_STEPS);
  }

  const call = (page: Page, text: string) => page.getByRole('row').filter({ hasText: text });

  describe('takes five minutes at the most, from a program without orders to a credited one', () => {
    let page: Page;
    let errors: string[];
    beforeAll(async () => {
      page = await open();
      errors = watchConsole(page);
    });
    afterAll(() => expect(errors).toEqual([]));

    test('Shopify', { timeout: 60_000 }, async () => {
      await page.getByRole('link', { name: 'Connect the shop' }).waitFor();
      const olga = await connect(page, { kind: /^Shopify/, name: 'My Shopify shop' });
      const url = await olga.copy('the URL');
      await olga.write('Secret from Shopify', 'shopify-shows-this');
      await olga.press('Save the secret');
      await page.getByText('The secret is set').waitFor();

      const test = {
        ...shopifyCall('orders/paid', shopifyOrder('820982911946154508'), 'shopify-shows-this'),
      };
      expect(
        await send(url, { ...test, headers: { ...test.headers, 'x-shopify-test': 'true' } }),
      ).toMatchObject([200, { status: 'ignored' }]);
      await call(page, 'it is a test notification').getByText('Ignored').waitFor();
      const note_attributes = [{ name: 'click_id', value: await click() }];
      const order = shopifyOrder('5001', { note_attributes });
      expect(await send(url, shopifyCall('orders/paid', order, 'shopify-shows-this'))).toMatchObject([
        200,
        { status: 'accepted' },
      ]);
      await call(page, '5001').getByText('Accepted').waitFor();
      await look(page, 'connect-shopify');
      await isCredited(page, '5001', olga);
    });

    test('WooCommerce', { timeout: 60_000 }, async () => {
      const olga = await connect(page, { kind: /^WooCommerce/, name: 'My WooCommerce shop' });
      const url = await olga.copy('the URL');
      const secret = await olga.copy('the secret');
      await look(page, 'connect-woocommerce');
      const ping = { headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'webhook_id=5' };
      expect(await send(url, ping)).toMatchObject([200, { status: 'ignored' }]);
      const meta_data = [{ key: '_afflux_click_id', value: await click() }];
      const order = woocommerceCall('order.created', woocommerceOrder(5002, { meta_data }), secret);
      expect(await send(url, order)).toMatchObject([200, { status: 'accepted' }]);
      await call(page, '5002').getByText('Accepted').waitFor();
      await isCredited(page, '5002', olga);
    });

    test('Stripe', { timeout: 60_000 }, async () => {
      const olga = await connect(page, { kind: /^Stripe/, name: 'My Stripe account' });
      const url = await olga.copy('the URL');
      await olga.write('Secret from Stripe', ' whsec_shown_by_stripe ');
      await olga.press('Save the secret');
      await page.getByText('The secret is set').waitFor();
      await look(page, 'connect-stripe');
      const session = stripeSession('5003', { client_reference_id: await click() });
      const event = stripeCall(stripeEvent('checkout.session.completed', session), 'whsec_shown_by_stripe');
      expect(await send(url, event)).toMatchObject([200, { status: 'accepted' }]);
      await call(page, 'pi_5003').getByText('Accepted').waitFor();
      await isCredited(page, 'pi_5003', olga);
    });

    test('Keitaro', { timeout: 60_000 }, async () => {
      const olga = await connect(page, { kind: /^Keitaro/, name: 'My Keitaro' });
      const template = await olga.copy('the URL');
      await look(page, 'connect-keitaro');
      // As Keitaro fills in its placeholders.
      const values = { external_id: await click(), status: 'sale', revenue: '12.5', tid: 'K-5004' };
      const url = Object.entries(values).reduce(
        (text, [name, value]) => text.replace(`{${name}}`, value),
        template,
      );
      expect(url).not.toMatch(/[{}]/);
      expect((await fetch(url)).status).toBe(200);
      await call(page, 'K-5004').getByText('Accepted').waitFor();
      await isCredited(page, 'K-5004', olga);
    });
  });

  test('a shop of another kind: its calls are stored, a mapping is tried on one, saved, and they are done', {
    timeout: 60_000,
  }, async () => {
    const page = await open();
    const olga = await connect(page, { kind: /^Anything/, name: '<img src=x onerror=alert(1)> "&amp;' });
    const url = await olga.copy('the URL');
    const body = JSON.stringify({
      cart: { nr: 6001, cents: 2990, entry: `https://shop.example/?click_id=${await click()}` },
    });
    const headers = { 'content-type': 'application/json' };
    expect(await send(url, { headers, body })).toMatchObject([202, { status: 'stored' }]);
    await page.getByRole('row').getByText('Refused').waitFor();
    await look(page, 'connect-anything');

    // An example is read as a call is, and recorded nowhere.
    await page.getByRole('button', { name: 'Try an example' }).click();
    await page.getByText('It would be recorded').waitFor();
    await look(page, 'connect-example');
    await page.getByRole('button', { name: 'Close' }).click();

    await page.getByRole('button', { name: /^Open call/ }).click();
    await page.getByText('It would be refused').waitFor();
    await page.getByText('"nr": 6001').waitFor();
    await look(page, 'connect-call');
    await page.getByRole('button', { name: 'Close' }).click();

    await page.getByRole('button', { name: 'Change' }).click();
    const mapping = page.getByLabel('Mapping (JSON)');
    const save = page.getByRole('button', { name: 'Save', exact: true });
    await mapping.fill('{"fields": ');
    await page.getByRole('button', { name: 'Try', exact: true }).click();
    await page.locator('.fault', { hasText: 'JSON' }).waitFor();
    await mapping.fill('{"fields": {"order_id": "a..b"}, "rules": [{"does": "approved"}]}');
    await page.getByRole('button', { name: 'Try', exact: true }).click();
    await page.locator('.fault', { hasText: 'order_id' }).waitFor();
    expect(await save.isDisabled()).toBe(true);
    await mapping.fill(
      JSON.stringify({
        fields: {
          order_id: 'cart.nr',
          amount: { from: 'cart.cents', units: 'minor' },
          click_id: 'cart.entry?click_id',
        },
        rules: [{ when: { cart: true }, does: 'approved' }],
      }),
    );
    await page.getByLabel('Try it on').selectOption({ index: 1 });
    await page.getByRole('button', { name: 'Try', exact: true }).click();
    await page.getByText('It would be recorded').waitFor();
    await page.getByText('29.90').waitFor();
    await look(page, 'connect-mapping');
    await save.click();
    await page.getByText('When cart is there: approved').waitFor();

    await page.getByRole('button', { name: 'Do refused calls again' }).click();
    await page.getByText('1 accepted').waitFor();
    await page.getByText('Done since').waitFor();
    await goTo(page, 'Conversions');
    await page.locator('tr', { hasText: '6001' }).getByText('Attributed').waitFor();
    await page.context().close();
  });

  test('a wrong secret is seen at once; a secret is not shown again; two tabs do not undo each other', {
    timeout: 60_000,
  }, async () => {
    const page = await open();
    const olga = await connect(page, { kind: /^WooCommerce/, name: 'Two tabs' });
    const url = await olga.copy('the URL');
    const secret = await olga.copy('the secret');
    const order = woocommerceCall('order.created', woocommerceOrder(7001), 'another secret');
    expect((await send(url, order))[0]).toBe(401);
    await page.getByRole('row').getByText('not signed with the secret').waitFor();
    expect(await page.getByRole('button', { name: /^Do it again/ }).count()).toBe(0);

    await page.reload();
    await page.getByText('The secret was shown once').waitFor();
    expect(await page.content()).not.toContain(secret);
    const stored = await page.evaluate(
      'JSON.stringify([{...localStorage}, {...sessionStorage}, history.state])',
    );
    expect(String(stored)).not.toContain(secret);

    const other = await page.context().newPage();
    await other.goto(page.url());
    await other.getByRole('button', { name: 'Rename' }).click();
    await other.getByRole('textbox', { name: 'Name' }).fill('Renamed in the second tab');
    await page.getByRole('button', { name: 'Switch off' }).click();
    await page.getByText('Switched off').waitFor();
    await other.getByRole('button', { name: 'Rename', exact: true }).last().click();
    await other.getByText('Changed by another user').waitFor();
    await other.getByRole('button', { name: 'Close' }).click();
    await other.getByRole('button', { name: 'Switch on' }).click();
    await other.getByRole('button', { name: 'Switch off' }).waitFor();

    await page.getByRole('button', { name: 'New secret' }).click();
    await page.getByRole('button', { name: 'Confirm the new secret' }).click();
    await page.getByText('The secret before is right as well until').waitFor();
    const next = await olga.copy('the secret');
    expect(next).not.toBe(secret);
    for (const [id, one] of [
      [7002, secret],
      [7003, next],
    ] as const) {
      const signed = woocommerceCall('order.created', woocommerceOrder(id), one);
      expect(await send(url, signed)).toMatchObject([200, { status: 'accepted' }]);
    }
    await call(page, '7003').getByText('Accepted').waitFor();

    await page.getByRole('button', { name: 'Delete' }).click();
    await look(page, 'connect-delete');
    await page.getByRole('button', { name: 'Delete the source' }).click();
    await page.getByRole('heading', { name: 'Connect', exact: true }).waitFor();
    await other.reload();
    await other.getByText('Not found').waitFor();
    expect((await send(url, order))[0]).toBe(404);
    await page.context().close();
  });

  test('a call of a megabyte is listed, opened and cut', { timeout: 60_000 }, async () => {
    const page = await open();
    const olga = await connect(page, { kind: /^Anything/, name: 'A large shop' });
    const url = await olga.copy('the URL');
    const filler = '<b>x</b>'.repeat(130_000);
    const body = JSON.stringify({ order_id: '8001', amount: '1.00', filler: filler.slice(0, 1_048_000) });
    expect(await send(url, { headers: { 'content-type': 'application/json' }, body })).toMatchObject([
      200,
      { status: 'accepted' },
    ]);
    await call(page, '8001').getByText('Accepted').waitFor();
    await page.getByRole('button', { name: /^Open call/ }).click();
    await page.getByText('The first 20,000 of 1,048,').waitFor().catch(async (e) => { console.log((await page.locator('dialog').innerText()).slice(0, 2000)); throw e; });
    expect(await page.locator('dialog b').count()).toBe(0);
    await page.context().close();
  });

  test('the list, the code for the pages, and who sees what', { timeout: 60_000 }, async () => {
    const page = await open();
    const errors = watchConsole(page);
    await goTo(page, 'Connect');
    await page.getByRole('row').filter({ hasText: 'My Shopify shop' }).waitFor();
    for (const [name, text] of [
      ['Any page', `src="${platform.collectorUrl}/afflux.js" data-fill`],
      ['Google Tag Manager', `${platform.collectorUrl}/afflux.js`],
      ['Shopify theme', 'data-cart="shopify"'],
      ['Shopify pixel', 'analytics.subscribe'],
      ['WooCommerce plugin', 'woocommerce_checkout_create_order'],
    ] as const) {
      await page.getByRole('button', { name, exact: true }).click();
      expect(await person(page).copy(`the code for ${name}`)).toContain(text);
    }
    await look(page, 'connect-list');
    await page.getByRole('button', { name: 'Connect', exact: true }).click();
    await look(page, 'connect-kinds');
    await page.getByRole('button', { name: 'Close' }).click();
    expect(errors).toEqual([]);

    // Another program: an operator of all is led there, an advertiser of the other finds nothing.
    const second = await createProgram(ledger, { name: 'Second', currency: 'EUR' });
    const source = await page.getByRole('link', { name: 'Open My Shopify shop' }).getAttribute('href');
    await page.reload();
    await page.getByLabel('Program').selectOption({ label: 'Second' });
    await page.getByText('Nothing is connected yet').waitFor();
    await look(page, 'connect-empty');
    await page.goto(`${platform.apiUrl}${source}`);
    await page.getByText('This source belongs to another program').waitFor();
    await page.getByRole('button', { name: 'Go to My shop' }).click();
    await page.getByRole('heading', { name: 'My Shopify shop' }).waitFor();

    const strangers = await open(await user('advertiser', second.id));
    await strangers.goto(`${platform.apiUrl}${source}`);
    await strangers.getByText('Not found').waitFor();
    await strangers.goto(`${platform.apiUrl}/portal/connect/%E0%A4%A`);
    await strangers.getByText(/Not found|Invalid input/).waitFor();
    const shop = await open(await user('advertiser', 1));
    await goTo(shop, 'Connect');
    await shop.getByRole('link', { name: 'Open My Keitaro' }).click();
    await shop.getByRole('button', { name: 'Switch off' }).waitFor();
    const finance = await open(await user('finance', 1));
    expect(await finance.getByRole('link', { name: 'Connect', exact: true }).count()).toBe(0);
    await finance.goto(`${platform.apiUrl}${source}`);
    await finance.getByText('Not permitted for your role').first().waitFor();
    const contexts: BrowserContext[] = [page, strangers, shop, finance].map((one) => one.context());
    await Promise.all(contexts.map((one) => one.close()));
  });
});

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
