import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  shopifyCall,
  shopifyOrder,
  stripeCall,
  stripeEvent,
  stripeSession,
  woocommerceCall,
  woocommerceOrder,
} from '../api/sources/kinds/example-events.ts';
import { ARRIVE_MS, watchConsole } from './support/browser.ts';
import {
  connect,
  type FreshPortal,
  lineOf,
  type Person,
  STOP_MS,
  send,
  startFreshPortal,
} from './support/portal/fresh.ts';
import { findChromium } from './support/programs.ts';

/**
 * Five minutes: from a fresh platform to a credited order, by the pages of the portal alone. The events are of the shapes that
 * the vendors document, made up here, and sent as the vendors send them.
 */

const chromium = findChromium();
/** What a person does on the pages of the portal until the first order of a kind is seen as credited. */
const MOST_STEPS = 9;

describe.skipIf(chromium === undefined)(
  'from a program without orders to a credited one, without code',
  () => {
    let portal: FreshPortal;
    let page: Page;
    let errors: string[];
    beforeAll(async () => {
      portal = await startFreshPortal(chromium ?? '');
      page = await portal.open();
      errors = watchConsole(page);
    });
    afterAll(async () => {
      await portal?.stop();
      expect(errors).toEqual([]);
    }, STOP_MS);

    /** The order, as it stands on the page of conversions a moment later. */
    async function isCredited(orderId: string, olga: Person): Promise<void> {
      await expect
        .poll(() => portal.ledger`select state from conversions where order_id = ${orderId}`, {
          timeout: ARRIVE_MS,
        })
        .toEqual([{ state: 'attributed' }]);
      await olga.go('Conversions');
      await page.locator('tr', { hasText: orderId }).getByText('Attributed').waitFor();
      expect(olga.steps()).toBeLessThanOrEqual(MOST_STEPS);
    }

    test('Shopify', async () => {
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
      await lineOf(page, 'it is a test notification').getByText('Ignored').waitFor();
      const note_attributes = [{ name: 'click_id', value: await portal.click() }];
      const order = shopifyOrder('5001', { note_attributes });
      expect(await send(url, shopifyCall('orders/paid', order, 'shopify-shows-this'))).toMatchObject([
        200,
        { status: 'accepted' },
      ]);
      await lineOf(page, '5001').getByText('Accepted').waitFor();
      await isCredited('5001', olga);
    });

    test('WooCommerce', async () => {
      const olga = await connect(page, { kind: /^WooCommerce/, name: 'My WooCommerce shop' });
      const url = await olga.copy('the URL');
      const secret = await olga.copy('the secret');
      const ping = { headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'webhook_id=5' };
      expect(await send(url, ping)).toMatchObject([200, { status: 'ignored' }]);
      const meta_data = [{ key: '_afflux_click_id', value: await portal.click() }];
      const order = woocommerceCall('order.created', woocommerceOrder(5002, { meta_data }), secret);
      expect(await send(url, order)).toMatchObject([200, { status: 'accepted' }]);
      await lineOf(page, '5002').getByText('Accepted').waitFor();
      await isCredited('5002', olga);
    });

    test('Stripe', async () => {
      const olga = await connect(page, { kind: /^Stripe/, name: 'My Stripe account' });
      const url = await olga.copy('the URL');
      await olga.write('Secret from Stripe', ' whsec_shown_by_stripe ');
      await olga.press('Save the secret');
      await page.getByText('The secret is set').waitFor();
      const session = stripeSession('5003', { client_reference_id: await portal.click() });
      const event = stripeCall(stripeEvent('checkout.session.completed', session), 'whsec_shown_by_stripe');
      expect(await send(url, event)).toMatchObject([200, { status: 'accepted' }]);
      await lineOf(page, 'pi_5003').getByText('Accepted').waitFor();
      await isCredited('pi_5003', olga);
    });

    test('Keitaro', async () => {
      const olga = await connect(page, { kind: /^Keitaro/, name: 'My Keitaro' });
      const template = await olga.copy('the URL');
      // As Keitaro fills in its placeholders.
      const values = { external_id: await portal.click(), status: 'sale', revenue: '12.5', tid: 'K-5004' };
      const url = Object.entries(values).reduce(
        (text, [name, value]) => text.replace(`{${name}}`, value),
        template,
      );
      expect(url).not.toMatch(/[{}]/);
      expect((await fetch(url)).status).toBe(200);
      await lineOf(page, 'K-5004').getByText('Accepted').waitFor();
      await isCredited('K-5004', olga);
    });
  },
);
