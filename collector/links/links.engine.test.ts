import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setInterval } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ClickFlag } from '../../core/clicks/click-record.ts';
import { formatIp } from '../../core/ip.ts';
import { freePort } from '../../engines/engine.ts';
import { updateCampaign } from '../../ledger/programs/campaigns.ts';
import { createLink, type NewLink, updateLink } from '../../ledger/programs/links.ts';
import { type PrivacySettings, updateProgram } from '../../ledger/programs/programs.ts';
import { type CollectorUnderTest, prepareCollector, readMetrics } from '../../test/support/collector.ts';
import { waitFor } from '../../test/support/engines.ts';
import { quietLog } from '../../test/support/warehouse.ts';
import { startCollector } from '../main.ts';

/** A change is seen within a second; the test machine may be busy with everything else at once. */
const SEEN_MS = 3_000;
const CHROME =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36';
/** A port on which no server listens. */
const UNREACHABLE_URL = 'postgres://user@127.0.0.1:1/nothing';

let world: CollectorUnderTest;
let running: { stop(): Promise<void> }[] = [];
let links = 0;

async function start(changes: Parameters<CollectorUnderTest['start']>[0] = {}) {
  running.push(await world.start(changes));
}

async function stopAll(): Promise<void> {
  for (const collector of running.reverse()) await collector.stop();
  running = [];
}

async function link(extra: Partial<NewLink> = {}): Promise<{ id: number; code: string }> {
  const created = await createLink(world.ledger, {
    campaignId: world.campaign.id,
    affiliateId: world.affiliate.id,
    landingUrl: 'https://shop.test/landing',
    code: `l-${links++}`,
    ...extra,
  });
  await waitFor(async () => (await ask(`/c/${created.code}`, { method: 'HEAD' })).status !== 404, {
    deadlineMs: 2_000,
    what: 'the new link',
  });
  return created;
}

function ask(
  path: string,
  options: { method?: string; headers?: Record<string, string>; url?: string } = {},
) {
  const { url = world.url, headers = {}, method = 'GET' } = options;
  return fetch(`${url}${path}`, {
    redirect: 'manual',
    method,
    headers: { 'User-Agent': CHROME, ...headers },
  });
}

/** What was stored of the clicks with a `sub5`; the HEAD requests that waited for a link are not among them. */
const stored = async (sub5: string) =>
  (await world.storedClicks()).filter(
    (record) => record.sub5 === sub5 && (record.flags & ClickFlag.head) === 0,
  );

beforeAll(async () => {
  world = await prepareCollector();
});
afterAll(() => world.dispose());

