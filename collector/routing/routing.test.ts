import { describe, expect, it } from 'vitest';
import { ClickFlag } from '../../core/clicks/click-record.ts';
import { parseIp } from '../../core/ip.ts';
import { parseUrlTemplate } from '../../core/links/macros.ts';
import { parseRouting, type RoutingCondition } from '../../core/links/routing.ts';
import { createRoutingCompiler, landingRoute } from '../links/compiled-routing.ts';
import type { Link } from '../links/link-set.ts';
import { compilePassed } from '../request/passed-parameters.ts';
import { compileRedirectUrl } from '../request/redirect-url.ts';
import { createRouter, type Visit } from './routing.ts';

const NOON_UTC = Date.UTC(2026, 10, 23, 12);
const url = (text: string) => compileRedirectUrl(parseUrlTemplate(text, 'url'), { appendClickId: false });
const destination = (name: string, weight = 1) => ({ url: `https://shop.test/${name}`, weight });
const ip = parseIp('203.0.113.7') ?? Buffer.alloc(16);

function linkWith(routing: unknown, changes: Partial<Link> = {}): Link {
  return {
    programId: 1,
    campaignId: 1,
    affiliateId: 1,
    linkId: 1,
    campaign: {
      row: {
        id: 1,
        programId: 1,
        status: 'active',
        startsAtMs: null,
        endsAtMs: null,
        fallbackUrl: null,
        cookieDays: 30,
        dailyClickCap: null,
      },
      program: {
        row: {
          id: 1,
          status: 'active',
          fallbackUrl: null,
          trackingDomain: null,
          passParameters: [],
          anonymiseIp: false,
          cookies: true,
          honourOptOut: false,
        },
        status: 'active',
        fallback: undefined,
        passed: compilePassed([]),
        privacy: { anonymiseIp: false, cookies: true, honourOptOut: false },
      },
      status: 'active',
      startsAtMs: 0,
      endsAtMs: Number.POSITIVE_INFINITY,
      fallback: url('https://shop.test/fallback'),
      cookieDays: 30,
      dailyClickCap: 0,
      capEntity: 'c1',
    },
    affiliate: { id: 1, status: 'active' },
    landing: landingRoute(url('https://shop.test/landing')),
    passed: undefined,
    routing: routing === undefined ? undefined : createRoutingCompiler()(parseRouting(routing, 'routing')),
    isActive: true,
    expiresAtMs: undefined,
    dailyClickCap: 0,
    capEntity: 'l1',
    ...changes,
  };
}

function visit(changes: { ts?: number; device?: string; os?: string; language?: string } = {}): Visit {
  const { ts = NOON_UTC, device = 'desktop', os = 'Windows', language = 'de-AT' } = changes;
  return { ts, ip, visitor: { device, os, language } };
}

function routerFor(options: { country?: string; random?: () => number; reached?: string[] } = {}) {
  const lookUps: Uint8Array[] = [];
  const route = createRouter({
    countryOf: (address) => {
      lookUps.push(address);
      return options.country ?? 'AT';
    },
    caps: { isReached: (entity) => (options.reached ?? []).includes(entity) },
    random: options.random ?? (() => 0),
  });
  return { route, lookUps };
}

/** The path a click leads to under one rule "/rule" over the landing page "/landing". */
function under(when: RoutingCondition, visited: Visit, country = 'AT'): string {
  const link = linkWith({ rules: [{ when, destinations: [destination('rule')] }] });
  const { url: chosen } = routerFor({ country }).route(link, visited);
  return new URL(chosen?.template.literals.join('') ?? 'x:').pathname;
}

