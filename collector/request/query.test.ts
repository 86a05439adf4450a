import { describe, expect, it } from 'vitest';
import { readTraffic } from './query.ts';

const named = (query: string) => {
  const [referrer, sub1, sub2, , , sub5, source, medium, campaign, term, content, rest] = readTraffic(
    'r',
    query,
  );
  return { referrer, sub1, sub2, sub5, source, medium, campaign, term, content, rest };
};
const empty = {
  referrer: 'r',
  sub1: '',
  sub2: '',
  sub5: '',
  source: '',
  medium: '',
  campaign: '',
  term: '',
  content: '',
  rest: '',
};

describe('readTraffic', () => {
  it.each([
    ['', {}],
    ['sub1=a&sub2=b&sub5=c', { sub1: 'a', sub2: 'b', sub5: 'c' }],
    ['sub1=a&amp;sub2=b&amp;x=1', { sub1: 'a', sub2: 'b', rest: 'x=1' }],
    ['amp;sub1=a&amp=1', { sub1: 'a', rest: 'amp=1' }],
    ['%73ub1=a&utm%5Fsource=s&%25sub2=b', { sub1: 'a', source: 's', rest: '%25sub2=b' }],
    [
      'utm_source=s&utm_medium=m&utm_campaign=c&utm_term=t&utm_content=x',
      { source: 's', medium: 'm', campaign: 'c', term: 't', content: 'x' },
    ],
    ['sub1=a%20b+c%C3%A9', { sub1: 'a b cé' }],
    ['sub1=%ff%', { sub1: '\ufffd%' }],
    ['gclid=1&sub1=a&x', { sub1: 'a', rest: 'gclid=1&x' }],
    ['sub1=a&sub1=b', { sub1: 'a', rest: 'sub1=b' }],
    ['&&a=1&&', { rest: 'a=1' }],
    ['sub6=1&SUB1=2&sub1', { rest: 'sub6=1&SUB1=2&sub1' }],
    ['sub1=a=b', { sub1: 'a=b' }],
  ])('sorts %s', (query, expected) => {
    expect(named(query)).toEqual({ ...empty, ...expected });
  });
});
