import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { isRobot } from './robots.ts';
import { createVisitorCache } from './visitors.ts';

const CHROME =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36';
const IPHONE =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1';

describe('visitors', () => {
  const visitorOf = createVisitorCache();

  it('reads device, system, browser and language', () => {
    expect(visitorOf(CHROME, 'de-DE,de;q=0.9')).toMatchObject({
      device: 'desktop',
      os: 'Windows',
      browser: 'Chrome',
      language: 'de-DE',
      isBot: false,
    });
    expect(visitorOf(IPHONE, '')).toMatchObject({
      device: 'mobile',
      os: 'iOS',
      browser: 'Safari',
      language: '',
    });
  });

  it('knows robots, and takes a missing User-Agent for one', () => {
    const google = 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)';
    expect(visitorOf(google, '')).toMatchObject({ device: 'bot', isBot: true });
    expect(visitorOf('curl/8.0', '').isBot).toBe(true);
    expect(visitorOf('', '').isBot).toBe(true);
  });

  it('takes the fingerprint of both headers as they came', () => {
    const expected = createHash('sha256').update(`${CHROME}:en`).digest().readBigUInt64BE(0);
    expect(visitorOf(CHROME, 'en').encoded.readBigUInt64LE(0)).toBe(expected);
    expect(visitorOf(CHROME, 'fr').encoded.readBigUInt64LE(0)).not.toBe(expected);
  });

  it('survives any header', () => {
    for (const header of ['\u0000', '\ud800', 'x'.repeat(100_000), ':', '\n', 'Mozilla/5.0 (']) {
      const visitor = visitorOf(header, header);
      expect(visitor.userAgent.length).toBeLessThanOrEqual(1_024);
      expect(visitor.language.length).toBeLessThanOrEqual(16);
    }
  });

  it('remembers', () => {
    expect(visitorOf(CHROME, 'de')).toBe(visitorOf(CHROME, 'de'));
  });
});

/** Real User-Agent headers by the page that documents them. */
const SOURCES = JSON.parse(
  readFileSync(fromProject('test/fixtures/user-agents/user-agents.json'), 'utf8'),
) as Record<string, { people?: string[]; robots?: string[] }>;
const all = (kind: 'people' | 'robots') => Object.values(SOURCES).flatMap((source) => source[kind] ?? []);

describe('User-Agent headers', () => {
  it('are a hundred, each once', () => {
    const known = [...all('people'), ...all('robots')];
    expect(known.length).toBeGreaterThanOrEqual(100);
    expect(new Set(known).size).toBe(known.length);
  });

  it.each(all('people'))('a person is not taken for a robot: %s', (userAgent) => {
    expect(isRobot(userAgent)).toBe(false);
  });

  it.each(all('robots'))(
    'a preview, scanner or library is no visitor: %s',
    { tags: ['attack'] },
    (userAgent) => {
      expect(isRobot(userAgent)).toBe(true);
    },
  );
});
