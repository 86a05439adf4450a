import { beforeEach, describe, expect, it } from 'vitest';
import { createLogger } from '../../core/service/log.ts';
import { fillRedirectUrl, withClickId } from '../request/redirect-url.ts';
import { LinkSet } from './link-set.ts';

const PAGE = 'https://shop.test/landing?sub={sub1}';
const OTHER_PAGE = 'https://shop.test/other';

describe('landing pages of links', () => {
  let set: LinkSet;
  beforeEach(() => {
    set = new LinkSet({ log: createLogger({ name: 'test', level: 'silent' }) });
    set.putProgram({
      id: 1,
      status: 'active',
      fallbackUrl: null,
      trackingDomain: null,
      passParameters: [],
      anonymiseIp: false,
      cookies: true,
      honourOptOut: false,
    });
    set.putCampaign({
      id: 2,
      programId: 1,
      status: 'active',
      startsAtMs: null,
      endsAtMs: null,
      fallbackUrl: null,
      cookieDays: 30,
      dailyClickCap: null,
    });
    set.putAffiliate({ id: 3, status: 'active' });
  });

  function put(code: string, landingUrl: string): void {
    set.putLink({
      code,
      programId: 1,
      campaignId: 2,
      affiliateId: 3,
      linkId: code.charCodeAt(0),
      landingUrl,
      routing: '',
      passParameters: '',
      isActive: true,
      expiresAtMs: Number.POSITIVE_INFINITY,
      dailyClickCap: 0,
    });
  }

  function location(code: string, { sub1 = '', passed = '' } = {}): string {
    const url = set.find(code)?.landing?.url;
    if (!url) throw new Error(`no landing page of ${code}`);
    return withClickId(
      fillRedirectUrl(url, passed, () => sub1),
      'ID',
    );
  }

  it('have one compiled form for all links that lead there', () => {
    put('a', PAGE);
    put('b', PAGE);
    put('c', OTHER_PAGE);
    const landing = set.find('a')?.landing;
    expect(landing).toBeDefined();
    expect(set.find('b')?.landing).toBe(landing);
    expect(set.find('c')?.landing).not.toBe(landing);
    // Also the links that are read later, and those that are read again.
    put('d', PAGE);
    put('a', PAGE);
    expect(set.find('d')?.landing).toBe(landing);
    expect(set.find('a')?.landing).toBe(landing);
  });

  it('keep nothing of a visit', () => {
    put('a', PAGE);
    put('b', PAGE);
    expect(location('a', { sub1: 'x', passed: 'gclid=1' })).toBe(
      'https://shop.test/landing?sub=x&click_id=ID&gclid=1',
    );
    expect(location('b')).toBe('https://shop.test/landing?sub=&click_id=ID');
  });

  it('change for the link that is changed, and for no other', () => {
    put('a', PAGE);
    put('b', PAGE);
    const before = set.find('b')?.landing;
    expect(set.find('a')?.landing).toBe(before);
    put('a', OTHER_PAGE);
    expect(location('a')).toBe('https://shop.test/other?click_id=ID');
    expect(set.find('b')?.landing).toBe(before);
    expect(location('b', { sub1: 'x' })).toBe('https://shop.test/landing?sub=x&click_id=ID');
  });
});
