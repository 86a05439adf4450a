import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../core/errors.ts';
import { isAllowedHost, parseDestination } from '../../core/links/destination.ts';
import { MACRO_NAMES, type MacroName, parseUrlTemplate } from '../../core/links/macros.ts';
import { compileRedirectUrl, fillRedirectUrl, withClickId } from './redirect-url.ts';

const compile = (url: string, appendClickId = true) =>
  compileRedirectUrl(parseUrlTemplate(url, 'url'), { appendClickId });
const finish = (url: string, values: Partial<Record<MacroName, string>> = {}) =>
  withClickId(
    fillRedirectUrl(compile(url), '', (macro) => values[macro] ?? ''),
    'ID',
  );

/** Undefined when the URL is refused. */
function refusedOr<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof InputError) return undefined;
    throw error;
  }
}

describe('redirect URL', () => {
  it.each([
    ['https://shop.test', 'https://shop.test/?click_id=ID'],
    ['https:///shop.test\\p', 'https://shop.test/p?click_id=ID'],
    ['https://shop.test/p', 'https://shop.test/p?click_id=ID'],
    ['https://shop.test/p?a=1', 'https://shop.test/p?a=1&click_id=ID'],
    ['https://shop.test/p?', 'https://shop.test/p?click_id=ID'],
    ['https://shop.test/p?a=1&', 'https://shop.test/p?a=1&click_id=ID'],
    ['https://shop.test/p#top', 'https://shop.test/p?click_id=ID#top'],
    ['https://shop.test/p?a=1#top', 'https://shop.test/p?a=1&click_id=ID#top'],
    ['https://shop.test/p?s={sub1}#{sub2}', 'https://shop.test/p?s=S%201&click_id=ID#'],
    ['https://shop.test/{sub1}', 'https://shop.test/S%201?click_id=ID'],
    ['https://shop.test/{click_id}/x', 'https://shop.test/ID/x'],
    ['https://shop.test/?c={click_id}&d={click_id}', 'https://shop.test/?c=ID&d=ID'],
  ])('fills %s', (url, expected) => {
    expect(finish(url, { sub1: 'S 1' })).toBe(expected);
  });

  it('appends no click id when not asked', () => {
    expect(compile('https://shop.test/p', false).template.literals).toEqual(['https://shop.test/p']);
  });

  it('an affiliate and a visitor who choose spelling and values together never leave the allowed hosts', {
    tags: ['attack'],
  }, () => {
    const allowedHosts = ['shop.test', '*.sub.test', 'xn--shp-tna.test'];
    const macro = fc.constantFrom(...MACRO_NAMES.map((name) => `{${name}}`));
    const host = fc.constantFrom(
      'shop.test',
      'www.shop.test',
      'a.sub.test',
      'evil.test',
      'SHÖP.test',
      '127.1',
    );
    const slip = fc.constantFrom(
      '',
      '',
      '/',
      '\\',
      '//',
      '@',
      ':',
      '.',
      '%2f',
      '%40',
      '?',
      '#',
      '\t',
      '\u3002',
      '[',
      ' ',
    );
    const scheme = fc.constantFrom(
      'https:',
      'HTTP:',
      'https:/',
      'https://',
      'https:///',
      'http:\\',
      '//',
      'javascript:',
    );
    const part = fc.oneof(macro, host, slip, fc.string({ maxLength: 3 }));
    const spelling = fc
      .tuple(scheme, fc.array(part, { maxLength: 3 }), host, fc.array(part, { maxLength: 6 }))
      .map(([start, before, name, after]) => [start, ...before, name, ...after].join(''));
    const values = fc.dictionary(
      fc.constantFrom(...MACRO_NAMES),
      fc.oneof(fc.string({ unit: 'binary', maxLength: 20 }), part),
    );
    let accepted = 0;
    fc.assert(
      fc.property(spelling, values, (url, chosen) => {
        const destination = refusedOr(() => parseDestination(url, { field: 'url', allowedHosts }));
        if (!destination) return;
        accepted++;
        const sent = finish(destination.url, chosen);
        expect(sent).toMatch(/^https?:\/\/[\x21-\x7e]+$/);
        // What the browser makes of the Location header.
        const { hostname, username, password } = new URL(sent);
        expect([hostname, username, password]).toEqual([destination.host, '', '']);
        expect(isAllowedHost(hostname, allowedHosts)).toBe(true);
      }),
      { numRuns: 5_000 },
    );
    expect(accepted).toBeGreaterThan(200);
  });

  it('keeps every value inside its place, whatever it holds', () => {
    const macros = MACRO_NAMES.filter((name) => name !== 'click_id' && name !== 'query');
    const url = `https://shop.test/p?${macros.map((name) => `${name}={${name}}`).join('&')}`;
    const anything = fc.string({ unit: 'binary', maxLength: 40 });
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...macros), anything), (values) => {
        const filled = withClickId(
          fillRedirectUrl(compile(url), '', (macro) => values[macro] ?? ''),
          'ID',
        );
        // Visible ASCII only: nothing can end a header line or open a new parameter.
        expect(filled).toMatch(/^[\x21-\x7e]+$/);
        const back = new URL(filled).searchParams;
        for (const name of macros) expect(back.get(name)).toBe((values[name] ?? '').toWellFormed());
        expect([...back.keys()]).toEqual([...macros, 'click_id']);
      }),
    );
  });
});