describe('links with rules', () => {
  beforeAll(() => start({ trustedProxies: ['127.0.0.1'] }));
  afterAll(stopAll);

  it('pass on what their program names, or they themselves, each within a second of its change', async () => {
    const landed = async (code: string, query: string) => {
      const answer = await ask(`/c/${code}?${query}`);
      const url = new URL(answer.headers.get('location') ?? 'x:');
      return [...url.searchParams.keys()].filter((name) => name !== 'click_id');
    };
    const query = 'gclid=1&ref=2&x=3&sub1=4';
    const { code, id } = await link();
    expect(await landed(code, query)).toEqual(['gclid']);
    const program = { id: world.program.id };
    await updateProgram(world.ledger, { ...program, changes: { passParameters: ['ref', 'sub1'] } });
    await waitFor(async () => (await landed(code, query)).join() === 'sub1,ref', {
      deadlineMs: 2_000,
      what: 'the names of the program',
    });
    await updateLink(world.ledger, { id, changes: { passParameters: ['*'] } });
    await waitFor(async () => (await landed(code, query)).join() === 'sub1,gclid,ref,x', {
      deadlineMs: 2_000,
      what: 'the names of the link',
    });
    expect(await landed((await link({ passParameters: [] })).code, query)).toEqual([]);
    const chosen = await link({
      routing: { rules: [], destinations: [{ url: 'https://shop.test/?x=own&{query}', weight: 1 }] },
    });
    expect(await landed(chosen.code, query)).toEqual(['x', 'sub1', 'gclid', 'ref']);
    await updateProgram(world.ledger, {
      ...program,
      changes: { passParameters: world.program.passParameters },
    });
  });

  it('of a list that cannot be stored are refused by the name in it', async () => {
    const refused = link({ passParameters: ['gclid', 'a&b'] });
    await expect(refused).rejects.toMatchObject({ field: 'pass_parameters.1' });
    const raw = world.ledger`update links set pass_parameters = ${['*', 'gclid']}::text[]`;
    await expect(raw).rejects.toThrow('links_pass_parameters_check');
  });

  it('lead where the first rule that matches says, which the click keeps', async () => {
    const to = (name: string) => [{ url: `https://shop.test/${name}?c={click_id}`, weight: 1 }];
    const { code } = await link({
      routing: {
        rules: [
          { when: { devices: ['mobile'] }, destinations: to('mobile') },
          { when: { countries: ['US'], languages: ['en'] }, destinations: to('us') },
        ],
        destinations: to('others'),
      },
    });
    const from = (ip: string, language: string) =>
      ask(`/c/${code}?sub5=rules`, { headers: { 'X-Forwarded-For': ip, 'Accept-Language': language } });
    const paths = [];
    for (const answer of [
      await from('8.8.8.8', 'en-GB,en;q=0.9'),
      await from('8.8.8.8', 'de'),
      await from('193.0.6.139', 'en'),
      await from('2001:4860:4860::8888', 'en'),
    ]) {
      paths.push(new URL(answer.headers.get('location') ?? 'x:').pathname);
    }
    expect(paths).toEqual(['/us', '/others', '/others', '/us']);
    expect((await stored('rules')).map(({ rule, destination }) => [rule, destination])).toEqual([
      [2, 0],
      [0, 0],
      [0, 0],
      [2, 0],
    ]);
  });

  it('draw among weighted destinations, which the click keeps', async () => {
    const { code } = await link({
      routing: {
        rules: [],
        destinations: [
          { url: 'https://shop.test/0', weight: 1 },
          { url: 'https://shop.test/1', weight: 1 },
        ],
      },
    });
    const drawn: number[] = [];
    for (let i = 0; i < 40; i++) {
      const location = new URL((await ask(`/c/${code}?sub5=drawn`)).headers.get('location') ?? 'x:');
      drawn.push(Number(location.pathname.slice(1)));
      expect(location.searchParams.get('click_id')).toMatch(/^[\w-]{22}$/);
    }
    expect((await stored('drawn')).map(({ destination }) => destination)).toEqual(drawn);
    // Fails by chance once in 2³⁹ runs.
    expect(new Set(drawn).size).toBe(2);
  });

  it('flag a visitor who clicks again, and not the others', async () => {
    const { code } = await link();
    const other = await link();
    const from = (path: string, headers: Record<string, string> = {}) =>
      ask(`/c/${path}?sub5=again`, { headers: { 'X-Forwarded-For': '192.0.2.1', ...headers } });
    await from(code, { 'Sec-Fetch-Dest': 'image' });
    await from(code);
    await from(code);
    await from(code, { 'X-Forwarded-For': '192.0.2.2' });
    await from(code, { 'Accept-Language': 'fr' });
    await from(other.code);
    expect((await stored('again')).map((record) => record.flags)).toEqual([
      ClickFlag.forced,
      0,
      ClickFlag.repeat,
      0,
      0,
      0,
    ]);
  });
});

