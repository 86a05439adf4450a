import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseUrlTemplate } from '../../core/links/macros.ts';
import { compilePassed, EVERY_PARAMETER, MAX_PASSED_LENGTH, passedQuery } from './passed-parameters.ts';
import { readTraffic } from './query.ts';
import { compileRedirectUrl, fillRedirectUrl, withClickId } from './redirect-url.ts';

const CLICK_IDS = ['gclid', 'fbclid', 'ttclid', 'msclkid', 'wbraid', 'gbraid'];

/** Where a click with this query lands. */
function land(landing: string, query: string, names: readonly string[] = CLICK_IDS): string {
  const url = compileRedirectUrl(parseUrlTemplate(landing, 'url'), { appendClickId: true });
  const named = url.takesAll ? EVERY_PARAMETER : compilePassed(names);
  const passed = passedQuery(readTraffic('', query), named, url.taken);
  return withClickId(
    fillRedirectUrl(url, passed, () => 'V'),
    'ID',
  );
}

describe('parameters passed on', () => {
  it.each([
    [
      'https://shop.test/',
      'gclid=abc&x=1&fbclid=d%2Fe',
      'https://shop.test/?click_id=ID&gclid=abc&fbclid=d%2Fe',
    ],
    ['https://shop.test/', 'x=1', 'https://shop.test/?click_id=ID'],
    ['https://shop.test/?a=1#top', 'gclid=abc', 'https://shop.test/?a=1&click_id=ID&gclid=abc#top'],
    ['https://shop.test/{sub1}', 'gclid=abc', 'https://shop.test/V?click_id=ID&gclid=abc'],
    ['https://shop.test/{click_id}', 'gclid=abc', 'https://shop.test/ID?gclid=abc'],
    ['https://shop.test/?c={click_id}&z=1', 'gclid=abc', 'https://shop.test/?c=ID&z=1&gclid=abc'],
    [
      'https://shop.test/?gclid=own',
      'gclid=abc&wbraid=w',
      'https://shop.test/?gclid=own&click_id=ID&wbraid=w',
    ],
    ['https://shop.test/?GCLID=own', 'gclid=abc', 'https://shop.test/?GCLID=own&click_id=ID'],
    ['https://shop.test/?gclid={sub1}', 'gclid=abc', 'https://shop.test/?gclid=V&click_id=ID'],
    ['https://shop.test/', 'g%63lid=a&amp;fbclid=b', 'https://shop.test/?click_id=ID&g%63lid=a&fbclid=b'],
    [
      'https://shop.test/',
      "gclid=a;click_id=x#'é",
      'https://shop.test/?click_id=ID&gclid=a%3Bclick_id=x%23%27%C3%A9',
    ],
    ['https://shop.test/?{sub1}', '', 'https://shop.test/?V&click_id=ID'],
  ])('%s with %s', (landing, query, expected) => {
    expect(land(landing, query)).toBe(expected);
  });

  it('passes what a program or link names, also what is recorded in columns', () => {
    expect(land('https://shop.test/', 'utm_source=a%20b&sub2=c&gclid=g', ['utm_source', 'sub2'])).toBe(
      'https://shop.test/?click_id=ID&sub2=c&utm_source=a%20b',
    );
    expect(land('https://shop.test/', 'gclid=g', [])).toBe('https://shop.test/?click_id=ID');
    expect(land('https://shop.test/?x=1', 'x=2&sub1=s&y&gclid=g', ['*'])).toBe(
      'https://shop.test/?x=1&click_id=ID&sub1=s&y&gclid=g',
    );
  });

  it('writes all that is left where the URL has {query}', () => {
    expect(land('https://shop.test/?{query}&x=1', 'x=2&sub1=s&y=3')).toBe(
      'https://shop.test/?sub1=s&y=3&x=1&click_id=ID',
    );
    expect(land('https://shop.test/?x=1#/p?{query}', 'y=3')).toBe(
      'https://shop.test/?x=1&click_id=ID#/p?y=3',
    );
    expect(land('https://shop.test/?{query}', '')).toBe('https://shop.test/?&click_id=ID');
  });

  it.each([
    'https://shop.test/{query}',
    'https://shop.test/?a={query}',
    'https://shop.test/?{query}x',
    'https://shop.test/?{query}{sub1}',
    'https://shop.test/?{sub1}{query}',
  ])('refuses %s', (url) => {
    expect(() => parseUrlTemplate(url, 'url')).toThrow('{query}');
  });

  it('leaves out whole what would make the address too long', () => {
    const long = 'x'.repeat(MAX_PASSED_LENGTH);
    expect(land('https://shop.test/', `gclid=${long}&fbclid=b`)).toBe(
      'https://shop.test/?click_id=ID&fbclid=b',
    );
  });

  it('a visitor who chooses the query never changes the click id, the host or another parameter', {
    tags: ['attack'],
  }, () => {
    const slip = fc.constantFrom(
      '&',
      ';',
      '#',
      '?',
      '=',
      '%26',
      '%23',
      '\\',
      '/',
      '"',
      "'",
      '<',
      ' ',
      '\u00e9',
      '\ud800',
      '+',
      '[',
      '.',
    );
    const word = fc.constantFrom(
      'click_id',
      'CLICK_ID',
      'click%5fid',
      'click.id',
      'ref',
      'gclid',
      'sub1',
      'x',
      '',
    );
    const query = fc.array(fc.oneof(slip, word), { maxLength: 12 }).map((parts) => parts.join(''));
    const landing = fc.constantFrom(
      'https://shop.test/p?ref=own',
      'https://shop.test/p?ref=own&{query}#f',
      'https://shop.test/p?ref=own&c={click_id}',
    );
    fc.assert(
      fc.property(landing, query, (url, visitor) => {
        const landed = new URL(land(url, visitor, ['*']));
        expect(landed.origin + landed.pathname).toBe('https://shop.test/p');
        expect(landed.searchParams.getAll('ref')).toEqual(['own']);
        const id = url.includes('{click_id}') ? 'c' : 'click_id';
        expect(landed.searchParams.get(id)).toBe('ID');
        const keys = [...landed.searchParams.keys()].map((key) => key.toLowerCase().replaceAll('.', '_'));
        expect(keys.filter((key) => key === 'click_id')).toHaveLength(id === 'c' ? 0 : 1);
        expect(landed.href).not.toMatch(/[;'"<]/);
      }),
      { numRuns: 3_000 },
    );
  });
});
