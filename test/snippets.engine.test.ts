import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromProject } from '../core/config/paths.ts';
import { launchChromium, watchConsole } from './support/browser.ts';
import { waitFor } from './support/engines.ts';
import { findChromium, hasPhp } from './support/programs.ts';
import { type Shop, snippet, startShop } from './support/shop/pages.ts';

/** The snippets of docs/connect in a real browser: from the landing page to the order. */

const chromium = findChromium();
const ID = 'AbCdEfGhIjKlMnOpQrSt_-';
const OTHER = 'ZZZZZZZZZZZZZZZZZZZZZZ';
const LOADED = 'window.afflux !== undefined';

describe.skipIf(chromium === undefined)('in a browser', () => {
  let browser: Browser;
  const shops: Shop[] = [];
  beforeAll(async () => {
    browser = await launchChromium(chromium ?? '');
  });
  afterAll(async () => {
    await browser?.close();
    await Promise.all(shops.map((shop) => shop.stop()));
  });

  async function shopWith(head: (collectorUrl: string) => string): Promise<Shop> {
    const shop = await startShop({ head });
    shops.push(shop);
    return shop;
  }

  /** A visitor of its own, whose pages log no error. */
  async function visit(work: (page: Page, context: BrowserContext) => Promise<void>): Promise<void> {
    const context = await browser.newContext();
    const page = await context.newPage();
    const errors = watchConsole(page);
    await work(page, context);
    await context.close();
    expect(errors.filter((text) => !text.includes('favicon'))).toEqual([]);
  }

  const kept = async (context: BrowserContext): Promise<string | undefined> =>
    (await context.cookies()).find(({ name }) => name === 'aff_click')?.value;
  const script = (attributes: string) => (collectorUrl: string) =>
    `<script async src="${collectorUrl}/afflux.js" ${attributes}></script>`;

  async function order(page: Page, shop: Shop): Promise<string | null> {
    await page.getByRole('button', { name: 'Order' }).click();
    await page.waitForURL('**/order');
    return new URLSearchParams(shop.posts.at(-1)?.body).get('click_id');
  }

  for (const file of ['page.html', 'tag-manager.html']) {
    test(`${file}: landing page, another page, checkout, order`, async () => {
      // Tag Manager runs the scripts of a tag by making them again, with their text and their address alone.
      const inserted = (html: string) => `<script>addEventListener('load', () => {
        const holder = document.createElement('div');
        holder.innerHTML = ${JSON.stringify(html).replaceAll('</', '<\\/')};
        for (const one of holder.querySelectorAll('script')) {
          const script = document.createElement('script');
          if (one.src) script.src = one.src; else script.text = one.text;
          document.body.append(script);
        }
      })</script>`;
      const shop = await shopWith((collectorUrl) => {
        const text = snippet(file, collectorUrl);
        return file === 'page.html' ? text : inserted(text);
      });
      await visit(async (page, context) => {
        await page.goto(`${shop.url}/?click_id=${ID}`);
        await page.waitForFunction(LOADED);
        expect(await context.cookies()).toEqual([
          expect.objectContaining({
            name: 'aff_click',
            value: ID,
            domain: 'localhost',
            path: '/',
            sameSite: 'Lax',
          }),
        ]);
        await page.getByRole('link', { name: 'Other page' }).click();
        await page.getByRole('link', { name: 'Checkout' }).click();
        await page.waitForFunction(LOADED);
        // A form that the page makes late is filled when it is sent.
        await page.evaluate(`(() => {
          const form = document.querySelector('form');
          form.replaceWith(form.cloneNode(true));
          document.querySelector('form input').value = '';
        })()`);
        expect(await order(page, shop)).toBe(ID);
      });
      // A visitor by no link sends nothing, and one with a damaged id neither.
      await visit(async (page, context) => {
        await page.goto(`${shop.url}/checkout?click_id=${ID}x`);
        await page.waitForFunction(LOADED);
        expect([await order(page, shop), await kept(context)]).toEqual(['', undefined]);
      });
    });
  }

  test('data-links: links to the checkout of another host carry the id, all others stay', async () => {
    const shop = await shopWith(script('data-links="pay.example 127.0.0.1=client_reference_id"'));
    await visit(async (page) => {
      await page.goto(`${shop.url}/?click_id=${ID}`);
      await page.waitForFunction(LOADED);
      await page.getByRole('link', { name: 'Help' }).click();
      expect(page.url()).toBe(`${shop.url}/help?topic=1`);
      await page.waitForFunction(LOADED);
      await page.getByRole('link', { name: 'Pay elsewhere' }).click();
      expect(page.url()).toBe(`${shop.elsewhere}/pay?plan=1&client_reference_id=${ID}`);
    });
  });

  describe('consent', () => {
    const GTAG = 'window.dataLayer = window.dataLayer || []; function gtag(){dataLayer.push(arguments);}';
    /** Ways of asking, with what a page runs before the snippet, and what the banner then runs. */
    const ways = {
      manual: { before: '', yes: 'afflux.consent(true)', no: 'afflux.consent(false)' },
      google: {
        before: `${GTAG} gtag('consent', 'default', {ad_storage: 'granted', region: ['US']});
          gtag('consent', 'default', {ad_storage: 'denied'});`,
        yes: "gtag('consent', 'update', {ad_storage: 'granted'})",
        no: "gtag('consent', 'update', {ad_storage: 'denied'})",
      },
      // A stand-in of the IAB's __tcfapi, as version 2.2 documents it.
      tcf: {
        before: `const listeners = [];
          window.tell = (eventStatus, consents) => listeners.forEach((listener) =>
            listener({ eventStatus, gdprApplies: true, purpose: { consents } }, true));
          window.__tcfapi = (command, version, listener) => {
            listeners.push(listener);
            listener({ eventStatus: 'cmpuishown', gdprApplies: true, purpose: { consents: {} } }, true);
          };`,
        yes: "tell('useractioncomplete', { 1: true })",
        no: "tell('useractioncomplete', { 1: false, 2: true })",
      },
      // A stand-in of Shopify's customer privacy API.
      shopify: {
        before: `let allowed = false;
          window.decide = (marketingAllowed) => {
            allowed = marketingAllowed;
            document.dispatchEvent(new CustomEvent('visitorConsentCollected', { detail: { marketingAllowed } }));
          };
          window.Shopify = { loadFeatures(features, done) {
            window.Shopify.customerPrivacy = { marketingAllowed: () => allowed };
            done();
          } };`,
        yes: 'decide(true)',
        no: 'decide(false)',
      },
    };

    test.each(Object.entries(ways))('%s', async (mode, { before, yes, no }) => {
      const shop = await shopWith(
        (collectorUrl) =>
          `<script>${before}</script>${script(`data-fill data-consent="${mode}"`)(collectorUrl)}`,
      );
      const land = async (page: Page, query = `?click_id=${ID}`) => {
        await page.goto(`${shop.url}/${query}`);
        await page.waitForFunction(LOADED);
      };
      // Not decided, or refused: nothing is kept, nothing is sent.
      for (const decision of ['', no]) {
        await visit(async (page, context) => {
          await land(page);
          await page.evaluate(decision);
          expect(await kept(context)).toBeUndefined();
          expect(await page.evaluate('({ ...localStorage, ...sessionStorage })')).toEqual({});
          expect(await order(page, shop)).toBe('');
        });
      }
      await visit(async (page, context) => {
        await land(page);
        await page.evaluate(yes);
        expect(await kept(context)).toBe(ID);
        // On the next page nothing is decided until the banner has run: what was kept stays.
        await land(page, '');
        expect(await kept(context)).toBe(ID);
        await page.evaluate(yes);
        expect(await order(page, shop)).toBe(ID);
        await page.waitForFunction(LOADED);
        await page.evaluate(no);
        expect(await kept(context)).toBeUndefined();
        expect(await order(page, shop)).toBe('');
      });
    });

    test('of Google, where the page grants by default, and where no banner is', async () => {
      for (const [before, value] of [
        [`${GTAG} gtag('consent', 'default', {ad_storage: 'granted'});`, ID],
        [`${GTAG} gtag('js', new Date());`, undefined],
        ['', undefined],
      ] as const) {
        const shop = await shopWith(
          (collectorUrl) => `<script>${before}</script>${script('data-consent="google"')(collectorUrl)}`,
        );
        await visit(async (page, context) => {
          await page.goto(`${shop.url}/?click_id=${ID}`);
          await page.waitForFunction(LOADED);
          expect(await kept(context)).toBe(value);
        });
      }
    });
  });

  describe('Shopify', () => {
    const CONSENT = (allowed: boolean) => `window.Shopify = { routes: { root: '/de/' },
      customerPrivacy: { marketingAllowed: () => ${allowed} }, loadFeatures(features, done) { done(); } };`;
    const cartOf = ({ posts }: Shop) =>
      posts.filter(({ path }) => path === '/de/cart/update.js').map(({ body }) => JSON.parse(body));

    test('the snippet of the theme puts the id on the cart, once a page, and takes it off', async () => {
      const shop = await shopWith(
        (url) => `<script>${CONSENT(true)}</script>${snippet('shopify-theme.html', url)}`,
      );
      await visit(async (page) => {
        await page.goto(`${shop.url}/?click_id=${ID}`);
        await page.waitForFunction(LOADED);
        await expect.poll(() => cartOf(shop)).toEqual([{ attributes: { click_id: ID } }]);
        await page.getByRole('link', { name: 'Other page' }).click();
        await page.waitForFunction(LOADED);
        await expect.poll(() => cartOf(shop).length).toBe(2);
        await page.evaluate(
          "document.dispatchEvent(new CustomEvent('visitorConsentCollected', { detail: { marketingAllowed: false } }))",
        );
        await expect.poll(() => cartOf(shop).at(-1)).toEqual({ attributes: { click_id: '' } });
      });
    });

    test('without consent the cart has nothing', async () => {
      const shop = await shopWith(
        (url) => `<script>${CONSENT(false)}</script>${snippet('shopify-theme.html', url)}`,
      );
      await visit(async (page, context) => {
        await page.goto(`${shop.url}/?click_id=${ID}`);
        await page.waitForFunction(LOADED);
        await page.getByRole('link', { name: 'Other page' }).click();
        await page.waitForFunction(LOADED);
        expect([cartOf(shop), await kept(context)]).toEqual([[], undefined]);
      });
    });

    /**
     * A stand-in of Shopify's pixel manager: the pixel in a frame with the sandbox of custom pixels, with `analytics`,
     * `browser.cookie` and `init` as documented; cookies are set in the top frame.
     */
    const pixelManager = (pixel: string) => `<script>addEventListener('load', () => {
      addEventListener('message', ({ data }) => { if (data.cookie) document.cookie = data.cookie.replace('; Secure', ''); });
      const context = { document: { location: { href: location.href } } };
      const frame = document.createElement('iframe');
      frame.sandbox = 'allow-scripts allow-forms';
      frame.srcdoc = '<script>' +
        'const init = { context: ' + JSON.stringify(context) + ' };' +
        'const browser = { cookie: { set: async (text) => parent.postMessage({ cookie: text }, "*") } };' +
        'const analytics = { subscribe: (name, listener) => name === "page_viewed" && listener({ context: init.context }) };' +
        ${JSON.stringify(pixel).replaceAll('</', '<\\/')} + '<\\/script>';
      document.body.append(frame);
    })</script>`;

    test('the pixel keeps the id, and the snippet of the theme puts it on the cart of a later page', async () => {
      const shop = await shopWith(
        (url) =>
          `<script>${CONSENT(true)}</script>${snippet('shopify-theme.html', url).replace('<script', `<script data-param="unused"`)}${pixelManager(snippet('shopify-pixel.js', url))}`,
      );
      await visit(async (page, context) => {
        await page.goto(`${shop.url}/?click_id=${ID}`);
        await expect.poll(() => kept(context)).toBe(ID);
        await page.goto(`${shop.url}/?click_id=${OTHER}&more=1`);
        await expect.poll(() => kept(context)).toBe(OTHER);
        await page.getByRole('link', { name: 'Other page' }).click();
        await expect.poll(() => cartOf(shop).at(-1)).toEqual({ attributes: { click_id: OTHER } });
        expect(await kept(context)).toBe(OTHER);
      });
    });
  });

  describe.skipIf(!hasPhp())('the plugin for WooCommerce', () => {
    let server: ChildProcess;
    let url: string;
    beforeAll(async () => {
      const port = await freePort();
      url = `http://localhost:${port}`;
      const file = fromProject('test/support/shop/wordpress.php');
      server = spawn('php', ['-S', `localhost:${port}`, file], { stdio: 'ignore' });
      const isUp = () =>
        fetch(url).then(
          () => true,
          () => false,
        );
      await waitFor(isUp, { deadlineMs: 10_000, what: 'PHP' });
    });
    afterAll(() => server?.kill());

    const metaOf = async (page: Page, path = '/checkout') => {
      await page.goto(`${url}${path}`);
      return JSON.parse((await page.textContent('body')) ?? '') as unknown;
    };

    test('keeps the id and puts it into the order, by both checkouts', async () => {
      await visit(async (page, context) => {
        await page.goto(`${url}/product?a=1&click_id=${ID}`);
        expect(await context.cookies()).toEqual([
          expect.objectContaining({ value: ID, path: '/', httpOnly: true, sameSite: 'Lax' }),
        ]);
        const [{ expires = 0 } = {}] = await context.cookies();
        expect(Math.round((expires * 1_000 - Date.now()) / 86_400_000)).toBe(30);
        await page.goto(`${url}/other`);
        expect(await metaOf(page)).toEqual({ _afflux_click_id: ID });
        await page.goto(`${url}/?click_id=${OTHER}`);
        expect(await metaOf(page, '/block-checkout')).toEqual({ _afflux_click_id: OTHER });
      });
    });

    test('keeps and adds nothing without consent, and nothing that is no click id', async () => {
      await visit(async (page, context) => {
        await page.goto(`${url}/?click_id=${ID}&consent=no`);
        expect([await kept(context), await metaOf(page)]).toEqual([undefined, {}]);
      });
      const wrong = [
        '',
        'short',
        `${ID}%0A`,
        `${ID}x`,
        '<script>alert(1)</script>',
        `'; drop table x; --aaaaa`,
      ];
      for (const query of [
        ...wrong.map((text) => `click_id=${text}`),
        `click_id[]=${ID}`,
        `click_id[a][b]=${ID}`,
      ]) {
        await visit(async (page, context) => {
          await page.goto(`${url}/?${query}`);
          expect([query, await kept(context), await page.textContent('body')]).toEqual([
            query,
            undefined,
            '/',
          ]);
        });
      }
      // A cookie of somebody's own making neither; nor does a refusal after the click let the id through.
      await visit(async (page, context) => {
        await context.addCookies([{ name: 'aff_click', value: '<b>x</b>', url }]);
        expect(await metaOf(page)).toEqual({});
        await context.addCookies([{ name: 'aff_click', value: ID, url }]);
        expect(await metaOf(page, '/checkout?consent=no')).toEqual({});
        expect(await metaOf(page)).toEqual({ _afflux_click_id: ID });
      });
    });
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}
