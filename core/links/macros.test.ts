import { describe, expect, it } from 'vitest';
import { InputError } from '../errors.ts';
import { MAX_URL_LENGTH, normalizeUrl, parseUrlTemplate } from './macros.ts';

const refused = (url: string): string => {
  try {
    parseUrlTemplate(url, 'landing_url');
  } catch (error) {
    if (error instanceof InputError && error.field === 'landing_url') return error.message;
    throw error;
  }
  throw new Error(`not refused: ${url}`);
};

describe('parseUrlTemplate', () => {
  it('cuts a URL at its macros', () => {
    expect(parseUrlTemplate('https://shop.test/p?c={click_id}&s={sub1}#x', 'landing_url')).toEqual({
      literals: ['https://shop.test/p?c=', '&s=', '#x'],
      macros: ['click_id', 'sub1'],
    });
    expect(parseUrlTemplate('http://shop.test', 'landing_url')).toEqual({
      literals: ['http://shop.test/'],
      macros: [],
    });
  });

  it.each([
    ['HTTPS://Shop.TEST:443/A', 'https://shop.test/A'],
    ['https:///shop.test/x', 'https://shop.test/x'],
    ['https:////shop.test/x', 'https://shop.test/x'],
    ['https:shop.test/x', 'https://shop.test/x'],
    ['https:\\\\shop.test\\x', 'https://shop.test/x'],
    ['  https://shop.test/a b', 'https://shop.test/a%20b'],
    ['https://shöp.test/ü?ü', 'https://xn--shp-tna.test/%C3%BC?%C3%BC'],
    ['https://sh%6Fp.test/%7Bsub1%7D', 'https://shop.test/%7Bsub1%7D'],
    ['https://0x7f.1/', 'https://127.0.0.1/'],
    ['https://shop.test/a/../b/{sub1}', 'https://shop.test/b/{sub1}'],
    ['https://shop.test/{sub1}/..', 'https://shop.test/'],
    ['https://shop.test/xm/{sub1}{sub2}xm0z', 'https://shop.test/xm/{sub1}{sub2}xm0z'],
    ['https://shop.test?q={sub1}#{sub2}', 'https://shop.test/?q={sub1}#{sub2}'],
  ])('reads %j as a browser does', (url, expected) => {
    expect(normalizeUrl(url, 'landing_url')).toBe(expected);
    expect(normalizeUrl(expected, 'landing_url')).toBe(expected);
  });

  it.each([
    ['javascript:alert(1)', /http/],
    ['//shop.test/', /http/],
    ['https://user:pass@shop.test/', /user name/],
    ['https://user@shop.test/', /user name/],
    ['https://shop.test/\r\nSet-Cookie: a=b', /control/],
    ['https://shop.test/\u0000', /control/],
    ['https://shop\n.test/', /control/],
    ['https://shop.test/\t', /control/],
    ['https://shop.test/\ud800', /Unicode/],
    ['ht{sub1}tps://shop.test/', /http/],
    ['{sub1}://shop.test/', /http/],
    ['data:text/html,x', /http/],
    ['https://shop.test:{sub1}/', /http/],
    ['https://{sub1}@shop.test/', /user name/],
    ['https://shop.test{sub1}/', /host/],
    ['https:///{sub1}/x', /host/],
    ['https:////{sub1}/x', /host/],
    ['http:///{referrer}', /host/],
    ['https:///@{sub1}', /host/],
    ['https:\\\\{sub1}', /host/],
    ['https:{sub1}', /host/],
    ['https:/{sub1}/shop.test', /host/],
    ['https://%78m0z.{sub1}/', /host/],
    ['https://ß{sub1}.test/', /host/],
    ['https://[{sub1}]/', /http/],
    [`https://shop.test/${'ü'.repeat(400)}`, /percent-encoded/],
    ['https://shop.test/?x={nope}', /unknown macro \{nope\}/],
    ['https://shop.test/?x={}', /unknown macro/],
    ['https://shop.test/?x={click_id', /unbalanced/],
    ['https://shop.test/?x=}', /unbalanced/],
    ['https://{sub1}/', /host/],
    ['https://{sub1}.shop.test?x', /host/],
    ['https://', /http/],
    [`https://shop.test/${'a'.repeat(MAX_URL_LENGTH)}`, /exceed/],
  ])('refuses %s', { tags: ['attack'] }, (url, reason) => {
    expect(refused(url)).toMatch(reason);
  });
});
