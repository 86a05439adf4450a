import { readFileSync } from 'node:fs';
import { createContext, runInContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';

const SOURCE = readFileSync(fromProject('snippets/afflux.js'), 'utf8');
const ID = 'AbCdEfGhIjKlMnOpQrSt_-';
const OTHER = 'ZZZZZZZZZZZZZZZZZZZZZZ';

interface Afflux {
  clickId(): string | undefined;
  consent(given: boolean): void;
}

/** Loads a page: the snippet over a fake document with a cookie jar of one domain. */
function load(options: {
  url: string;
  data?: Record<string, string>;
  jar?: Map<string, string>;
  noScript?: boolean;
}) {
  const { url, data = {}, jar = new Map<string, string>(), noScript = false } = options;
  const written: string[] = [];
  const document = {
    addEventListener: () => undefined,
    querySelectorAll: () => [],
    currentScript: noScript
      ? null
      : { getAttribute: (name: string) => data[name.replace(/^data-/, '')] ?? null },
    get cookie() {
      return Array.from(jar, ([name, value]) => `${name}=${value}`).join('; ');
    },
    set cookie(text: string) {
      written.push(text);
      const [, name = '', value = ''] = /^([^=]*)=([^;]*)/.exec(text) ?? [];
      if (text.includes('Max-Age=0')) jar.delete(name);
      else jar.set(name, value);
    },
  };
  const { search, protocol } = new URL(url);
  const window: { afflux?: Afflux } = {};
  runInContext(SOURCE, createContext({ document, window, location: { search, protocol }, URLSearchParams }));
  if (!window.afflux) throw new Error('window.afflux is missing');
  return { afflux: window.afflux, written, jar };
}

describe('afflux.js', () => {
  it('is smaller than 5 KB', () => {
    expect(Buffer.byteLength(SOURCE)).toBeLessThan(5_000);
  });

  it('keeps the click id of the landing page for the checkout', () => {
    const landing = load({ url: `https://shop.test/p?a=1&click_id=${ID}` });
    expect(landing.written).toEqual([`aff_click=${ID}; Max-Age=2592000; Path=/; SameSite=Lax; Secure`]);
    expect(landing.afflux.clickId()).toBe(ID);
    const checkout = load({ url: 'https://shop.test/checkout', jar: landing.jar });
    expect(checkout.afflux.clickId()).toBe(ID);
    expect(checkout.written).toEqual([]);
  });

  it('lets the last click win, and finds its cookie among others', () => {
    const jar = new Map([
      ['x_aff_click', 'no'],
      ['aff_click', OTHER],
      ['z', '1'],
    ]);
    expect(load({ url: 'https://shop.test/', jar }).afflux.clickId()).toBe(OTHER);
    expect(load({ url: `https://shop.test/?click_id=${ID}`, jar }).afflux.clickId()).toBe(ID);
    expect(jar.get('aff_click')).toBe(ID);
  });

  it('follows its attributes; plain http has no Secure', () => {
    const data = { param: 'aff', days: '7', domain: 'shop.test' };
    const { written } = load({ url: `http://www.shop.test/?aff=${ID}&click_id=${OTHER}`, data });
    expect(written).toEqual([`aff_click=${ID}; Max-Age=604800; Path=/; SameSite=Lax; Domain=shop.test`]);
    const odd = load({ url: `https://shop.test/?click_id=${ID}`, data: { days: 'many' } });
    expect(odd.written[0]).toContain('Max-Age=2592000;');
  });

  it.each(['', 'short', `${ID}x`, `${ID.slice(1)};`, `${ID.slice(2)}%0d%0a`, '<script>alert(1)</scr'])(
    'stores nothing for %j',
    (value) => {
      const { afflux, written } = load({ url: `https://shop.test/?click_id=${value}` });
      expect(written).toEqual([]);
      expect(afflux.clickId()).toBeUndefined();
    },
  );

  it('stores nothing before consent where consent is asked for', () => {
    const page = load({ url: `https://shop.test/?click_id=${ID}`, data: { consent: 'manual' } });
    expect(page.written).toEqual([]);
    page.afflux.consent(false);
    expect(page.written).toEqual([]);
    page.afflux.consent(true);
    expect(page.jar.get('aff_click')).toBe(ID);
  });

  it('stores nothing for an unknown way of asking for consent', () => {
    for (const consent of ['gogle', 'constructor', 'true'])
      expect(load({ url: `https://shop.test/?click_id=${ID}`, data: { consent } }).written).toEqual([]);
  });

  it('forgets when consent is taken back', () => {
    const page = load({ url: `https://shop.test/?click_id=${ID}` });
    page.afflux.consent(false);
    expect([...page.jar]).toEqual([]);
    const next = load({ url: 'https://shop.test/checkout', jar: page.jar });
    expect(next.afflux.clickId()).toBeUndefined();
  });

  it('works with its defaults where the page loads it as a module or by hand', () => {
    const { written } = load({ url: `https://shop.test/?click_id=${ID}`, noScript: true });
    expect(written).toHaveLength(1);
  });
});