describe('the pixel and the snippet', () => {
  beforeAll(() => start());
  afterAll(stopAll);

  it('record an impression before a picture of one pixel is sent', async () => {
    const { id, code } = await link({ dailyClickCap: 1 });
    const answer = await ask(`/i/${code}.gif?sub5=seen&sub1=mail`, {
      headers: { Referer: 'https://blog.test/' },
    });
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'image/gif']);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.headers.get('set-cookie')).toBeNull();
    const picture = Buffer.from(await answer.arrayBuffer());
    expect([
      picture.length,
      picture.toString('latin1', 0, 6),
      picture.readUInt16LE(6),
      picture.readUInt16LE(8),
    ]).toEqual([43, 'GIF89a', 1, 1]);
    expect(await stored('seen')).toMatchObject([
      { link_id: id, flags: ClickFlag.impression, sub1: 'mail', referrer: 'https://blog.test/', rule: 0 },
    ]);
    // It is no click: the cap of one is still free.
    expect((await ask(`/c/${code}`)).headers.get('location')).toContain('/landing');
    const head = await ask(`/i/${code}.gif`, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length')]).toEqual([200, '43']);
  });

  it('answer what is no link or no pixel with 404, never with a redirect', async () => {
    const { code } = await link();
    for (const path of [
      '/i/unknown.gif',
      `/i/${code}`,
      `/i/${code}.png`,
      '/i/.gif',
      '/i/a%00.gif',
      `/i/${'a'.repeat(65)}.gif`,
    ]) {
      const answer = await ask(path, { headers: { Host: 'go.shop.test' } });
      expect([path, answer.status, answer.headers.get('cache-control')]).toEqual([path, 404, 'no-store']);
    }
    expect((await ask(`/i/${code}.gif`, { method: 'POST' })).status).toBe(405);
  });

  it('serve the snippet with a long life and a tag', async () => {
    const answer = await ask('/afflux.js');
    expect(answer.headers.get('content-type')).toBe('text/javascript; charset=utf-8');
    expect(answer.headers.get('cache-control')).toMatch(/^public, max-age=86400/);
    expect(await answer.text()).toContain('window.afflux');
    const etag = answer.headers.get('etag') ?? '';
    const known = await ask('/afflux.js', { headers: { 'If-None-Match': `"other", W/${etag}` } });
    expect([known.status, await known.text(), known.headers.get('etag')]).toEqual([304, '', etag]);
    expect((await ask('/afflux.js', { headers: { 'If-None-Match': '"other"' } })).status).toBe(200);
  });
});

describe('privacy of a program', () => {
  beforeAll(() => start({ trustedProxies: ['127.0.0.1'] }));
  afterAll(stopAll);

  /** Changes the program and waits until its clicks are answered so. */
  async function set(changes: Partial<PrivacySettings>, seen: () => Promise<boolean>): Promise<void> {
    const defaults = { anonymiseIp: false, cookies: true, honourOptOut: false };
    await updateProgram(world.ledger, { id: world.program.id, changes: { ...defaults, ...changes } });
    await waitFor(seen, { deadlineMs: SEEN_MS, what: 'the change' });
  }
  const from = (code: string, ip: string, headers: Record<string, string> = {}) =>
    ask(`/c/${code}?sub5=${code}`, { headers: { 'X-Forwarded-For': ip, ...headers } });
  const location = (answer: Response) => decodeURIComponent(answer.headers.get('location') ?? '');

  it('cuts addresses to /24 and /48, in the row and in macros', async () => {
    const { code } = await link({ landingUrl: 'https://shop.test/?ip={ip}' });
    await set({ anonymiseIp: true }, async () =>
      location(await from(code, '203.0.113.77')).includes('203.0.113.0&'),
    );
    expect(location(await from(code, '2001:db8:1:2:3::4'))).toContain('ip=2001:db8:1::&');
    expect((await stored(code)).slice(-2).map((record) => formatIp(record.ip))).toEqual([
      '203.0.113.0',
      '2001:db8:1::',
    ]);
    expect((await from(code, '203.0.113.77')).headers.get('set-cookie')).not.toBeNull();
  });

  it('sets no cookie where the program has none', async () => {
    const { code } = await link();
    await set(
      { cookies: false },
      async () => (await from(code, '203.0.113.77')).headers.get('set-cookie') === null,
    );
    expect(formatIp((await stored(code)).at(-1)?.ip ?? Buffer.alloc(16))).toBe('203.0.113.77');
  });

  it('honours DNT and Sec-GPC: no cookie, a cut address, no fingerprint, a flag', async () => {
    const { code } = await link();
    const hasCookie = async (headers: Record<string, string>) =>
      (await from(code, '203.0.113.77', headers)).headers.get('set-cookie') !== null;
    await set({ honourOptOut: true }, async () => (await hasCookie({})) && !(await hasCookie({ DNT: '1' })));
    await from(code, '198.51.100.9', { 'Sec-GPC': '1' });
    await from(code, '198.51.100.10', { DNT: '0', 'Sec-GPC': '0' });
    const [optedOut, ordinary] = (await stored(code)).slice(-2);
    expect(optedOut).toMatchObject({ flags: ClickFlag.optedOut, fingerprint: 0n, user_agent: CHROME });
    expect(ordinary).toMatchObject({ flags: 0 });
    expect(ordinary?.fingerprint).not.toBe(0n);
    expect([optedOut, ordinary].map((record) => formatIp(record?.ip ?? Buffer.alloc(16)))).toEqual([
      '198.51.100.0',
      '198.51.100.10',
    ]);
  });

  it('ignores them where the program does', async () => {
    const { code } = await link();
    const asked = () => from(code, '198.51.100.9', { DNT: '1', 'Sec-GPC': '1' });
    await set({}, async () => (await asked()).headers.get('set-cookie') !== null);
    expect(((await stored(code)).at(-1)?.flags ?? 0) & ClickFlag.optedOut).toBe(0);
  });
});

