import { describe, expect, it } from 'vitest';
import { InputError } from '../errors.ts';
import { MAX_URL_LENGTH, parseUrlTemplate } from './macros.ts';

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
      literals: ['http://shop.test'],
      macros: [],
    });
  });

  it.each([
    ['javascript:alert(1)', /http/],
    ['//shop.test/', /http/],
    ['https://user:pass@shop.test/', /user name/],
    ['https://user@shop.test/', /user name/],
    ['https://shop.test/\r\nSet-Cookie: a=b', /control/],
    ['https://shop.test/\u0000', /control/],
    ['https://shop.test/a b', /spaces/],
    ['https://shöp.test/', /special/],
    ['https://shop.test/?x={nope}', /unknown macro \{nope\}/],
    ['https://shop.test/?x={}', /unknown macro/],
    ['https://shop.test/?x={click_id', /unbalanced/],
    ['https://shop.test/?x=}', /unbalanced/],
    ['https://{sub1}/', /host/],
    ['https://{sub1}.shop.test?x', /host/],
    ['https://', /not a valid URL/],
    [`https://shop.test/${'a'.repeat(MAX_URL_LENGTH)}`, /exceed/],
  ])('refuses %s', (url, reason) => {
    expect(refused(url)).toMatch(reason);
  });
});