describe('rules', () => {
  const schedule = (days: string[], from: string, to: string, timezone = 'Europe/Vienna') =>
    ({ schedule: { timezone, days, from, to } }) as RoutingCondition;

  it.each<[string, RoutingCondition, Visit, boolean]>([
    ['the country', { countries: ['DE', 'AT'] }, visit(), true],
    ['another country', { countries: ['DE'] }, visit(), false],
    ['the device', { devices: ['mobile', 'desktop'] }, visit(), true],
    ['another device', { devices: ['mobile'] }, visit(), false],
    ['the os in other letters', { os: ['windows'] }, visit(), true],
    ['another os', { os: ['iOS'] }, visit(), false],
    ['the language’s first part', { languages: ['DE'] }, visit(), true],
    ['the whole tag', { languages: ['de-at'] }, visit(), true],
    ['another region', { languages: ['de-CH'] }, visit(), false],
    ['a language that only begins alike', { languages: ['de'] }, visit({ language: 'deu' }), false],
    ['no language', { languages: ['de'] }, visit({ language: '' }), false],
    ['all conditions', { countries: ['AT'], devices: ['desktop'], os: ['Windows'] }, visit(), true],
    ['all but one condition', { countries: ['AT'], devices: ['desktop'], os: ['iOS'] }, visit(), false],
    // Monday 23 November 2026, noon UTC, 13:00 in Vienna.
    ['the hour', schedule(['mon'], '13:00', '14:00'), visit(), true],
    ['the hour after', schedule(['mon'], '12:00', '13:00'), visit(), false],
    ['another day', schedule(['tue'], '00:00', '24:00'), visit(), false],
    [
      'a day that has begun elsewhere',
      schedule(['tue'], '00:00', '06:00', 'Pacific/Kiritimati'),
      visit(),
      true,
    ],
    ['over midnight, before it', schedule(['mon'], '13:00', '02:00'), visit(), true],
    ['over midnight, after it', schedule(['sun'], '20:00', '13:30'), visit(), true],
    ['over midnight, of another day', schedule(['mon'], '20:00', '13:30'), visit(), false],
  ])('match %s: %j', (_what, when, visited, matches) => {
    expect(under(when, visited)).toBe(matches ? '/rule' : '/landing');
  });

  it('follow the clock of summer and winter', () => {
    const nine = schedule(['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'], '09:00', '10:00');
    const open = (ts: number) => under(nine, visit({ ts })) === '/rule';
    // Vienna is at +2 before Sunday 25 October 2026, 01:00 UTC, and at +1 from then on.
    expect([7, 8].map((hour) => open(Date.UTC(2026, 9, 24, hour)))).toEqual([true, false]);
    expect([7, 8].map((hour) => open(Date.UTC(2026, 9, 25, hour)))).toEqual([false, true]);
  });

  it('are tried in order; the first that matches is recorded by its number', () => {
    const { route } = routerFor({ random: () => 0.9 });
    const link = linkWith({
      rules: [
        { when: { devices: ['mobile'] }, destinations: [destination('mobile')] },
        { when: { os: ['Windows'] }, destinations: [destination('a'), destination('b')] },
        { when: { countries: ['AT'] }, destinations: [destination('at')] },
      ],
      destinations: [destination('x'), destination('y')],
    });
    const second = route(link, visit());
    expect([second.rule, second.destination]).toEqual([2, 1]);
    const third = route(link, visit({ os: 'Linux' }));
    expect([third.rule, third.destination]).toEqual([3, 0]);
  });

  it('ask for the country only when a rule needs it, and once', () => {
    const { route, lookUps } = routerFor({ country: 'FR' });
    route(linkWith(undefined), visit());
    route(linkWith({ rules: [{ when: { os: ['iOS'] }, destinations: [destination('a')] }] }), visit());
    const both = { countries: ['AT'], devices: ['mobile' as const] };
    route(linkWith({ rules: [{ when: both, destinations: [destination('a')] }] }), visit());
    expect(lookUps).toHaveLength(0);
    const rule = (country: string) => ({ when: { countries: [country] }, destinations: [destination('a')] });
    route(linkWith({ rules: [rule('AT'), rule('DE'), rule('CH')] }), visit());
    expect(lookUps).toHaveLength(1);
  });
});

describe('weighted destinations', () => {
  it('are drawn by their weights', () => {
    const weights = [1, 2, 3, 4, 90];
    const total = 100;
    const link = linkWith({
      rules: [],
      destinations: weights.map((weight, i) => destination(`${i}`, weight)),
    });
    const route = createRouter({ countryOf: () => '', caps: { isReached: () => false } });
    const draws = 50_000;
    const counts = weights.map(() => 0);
    for (let i = 0; i < draws; i++) {
      const { destination: drawn, rule } = route(link, visit());
      expect(rule).toBe(0);
      counts[drawn] = (counts[drawn] ?? 0) + 1;
    }
    const chiSquare = weights.reduce((sum, weight, i) => {
      const expected = (draws * weight) / total;
      return sum + ((counts[i] ?? 0) - expected) ** 2 / expected;
    }, 0);
    // 4 degrees of freedom: above 33 once in a million runs.
    expect(chiSquare).toBeLessThan(33);
  });

  it.each([
    [0, 0],
    [0.24999, 0],
    [0.25, 1],
    [0.99999999999999989, 1],
  ])('cover the whole range: %d gives %i', (random, expected) => {
    const { route } = routerFor({ random: () => random });
    const link = linkWith({ rules: [], destinations: [destination('a', 250), destination('b', 750)] });
    expect(route(link, visit()).destination).toBe(expected);
  });
});

describe('a link without rules', () => {
  it('gives one and the same route for every click', () => {
    const { route } = routerFor();
    const link = linkWith(undefined);
    expect(route(link, visit())).toBe(route(link, visit({ os: 'iOS' })));
  });

  it('goes to the fallback when it, its campaign or its day is over, and says why', () => {
    const over = { ...linkWith(undefined).campaign, dailyClickCap: 5 };
    const cases: [Link, number][] = [
      [linkWith(undefined, { isActive: false }), ClickFlag.paused],
      [linkWith(undefined, { expiresAtMs: NOON_UTC }), ClickFlag.expired],
      [linkWith(undefined, { affiliate: { id: 1, status: 'suspended' } }), ClickFlag.suspended],
      [linkWith(undefined, { dailyClickCap: 1 }), ClickFlag.capped],
      [linkWith(undefined, { campaign: over }), ClickFlag.capped],
      [linkWith({ rules: [], destinations: [destination('a')] }, { dailyClickCap: 1 }), ClickFlag.capped],
      [linkWith(undefined, { landing: undefined }), 0],
    ];
    const { route } = routerFor({ reached: ['l1', 'c1'] });
    for (const [link, flags] of cases) {
      const { url: chosen, flags: given } = route(link, visit());
      expect([chosen?.template.literals.join(''), given]).toEqual([
        'https://shop.test/fallback',
        flags | ClickFlag.fallback,
      ]);
    }
  });
});