describe('caps of clicks a day', () => {
  afterEach(stopAll);
  const isLanding = (answer: Response) => (answer.headers.get('location') ?? '').includes('/landing');
  const clicks = async (code: string, count: number, options: Parameters<typeof ask>[1] = {}) => {
    const answers = [];
    for (let i = 0; i < count; i++) answers.push(isLanding(await ask(`/c/${code}?sub5=${code}`, options)));
    return answers.filter(Boolean).length;
  };

  it('let as many valid clicks land as they say, and flag the rest', async () => {
    await start();
    const { code } = await link({ dailyClickCap: 3 });
    // Neither robots nor link previews use the cap up.
    await clicks(code, 5, { headers: { 'User-Agent': 'Googlebot/2.1' } });
    await clicks(code, 5, { method: 'HEAD' });
    expect(await clicks(code, 5)).toBe(3);
    const flags = (await stored(code)).slice(-5).map((record) => record.flags & ~ClickFlag.repeat);
    const capped = ClickFlag.capped | ClickFlag.fallback;
    expect(flags).toEqual([0, 0, 0, capped, capped]);
  });

  it('one address that uses up a cap with many User-Agents gets a tenth of it, and others the rest', {
    tags: ['attack'],
  }, async () => {
    await start({ trustedProxies: ['127.0.0.1'] });
    const { code } = await link({ dailyClickCap: 20 });
    const landings = async (address: string, agents: number): Promise<number> => {
      let landed = 0;
      for (let i = 0; i < agents; i++) {
        const headers = { 'User-Agent': `${CHROME} ${i}`, 'X-Forwarded-For': address };
        landed += await clicks(code, 1, { headers });
      }
      return landed;
    };
    expect(await landings('198.51.100.7', 20)).toBe(2);
    expect(await landings('198.51.100.200', 3)).toBe(0);
    expect(await landings('2001:db8:7::1', 3)).toBe(2);
    expect(await landings('2001:db8:7:ff::1', 3)).toBe(0);
    expect(await landings('203.0.113.1', 1)).toBe(1);
    // 5 of the 20: the rest is there for 8 more networks.
    let others = 0;
    for (let i = 1; i <= 20; i++) others += await landings(`192.0.${i}.1`, 1);
    expect(others).toBe(15);
  });

  it('hold for all links of a campaign together, and are gone when taken away', async () => {
    await start();
    const first = await link();
    const second = await link();
    const cap = async (dailyClickCap: number | null, seen: boolean) => {
      await updateCampaign(world.ledger, { id: world.campaign.id, changes: { dailyClickCap } });
      await waitFor(async () => isLanding(await ask(`/c/${first.code}`)) === seen, {
        deadlineMs: 2_000,
        what: 'the cap',
      });
    };
    await cap(1, false);
    expect(await clicks(second.code, 3)).toBe(0);
    await cap(null, true);
    expect(await clicks(second.code, 3)).toBe(3);
  });

  it('hold across a restart, and across two collectors but for a second of the other’s clicks', async () => {
    const home = mkdtempSync(join(tmpdir(), 'afflux-second-'));
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    await start();
    await start({ home, collectorPort: port });
    const capAt = 40;
    const { code } = await link({ dailyClickCap: capAt });
    await waitFor(async () => (await ask(`/c/${code}`, { method: 'HEAD', url })).status !== 404, {
      deadlineMs: 2_000,
      what: 'the new link at the other collector',
    });
    expect(await clicks(code, capAt + 5)).toBe(capAt);
    // HEAD takes nothing of the cap, so only the first one's counts can close it here.
    await waitFor(async () => !isLanding(await ask(`/c/${code}`, { method: 'HEAD', url })), {
      deadlineMs: 2_000,
      what: 'the counts of the other collector',
    });
    expect(await clicks(code, 5, { url })).toBe(0);
    await stopAll();
    rmSync(home, { recursive: true });
    await start();
    expect(await clicks(code, 5)).toBe(0);
  });

  it('are overshot by no more than what the other collector accepts before it hears of it', async () => {
    const home = mkdtempSync(join(tmpdir(), 'afflux-second-'));
    const port = await freePort();
    await start();
    await start({ home, collectorPort: port });
    const clicksPerSecond = 40;
    const capAt = 4 * clicksPerSecond;
    const { code } = await link({ dailyClickCap: capAt });
    const urls = [world.url, `http://127.0.0.1:${port}`];
    await waitFor(
      async () => (await ask(`/c/${code}`, { method: 'HEAD', url: urls[1] ?? '' })).status !== 404,
      {
        deadlineMs: 2_000,
        what: 'the new link at both',
      },
    );
    let landed = 0;
    // Each visitor goes on until its collector has refused it for two seconds' worth of clicks.
    const visit = async (url: string) => {
      let refused = 0;
      for await (const _tick of setInterval(1_000 / clicksPerSecond)) {
        if (isLanding(await ask(`/c/${code}`, { url }))) landed++;
        else refused++;
        if (refused >= 2 * clicksPerSecond) return;
      }
    };
    await Promise.all(urls.map(visit));
    expect(landed).toBeGreaterThanOrEqual(capAt);
    // A second between writes, and half of one for slow machines.
    expect(landed).toBeLessThanOrEqual(capAt + 1.5 * clicksPerSecond);
    await stopAll();
    rmSync(home, { recursive: true });
  });
});

