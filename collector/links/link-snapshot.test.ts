import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLogger } from '../../core/service/log.ts';
import { LinkSet } from './link-set.ts';
import { readLinkSnapshot, writeLinkSnapshot } from './link-snapshot.ts';

const log = createLogger({ name: 'test', level: 'silent' });
const LINKS = 20_000;

function filledSet(): LinkSet {
  const set = new LinkSet({ log });
  set.putProgram({
    id: 1,
    status: 'active',
    fallbackUrl: 'https://shop.test/lost',
    trackingDomain: 'Go.Shop.test',
    passParameters: ['gclid'],
    anonymiseIp: true,
    cookies: false,
    honourOptOut: true,
  });
  set.putCampaign({
    id: 2,
    programId: 1,
    status: 'active',
    startsAtMs: null,
    endsAtMs: 2_000_000_000_000,
    fallbackUrl: null,
    cookieDays: 7,
    dailyClickCap: 100,
  });
  set.putAffiliate({ id: 3, status: 'active' });
  for (let n = 0; n < LINKS; n++) {
    const routing = { rules: [], destinations: [{ url: `https://shop.test/v${n}`, weight: 1 }] };
    set.putLink({
      code: `code-${n}`,
      programId: 1,
      campaignId: 2,
      affiliateId: 3,
      linkId: n,
      landingUrl: `https://shop.test/${n}?s={sub1}`,
      routing: n % 2 === 0 ? JSON.stringify(routing) : '',
      passParameters: n % 5 > 0 ? '' : '["gclid"]',
      isActive: n % 3 > 0,
      expiresAtMs: n % 5 === 0 ? 1_900_000_000_000 : Number.POSITIVE_INFINITY,
      dailyClickCap: n % 7,
    });
  }
  return set;
}

describe('link snapshot', () => {
  let folder = '';
  let file = '';
  const read = () => readLinkSnapshot({ file, set: new LinkSet({ log }) });

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'afflux-links-'));
    file = join(folder, 'links.snapshot');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('gives back every link and party, and leaves nothing else behind', async () => {
    const set = filledSet();
    await writeLinkSnapshot({ file, set, freshAtMs: 123 });
    const copy = new LinkSet({ log });
    expect(await readLinkSnapshot({ file, set: copy })).toEqual({ freshAtMs: 123 });
    expect(copy.size).toBe(LINKS);
    expect(copy.parties()).toEqual(set.parties());
    for (let n = 0; n < LINKS; n += 100) {
      expect(copy.table.get(`code-${n}`)).toEqual(set.table.get(`code-${n}`));
    }
    expect(copy.find('code-1')?.campaign.dailyClickCap).toBe(100);
    expect(copy.find('code-2')?.routing?.draw?.urls).toHaveLength(1);
    expect(copy.programOfDomain('go.shop.test')?.privacy.cookies).toBe(false);
    expect(readdirSync(folder)).toEqual(['links.snapshot']);
  });

  it('is nothing when there is no file', async () => {
    expect(await read()).toBeUndefined();
  });

  it('is refused when a byte has changed, anywhere', async () => {
    await writeLinkSnapshot({ file, set: filledSet(), freshAtMs: 123 });
    const bytes = readFileSync(file);
    const places = [0, 7, 8, 12, 16, 20, 100, 500_000, 1_048_600, bytes.length - 1];
    for (const place of places) {
      const changed = Buffer.from(bytes);
      changed[place] = (changed[place] ?? 0) ^ 0x40;
      writeFileSync(file, changed);
      await expect(read(), `byte ${place}`).rejects.toMatchObject({ code: 'snapshot_damaged' });
    }
  });

  it('is refused when it ends early, wherever', async () => {
    await writeLinkSnapshot({ file, set: filledSet(), freshAtMs: 123 });
    for (let bytes = readFileSync(file).length - 1; bytes >= 0; bytes = Math.floor(bytes / 3) - 1) {
      truncateSync(file, bytes);
      await expect(read(), `${bytes} bytes`).rejects.toMatchObject({ code: 'snapshot_damaged' });
    }
  });

  it('keeps the old file when the new one cannot be written', async () => {
    const set = filledSet();
    await writeLinkSnapshot({ file, set, freshAtMs: 1 });
    const parties = () => {
      throw new Error('no');
    };
    await expect(writeLinkSnapshot({ file, set: { ...set, parties }, freshAtMs: 2 })).rejects.toThrow('no');
    expect(await read()).toEqual({ freshAtMs: 1 });
  });
});
