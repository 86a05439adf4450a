import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MACRO_NAMES, type MacroName, parseUrlTemplate } from '../../core/links/macros.ts';
import { compileRedirectUrl, fillRedirectUrl, withClickId } from './redirect-url.ts';

const compile = (url: string, appendClickId = true) =>
  compileRedirectUrl(parseUrlTemplate(url, 'url'), { appendClickId });
const finish = (url: string, values: Partial<Record<MacroName, string>> = {}) =>
  withClickId(
    fillRedirectUrl(compile(url), (macro) => values[macro] ?? ''),
    'ID',
  );

describe('redirect URL', () => {
  it.each([
    ['https://shop.test', 'https://shop.test?click_id=ID'],
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
    expect(compile('https://shop.test/p', false).constant).toEqual(['https://shop.test/p']);
  });

  it('keeps every value inside its place, whatever it holds', () => {
    const macros = MACRO_NAMES.filter((name) => name !== 'click_id');
    const url = `https://shop.test/p?${macros.map((name) => `${name}={${name}}`).join('&')}`;
    const anything = fc.string({ unit: 'binary', maxLength: 40 });
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...macros), anything), (values) => {
        const filled = withClickId(
          fillRedirectUrl(compile(url), (macro) => values[macro] ?? ''),
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