describe('a start without PostgreSQL', () => {
  afterEach(stopAll);

  it('serves the links of the last run, and says how old they are', async () => {
    await start();
    const { code } = await link({
      routing: { rules: [], destinations: [{ url: 'https://shop.test/r', weight: 1 }] },
    });
    await stopAll();
    const stoppedAtMs = Date.now();
    await start({ databaseUrl: UNREACHABLE_URL });
    const answer = await ask(`/c/${code}`);
    expect(answer.headers.get('location')).toMatch(/^https:\/\/shop\.test\/r\?click_id=/);
    const text = await readMetrics(world.url, world.config);
    const ageSeconds = Number(/^afflux_collector_links_age_seconds (\S+)$/m.exec(text)?.[1]);
    expect(ageSeconds * 1_000).toBeGreaterThanOrEqual(Date.now() - stoppedAtMs - 1_000);
    expect(ageSeconds).toBeLessThan(60);
  });

  it('asks visitors to come again while there are no links at all, and loses none of them to a 404', async () => {
    const home = mkdtempSync(join(tmpdir(), 'afflux-empty-'));
    const config = { ...world.config, home, databaseUrl: UNREACHABLE_URL };
    running.push(await startCollector({ config, log: quietLog }));
    for (const path of ['/c/any', '/i/any.gif']) {
      const answer = await ask(path);
      expect([answer.status, answer.headers.get('retry-after'), answer.headers.get('cache-control')]).toEqual(
        [503, '1', 'no-store'],
      );
    }
    const ready = await ask('/readyz');
    expect([ready.status, await ready.text()]).toEqual([503, 'links are not loaded yet\n']);
    await stopAll();
    rmSync(home, { recursive: true });
  });
});

describe('a database of countries of one’s own', () => {
  it('that cannot be read stops the start with its name', async () => {
    const config = { ...world.config, geoDatabase: '/nowhere/geo.mmdb' };
    await expect(startCollector({ config, log: quietLog })).rejects.toMatchObject({
      code: 'geo_database_unreadable',
    });
  });
});
