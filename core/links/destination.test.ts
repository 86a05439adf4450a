import { describe, expect, it } from 'vitest';
import { InputError } from '../errors.ts';
import { isAllowedHost, parseDestination, parseHostPattern } from './destination.ts';

describe('parseHostPattern', () => {
  it.each([
    ['shop.test', 'shop.test'],
    ['SHOP.Test', 'shop.test'],
    ['shöp.test', 'xn--shp-tna.test'],
    ['*.shop.test', '*.shop.test'],
    ['*', '*'],
    ['127.1', '127.0.0.1'],
  ])('takes %s', (text, expected) => expect(parseHostPattern(text, 'allowed_hosts.0')).toBe(expected));

  it.each([
    '',
    '*.',
    '*.test',
    '**',
    'a.*.test',
    '*shop.test',
    'https://shop.test',
    'shop.test/x',
    'shop.test:443',
    'u@shop.test',
    'shop.test?',
    'a b.test',
    'shop\n.test',
    '[::1]',
  ])('refuses %j', (text) => {
    expect(() => parseHostPattern(text, 'allowed_hosts.0')).toThrow(
      expect.objectContaining({ field: 'allowed_hosts.0' }),
    );
  });
});

describe('isAllowedHost', () => {
  it.each([
    ['shop.test', ['shop.test'], true],
    ['www.shop.test', ['shop.test'], true],
    ['shop.test', ['www.shop.test'], true],
    ['m.shop.test', ['shop.test'], false],
    ['shop.test.', ['shop.test'], false],
    ['evilshop.test', ['shop.test'], false],
    ['m.shop.test', ['*.shop.test'], true],
    ['a.b.shop.test', ['*.shop.test'], true],
    ['shop.test', ['*.shop.test'], false],
    ['.shop.test', ['*.shop.test'], false],
    ['evilshop.test', ['*.shop.test'], false],
    ['shop.test', ['other.test', 'shop.test'], true],
    ['anything.test', ['*'], true],
    ['shop.test', [], false],
  ])('%s under %j: %s', (host, patterns, expected) => expect(isAllowedHost(host, patterns)).toBe(expected));
});

describe('parseDestination', () => {
  const parse = (url: string, allowedHosts = ['shop.test']) =>
    parseDestination(url, { field: 'landing_url', allowedHosts });

  it('gives the URL as it is sent, and its host', () => {
    expect(parse('HTTPS:\\\\Shop.test\\{sub1}?c={click_id}')).toEqual({
      url: 'https://shop.test/{sub1}?c={click_id}',
      host: 'shop.test',
    });
    expect(parse('https://shop.test/?click_id={click_id}').url).toBe(
      'https://shop.test/?click_id={click_id}',
    );
  });

  it.each([
    ['https://phish.test/login', /allows shop.test/],
    ['https://shop.test.phish.test/', /allows/],
    ['https://shop.test?click_id=1', /click_id/],
    ['https://shop.test/?a=1&click%5Fid=1&c={click_id}', /click_id/],
    ['https://shop.test/?click_id={sub1}', /click_id/],
    ['https://shop.test/?click_id', /click_id/],
    ['https://shop.test/?{sub1}=1', /click_id/],
  ])('an affiliate who links to %s is refused', { tags: ['attack'] }, (url, reason) => {
    expect(() => parse(url)).toThrow(InputError);
    expect(() => parse(url)).toThrow(reason);
  });

  it('says what to do when a campaign allows no host', () => {
    expect(() => parse('https://shop.test/', [])).toThrow(/landing_url or allowed_hosts/);
  });
});
