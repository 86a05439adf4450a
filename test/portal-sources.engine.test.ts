import type { BrowserContext } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hashPassword } from '../api/auth/passwords.ts';
import { woocommerceCall, woocommerceOrder } from '../api/sources/kinds/example-events.ts';
import type { Role } from '../ledger/access/api-keys.ts';
import { createUser, setPassword } from '../ledger/access/users.ts';
import { createProgram } from '../ledger/programs/programs.ts';
import { ALL_PAGES, closeDialog, goTo, look, watchConsole } from './support/browser.ts';
import {
  connect,
  type FreshPortal,
  lineOf,
  PASSWORD,
  personAt,
  STOP_MS,
  send,
  startFreshPortal,
} from './support/portal/fresh.ts';
import { findChromium } from './support/programs.ts';

/** The pages of sources: how they look, what is tried and repeated on them, and who may not. */

const chromium = findChromium();

describe.skipIf(chromium === undefined || !ALL_PAGES)('the pages of sources in a browser', () => {
  let portal: FreshPortal;
  beforeAll(async () => {
    portal = await startFreshPortal(chromium ?? '');
  });
  afterAll(() => portal?.stop(), STOP_MS);

  async function user(role: Role, programId: number | null): Promise<{ email: string; password: string }> {
    const email = `${role}-${programId}@shop.example`;
    const { id } = await createUser(portal.ledger, { email, name: role, role, programId, affiliateId: null });
    await setPassword(portal.ledger, { id, hash: await hashPassword(PASSWORD) });
    return { email, password: PASSWORD };
  }

  test.each([
    ['Shopify', 'Secret from Shopify'],
    ['WooCommerce', 'Copy it now: it is shown once.'],
    ['Stripe', 'data-links="buy.stripe.com=client_reference_id"'],
    ['Keitaro', '?subid={external_id}&status={status}&payout={revenue}&tid={tid}'],
    ['Voluum', '?cid=CLICK_ID&payout=AMOUNT&txid=ORDER_ID&et=EVENT'],
    ['TUNE', 'security_token'],
  ])('%s: what to do there', async (title, text) => {
    const page = await portal.open();
    const errors = watchConsole(page);
    await connect(page, { kind: new RegExp(`^${title}`), name: `My ${title}` });
    await page.getByText(text).waitFor();
    await page.getByText('Which calls do what').click();
    await look(page, `connect-${title.toLowerCase()}`);
    expect(errors).toEqual([]);
    await page.context().close();
  });

  test('a shop of another kind: its calls are stored, a mapping is tried on one, saved, and they are done', async () => {
    const page = await portal.open();
    const olga = await connect(page, { kind: /^Anything/, name: '<img src=x onerror=alert(1)> "&amp;' });
    const url = await olga.copy('the URL');
    const body = JSON.stringify({
      cart: { nr: 6001, cents: 2990, entry: `https://shop.example/?click_id=${await portal.click()}` },
    });
    const headers = { 'content-type': 'application/json' };
    expect(await send(url, { headers, body })).toMatchObject([202, { status: 'stored' }]);
    await page.getByRole('row').getByText('Refused').waitFor();
    await look(page, 'connect-anything');

    // An example is read as a call is, and recorded nowhere.
    await page.getByRole('button', { name: 'Try an example' }).click();
    await page.getByText('It would be recorded').waitFor();
    await look(page, 'connect-example');
    await closeDialog(page);

    await page.getByRole('button', { name: /^Open call/ }).click();
    await page.getByText('It would be refused').waitFor();
    await page.getByText('"nr": 6001').waitFor();
    await look(page, 'connect-call');
    await closeDialog(page);

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

  test('a wrong secret is seen at once; a secret is not shown again; two tabs do not undo each other', async () => {
    const page = await portal.open();
    const olga = await connect(page, { kind: /^WooCommerce/, name: 'Two tabs' });
    const url = await olga.copy('the URL');
    const secret = await olga.copy('the secret');
    const order = woocommerceCall('order.created', woocommerceOrder(7001), 'another secret');
    expect(await send(url, order)).toMatchObject([202, { status: 'stored' }]);
    await page.getByRole('row').getByText('not signed with the secret').waitFor();
    expect(await page.getByRole('button', { name: /^Do it again/ }).count()).toBe(1);

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
    await closeDialog(other);
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
    await lineOf(page, '7003').getByText('Accepted').waitFor();

    // Where the webhook was made in the shop first, its secret is there already.
    await page.getByRole('button', { name: 'Enter a secret that exists' }).click();
    await page.getByLabel('Secret from WooCommerce').fill('made by the shop');
    await page.getByRole('button', { name: 'Save the secret' }).click();
    await page.getByLabel('Secret from WooCommerce').waitFor({ state: 'detached' });
    const ofShop = woocommerceCall('order.created', woocommerceOrder(7004), 'made by the shop');
    expect(await send(url, ofShop)).toMatchObject([200, { status: 'accepted' }]);

    await page.getByRole('button', { name: 'Delete' }).click();
    await look(page, 'connect-delete');
    await page.getByRole('button', { name: 'Delete the source' }).click();
    await page.getByRole('heading', { name: 'Connect', exact: true }).waitFor();
    await other.reload();
    await other.getByText('Not found').waitFor();
    expect((await send(url, order))[0]).toBe(404);
    await page.context().close();
  });

  test('a call of a megabyte is listed, opened and cut', async () => {
    const page = await portal.open();
    const olga = await connect(page, { kind: /^Anything/, name: 'A large shop' });
    const url = await olga.copy('the URL');
    // A megabyte less the rest of it.
    const body = JSON.stringify({ order_id: '8001', amount: '1.00', filler: '<b>x</b>'.repeat(131_000) });
    expect(await send(url, { headers: { 'content-type': 'application/json' }, body })).toMatchObject([
      200,
      { status: 'accepted' },
    ]);
    await lineOf(page, '8001').getByText('Accepted').waitFor();
    await page.getByRole('button', { name: /^Open call/ }).click();
    await page.getByText('The first 20,000 of 1,048,').waitFor();
    expect(await page.locator('dialog b').count()).toBe(0);
    await page.context().close();
  });

  test('the list, the code for the pages, and who sees what', async () => {
    const page = await portal.open();
    const errors = watchConsole(page);
    await goTo(page, 'Connect');
    await page.getByRole('row').filter({ hasText: 'My Shopify' }).waitFor();
    for (const [name, text] of [
      ['Any page', `src="${portal.platform.collectorUrl}/afflux.js" data-fill`],
      ['Google Tag Manager', `${portal.platform.collectorUrl}/afflux.js`],
      ['Shopify theme', 'data-cart="shopify"'],
      ['Shopify pixel', 'analytics.subscribe'],
      ['WooCommerce plugin', 'woocommerce_checkout_create_order'],
    ] as const) {
      await page.getByRole('button', { name, exact: true }).click();
      expect(await personAt(page).copy(`the code for ${name}`)).toContain(text);
    }
    await look(page, 'connect-list');
    await page.getByRole('button', { name: 'Connect', exact: true }).click();
    await look(page, 'connect-kinds');
    await closeDialog(page);
    expect(errors).toEqual([]);

    // Another program: an operator of all is led there, an advertiser of the other finds nothing.
    const second = await createProgram(portal.ledger, { name: 'Second', currency: 'EUR' });
    const source = await page.getByRole('link', { name: 'Open My Shopify' }).getAttribute('href');
    await page.reload();
    await page.getByLabel('Program').selectOption({ label: 'Second' });
    await page.getByText('Nothing is connected yet').waitFor();
    await look(page, 'connect-empty');
    await page.goto(`${portal.platform.apiUrl}${source}`);
    await page.getByText('This source belongs to another program').waitFor();
    await page.getByRole('button', { name: 'Go to My shop' }).click();
    await page.getByRole('heading', { name: 'My Shopify' }).waitFor();

    const strangers = await portal.open(await user('advertiser', second.id));
    await strangers.goto(`${portal.platform.apiUrl}${source}`);
    await strangers.getByText('Not found').waitFor();
    const shop = await portal.open(await user('advertiser', 1));
    await goTo(shop, 'Connect');
    await shop.getByRole('link', { name: 'Open My Keitaro' }).click();
    await shop.getByRole('button', { name: 'Switch off' }).waitFor();
    const finance = await portal.open(await user('finance', 1));
    expect(await finance.getByRole('link', { name: 'Connect', exact: true }).count()).toBe(0);
    await finance.goto(`${portal.platform.apiUrl}${source}`);
    await finance.getByText('Not permitted for your role').first().waitFor();
    const contexts: BrowserContext[] = [page, strangers, shop, finance].map((one) => one.context());
    await Promise.all(contexts.map((one) => one.close()));
  });
});
