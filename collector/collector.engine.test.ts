import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClickIdCodec } from '../core/clicks/click-id.ts';
import {
  ClickFlag,
  type ClickRecord,
  encodeClick,
  INVALID_CLICK_FLAGS,
} from '../core/clicks/click-record.ts';
import { listLeases } from '../core/clicks/lease.ts';
import { connectNats, LEASES_BUCKET, openBucket } from '../core/clicks/stream.ts';
import { formatIp } from '../core/ip.ts';
import { createSecretBox } from '../core/secret-box.ts';
import { metricsToken } from '../core/service/metrics-access.ts';
import { freePort } from '../engines/engine.ts';
import { updateAffiliate } from '../ledger/programs/affiliates.ts';
import { updateCampaign } from '../ledger/programs/campaigns.ts';
import { createLink, updateLink } from '../ledger/programs/links.ts';
import {
  type CollectorUnderTest,
  prepareCollector,
  readMetrics,
  sendRaw,
} from '../test/support/collector.ts';
import { waitFor } from '../test/support/engines.ts';
import { MAX_CLICKS_A_MINUTE } from './routing/floods.ts';

/** A change is seen within a second; the test machine may be busy with everything else at once. */
const SEEN_MS = 3_000;
const CHROME =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36';

describe('collector', () => {
  let world: CollectorUnderTest;
  let collector: { stop(): Promise<void> };
  let links = 0;

  async function link(landingUrl: string, extra: { expiresAt?: Date } = {}) {
    const { id, code } = await createLink(world.ledger, {
      campaignId: world.campaign.id,
      affiliateId: world.affiliate.id,
      landingUrl,
      code: `link-${links++}`,
      ...extra,
    });
    await waitFor(async () => (await click(code, { method: 'HEAD' })).status !== 404, {
      deadlineMs: 2_000,
      what: 'the new link',
    });
    return { id, code };
  }

  function click(path: string, options: { method?: string; headers?: Record<string, string> } = {}) {
    return fetch(`${world.url}/c/${path}`, {
      redirect: 'manual',
      headers: { 'User-Agent': CHROME },
      ...options,
    });
  }

  /** These tests click one link again and again: that it was a repeat is another test's matter. */
  const stored = async (sub5: string) =>
    (await world.storedClicks())
      .filter((record) => record.sub5 === sub5 && (record.flags & ClickFlag.head) === 0)
      .map((record) => ({ ...record, flags: record.flags & ~ClickFlag.repeat }));

  beforeAll(async () => {
    world = await prepareCollector();
    collector = await world.start();
  });
  afterAll(async () => {
    await collector.stop();
    await world.dispose();
  });

  it('redirects to the landing page with a click id, in the URL and as a cookie, and stores every field', async () => {
    const { id, code } = await link('https://shop.test/p?a=1');
    const before = Date.now();
    const answer = await click(
      `${code}?sub1=one&sub2=t%C3%A9&sub5=stores&utm_source=news&utm_campaign=c+1&gclid=xyz&empty`,
      {
        headers: {
          'User-Agent': CHROME,
          'Accept-Language': 'de-AT,de;q=0.9',
          Referer: 'https://blog.test/post?x=1',
          'X-Forwarded-For': '8.8.8.8',
        },
      },
    );
    expect(answer.status).toBe(302);
    const location = new URL(answer.headers.get('location') ?? '');
    const clickId = location.searchParams.get('click_id') ?? '';
    expect(location.href).toBe(`https://shop.test/p?a=1&click_id=${clickId}&gclid=xyz`);
    expect(answer.headers.get('set-cookie')).toBe(
      `aff_click=${clickId}; Max-Age=${7 * 86_400}; Path=/; HttpOnly; SameSite=Lax`,
    );
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const identity = createClickIdCodec(world.config.clickKeys).decode(clickId);
    const [record, ...others] = await stored('stores');
    expect(others).toEqual([]);
    if (!record) throw new Error('the click is not in the stream');
    expect({ ts: record.ts, node: record.node, seq: record.seq }).toEqual(identity);
    expect(record.ts).toBeGreaterThanOrEqual(before);
    expect(record.ts).toBeLessThanOrEqual(Date.now());
    expect(formatIp(record.ip)).toBe('127.0.0.1');
    expect(record).toMatchObject({
      program_id: world.program.id,
      campaign_id: world.campaign.id,
      affiliate_id: world.affiliate.id,
      link_id: id,
      flags: 0,
      fingerprint: createHash('sha256').update(`${CHROME}:de-AT,de;q=0.9`).digest().readBigUInt64BE(0),
      user_agent: CHROME,
      device: 'desktop',
      os: 'Windows',
      browser: 'Chrome',
      language: 'de-AT',
      referrer: 'https://blog.test/post?x=1',
      sub1: 'one',
      sub2: 'té',
      sub3: '',
      utm_source: 'news',
      utm_medium: '',
      utm_campaign: 'c 1',
      query: 'gclid=xyz&empty',
    });
  });

  it('fills macros, and only their own places', async () => {
    const { id, code } = await link(
      'https://shop.test/{sub1}?c={click_id}&l={link_id}&d={device}&ip={ip}&r={referrer}',
    );
    const evil = encodeURIComponent('a/b?c&d=e\r\nSet-Cookie: x=1\u0000é');
    const answer = await click(`${code}?sub1=${evil}`, {
      headers: { 'User-Agent': CHROME, Referer: 'http://r.test/?q=1' },
    });
    const location = answer.headers.get('location') ?? '';
    const clickId = new URL(location).searchParams.get('c');
    expect(location).toBe(
      `https://shop.test/${evil}?c=${clickId}&l=${id}&d=desktop&ip=127.0.0.1&r=http%3A%2F%2Fr.test%2F%3Fq%3D1`,
    );
    expect(clickId).toMatch(/^[\w-]{22}$/);
    expect(answer.headers.getSetCookie()).toHaveLength(1);
  });

  it('follows a link in its harmless spellings, each once, and sends what is no link to the fallback of its host', async () => {
    const { code } = await link('https://shop.test/spelt');
    const encoded = code.replace('-', '%2D');
    const spellings = [
      `/c/${code}/?sub5=spelt`,
      `//c/${code}?sub5=spelt`,
      `/C/${code}?sub5=spelt`,
      `/c/${encoded}?sub5=spelt`,
      `/c/${code}.?sub5=spelt`,
      `/c/${code}%22?sub5=spelt`,
      `/c/${code}%E2%80%8B?sub5=spelt`,
      `/c/${code}&sub5=spelt`,
      `/c/${code}%3Fsub5%3Dspelt`,
      `/c/${code}?sub1=a&amp;sub5=spelt`,
    ];
    const send = (path: string, host = '127.0.0.1', method = 'GET') =>
      sendRaw(world.url, `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    for (const path of spellings) expect(`${path} ${await send(path)}`).toMatch(/ HTTP\/1\.1 302 /);
    const all = await waitFor(
      async () => {
        const rows = await stored('spelt');
        return rows.length >= spellings.length && rows;
      },
      { deadlineMs: 5_000, what: 'the clicks' },
    );
    expect(all).toHaveLength(spellings.length);
    expect(await send('/c/a/b')).toMatch(/^HTTP\/1\.1 404 /);
    for (const host of ['go.shop.test', 'GO.Shop.test.', 'go.shop.test:8080']) {
      for (const path of ['/', '/c/', '/c/nope/', '/c/nope.', '/c/a/b', '/lost?x=1']) {
        expect(`${host}${path} ${await send(path, host)}`).toMatch(
          / HTTP\/1\.1 302 .*\r\nLocation: https:\/\/shop\.test\/lost\r\n/s,
        );
      }
      for (const path of ['/favicon.ico', '/robots.txt', '/.well-known/security.txt']) {
        expect(await send(path, host)).toMatch(/^HTTP\/1\.1 404 /);
      }
    }
    expect(await send(`/c/${code}`, '127.0.0.1', 'POST')).toMatch(/^HTTP\/1\.1 405 /);
  });

  it('answers HEAD without a body, and flags HEAD and robots', async () => {
    const { code } = await link('https://shop.test/');
    const head = await click(`${code}?sub5=flags`, { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([302, '']);
    const fetchedAhead = { 'User-Agent': CHROME, 'Sec-Purpose': 'prefetch' };
    await click(`${code}?sub5=flags`, { method: 'HEAD', headers: fetchedAhead });
    await click(`${code}?sub5=flags`, {
      headers: { 'User-Agent': 'Googlebot/2.1 (+http://www.google.com/bot.html)' },
    });
    const all = (await world.storedClicks()).filter((record) => record.sub5 === 'flags');
    expect(all.map((record) => record.flags)).toEqual([
      ClickFlag.head,
      ClickFlag.head | ClickFlag.prefetch,
      ClickFlag.bot,
    ]);
  });

  it.each([
    { 'Sec-Purpose': 'prefetch' },
    { 'Sec-Purpose': 'prefetch;prerender' },
    { 'Sec-Purpose': 'prefetch;anonymous-client-ip' },
    { 'sec-purpose': 'Prefetch ; prerender' },
    { Purpose: 'prefetch' },
    { Purpose: 'Prefetch' },
    { 'X-Purpose': 'preview' },
    { 'X-Purpose': 'prefetch' },
    { 'X-Purpose': 'instant' },
    { 'X-Moz': 'prefetch' },
    { Purpose: '', 'X-Moz': 'prefetch' },
    { 'Sec-Purpose': 'prefetch', 'Sec-Fetch-Dest': 'empty', 'Sec-Fetch-Mode': 'no-cors' },
  ])(
    'a browser that fetches a link ahead takes no click from its user: %j',
    { tags: ['attack'] },
    async (headers) => {
      const { id, code } = await link('https://shop.test/');
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
      const ahead = await sendRaw(
        world.url,
        `GET /c/${code}?sub5=ahead HTTP/1.1\r\nHost: a\r\nUser-Agent: ${CHROME}\r\n${lines.join('')}\r\n`,
      );
      expect(ahead).toMatch(/^HTTP\/1\.1 503 .*\r\n/);
      expect(ahead).toMatch(/^cache-control: no-store\r$/im);
      expect(ahead).not.toMatch(/^(location|set-cookie|retry-after):/im);
      const visit = await click(`${code}?sub5=ahead`, { headers: { 'User-Agent': CHROME } });
      expect(visit.status).toBe(302);
      const all = (await stored('ahead')).filter((record) => record.link_id === id);
      expect(all.map((record) => record.flags)).toEqual([0]);
    },
  );

  it('takes other purposes for clicks, and counts pixels that are fetched ahead', async () => {
    const { code } = await link('https://shop.test/');
    const other = { 'User-Agent': CHROME, Purpose: 'shopping', 'X-Purpose': '', 'X-Moz': 'microsummary' };
    expect((await click(`${code}?sub5=purposes`, { headers: other })).status).toBe(302);
    const pixel = `${world.url}/i/${code}.gif?sub5=purposes`;
    expect((await fetch(pixel, { headers: { 'User-Agent': CHROME, Purpose: 'prefetch' } })).status).toBe(200);
    expect((await stored('purposes')).map((record) => record.flags)).toEqual([
      0,
      ClickFlag.impression | ClickFlag.prefetch,
    ]);
  });

  it('a page that loads a link as an image or in a frame makes no valid click, and sets no cookie', {
    tags: ['attack'],
  }, async () => {
    const { code } = await link('https://shop.test/');
    const ask = async (headers: Record<string, string>) =>
      await sendRaw(
        world.url,
        `GET /c/${code}?sub5=forced HTTP/1.1\r\nHost: a\r\nUser-Agent: ${CHROME}\r\n${Object.entries(headers)
          .map(([name, value]) => `${name}: ${value}\r\n`)
          .join('')}\r\n`,
      );
    const destinations = ['image', 'script', 'style', 'iframe', 'frame', 'object', 'embed', 'empty', 'video'];
    const forced = [
      ...destinations.map((destination) => ({ 'Sec-Fetch-Dest': destination })),
      { 'Sec-Fetch-Mode': 'no-cors' },
    ];
    for (const headers of forced) {
      const answer = await ask(headers);
      expect(answer).toMatch(/^HTTP\/1.1 302 Found\r\nLocation: https:\/\/shop\.test\/\?click_id=/);
      expect(answer).not.toContain('Set-Cookie');
    }
    const clicked = [
      {},
      { 'Sec-Fetch-Dest': 'document', 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Site': 'cross-site' },
    ];
    for (const headers of clicked) expect(await ask(headers)).toContain('Set-Cookie: aff_click=');
    const flags = (await stored('forced')).map((record) => record.flags);
    expect(flags).toEqual([...forced.map(() => ClickFlag.forced), 0, 0]);
    expect(INVALID_CLICK_FLAGS & ClickFlag.forced).not.toBe(0);
  });

  it('an address that floods a link with large parameters is redirected as before, and stored small', {
    tags: ['attack'],
  }, async () => {
    const { code } = await link('https://shop.test/?s={sub1}');
    await collector.stop();
    collector = await world.start({ trustedProxies: ['127.0.0.1'] });
    const long = 'x'.repeat(3_000);
    const ask = async (address: string) => {
      const headers = { 'User-Agent': `${CHROME} ${long}`, Referer: `http://r.test/${long}` };
      const answer = await click(`${code}?sub1=${long}&sub5=flood&rest=${long}`, {
        headers: { ...headers, 'X-Forwarded-For': address },
      });
      return new URL(answer.headers.get('location') ?? '').searchParams.get('s');
    };
    // More than two minutes' worth: one minute at least has too many, also when it turns meanwhile.
    const clicks = 2 * MAX_CLICKS_A_MINUTE + 1;
    for (let i = 0; i < clicks; i++) expect(await ask('198.51.100.7')).toBe(long);
    expect(await ask('198.51.100.8')).toBe(long);
    const records = await stored('flood');
    const isFlood = ({ flags }: ClickRecord) => (flags & ClickFlag.flood) !== 0;
    const floods = records.filter(isFlood);
    expect(floods.length).toBeGreaterThan(0);
    expect(floods.length).toBeLessThanOrEqual(clicks - MAX_CLICKS_A_MINUTE);
    expect(records).toHaveLength(clicks + 1);
    for (const record of floods) {
      expect(encodeClick(record).length).toBeLessThan(600);
      expect(record).toMatchObject({
        sub1: 'x'.repeat(64),
        user_agent: CHROME.slice(0, 64),
        browser: 'Chrome',
      });
    }
    expect(encodeClick(records[0] as ClickRecord).length).toBeGreaterThan(7_000);
    expect(isFlood(records.at(-1) as ClickRecord)).toBe(false);
    await collector.stop();
    collector = await world.start();
  });

  it('believes X-Forwarded-For only of a trusted proxy', async () => {
    const { code } = await link('https://shop.test/?ip={ip}');
    const forwarded = { headers: { 'User-Agent': CHROME, 'X-Forwarded-For': '8.8.8.8' } };
    expect((await click(code, forwarded)).headers.get('location')).toContain('ip=127.0.0.1');
    await collector.stop();
    collector = await world.start({ trustedProxies: ['127.0.0.1'] });
    expect((await click(code, forwarded)).headers.get('location')).toContain('ip=8.8.8.8');
    await collector.stop();
    collector = await world.start();
  });

  it('redirects an unknown code to the fallback of the program that owns the requested domain, else answers 404', async () => {
    const unknown = await click('unknown-code');
    expect([unknown.status, await unknown.text()]).toEqual([404, 'code: no such link\n']);
    const answer = await sendRaw(
      world.url,
      'GET /c/unknown?gclid=g HTTP/1.1\r\nHost: go.shop.test:8080\r\n\r\n',
    );
    expect(answer).toMatch(/^HTTP\/1.1 302 Found\r\n/);
    expect(answer).toContain('Location: https://shop.test/lost?gclid=g\r\n');
  });

  it('answers with the id of the request, whatever becomes of it, and without one that cannot be taken', async () => {
    const { code } = await link('https://shop.test/');
    const idOf = async (path: string, id: string, method = 'GET') => {
      const headers = { 'User-Agent': CHROME, 'X-Request-Id': id };
      return (await click(path, { headers, method })).headers.get('x-request-id');
    };
    const paths = [code, `${code}?${'x'.repeat(9_000)}`, 'no-such-link', '%21'];
    expect(await Promise.all(paths.map((path) => idOf(path, 'r-1')))).toEqual(paths.map(() => 'r-1'));
    expect(await idOf(code, 'r-2', 'HEAD')).toBe('r-2');
    expect(await Promise.all(['a b', 'x'.repeat(101), ''].map((id) => idOf(code, id)))).toEqual([
      null,
      null,
      null,
    ]);
    expect((await click(code)).headers.get('x-request-id')).toBeNull();
  });

  it('follows changes within a second: paused links go to the fallback, flagged, without a cookie', async () => {
    const { id, code } = await link('https://shop.test/');
    await updateLink(world.ledger, { id, changes: { status: 'paused' } });
    const fallback = await waitFor(
      async () => {
        const answer = await click(`${code}?sub5=paused`);
        return answer.headers.get('location') === 'https://shop.test/lost' && answer;
      },
      { deadlineMs: SEEN_MS, what: 'the pause to be seen' },
    );
    expect(fallback.headers.get('set-cookie')).toBeNull();
    expect((await stored('paused')).at(-1)?.flags).toBe(ClickFlag.paused | ClickFlag.fallback);
  });

  it('flags expired links and suspended affiliates', async () => {
    const { code } = await link('https://shop.test/', { expiresAt: new Date(Date.now() - 1_000) });
    await click(`${code}?sub5=expired`);
    expect((await stored('expired')).map((record) => record.flags)).toEqual([
      ClickFlag.expired | ClickFlag.fallback,
    ]);
    const other = await link('https://shop.test/');
    await updateAffiliate(world.ledger, {
      actor: 'test',
      id: world.affiliate.id,
      changes: { status: 'suspended' },
    });
    const isSuspended = async () =>
      (await click(`${other.code}?sub5=suspended`)).headers.get('location')?.includes('lost');
    await waitFor(isSuspended, { deadlineMs: SEEN_MS, what: 'the suspension' });
    expect((await stored('suspended')).at(-1)?.flags).toBe(ClickFlag.suspended | ClickFlag.fallback);
    await updateAffiliate(world.ledger, {
      actor: 'test',
      id: world.affiliate.id,
      changes: { status: 'active' },
    });
    await waitFor(async () => !(await isSuspended()), {
      deadlineMs: SEEN_MS,
      what: 'the end of the suspension',
    });
  });

  it('honours the campaign’s own fallback and its end', async () => {
    const { code } = await link('https://shop.test/');
    const changes = { status: 'ended', fallbackUrl: 'https://shop.test/over' } as const;
    await updateCampaign(world.ledger, { id: world.campaign.id, changes });
    const location = async () => (await click(code)).headers.get('location');
    await waitFor(async () => (await location()) === 'https://shop.test/over', {
      deadlineMs: SEEN_MS,
      what: 'the end',
    });
    await updateCampaign(world.ledger, {
      id: world.campaign.id,
      changes: { status: 'active', fallbackUrl: null },
    });
    await waitFor(async () => (await location())?.includes('click_id='), {
      deadlineMs: SEEN_MS,
      what: 'the restart',
    });
  });

  it('refuses bad requests by name, and stores nothing of them', async () => {
    const { code } = await link('https://shop.test/');
    const before = (await world.storedClicks()).length;
    for (const bad of ['a'.repeat(65), 'a'.repeat(3_000), '%00', 'a%0d%0ab', 'ü', 'a.b', '..%2f']) {
      const answer = await click(bad);
      expect([bad, answer.status]).toEqual([bad, 404]);
      expect(await answer.text()).toMatch(/^code: /);
    }
    for (const method of ['POST', 'PUT', 'DELETE']) expect((await click(code, { method })).status).toBe(405);
    expect((await fetch(`${world.url}/`)).status).toBe(404);
    for (const bytes of [
      `GET /c/${'a'.repeat(10_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
      `GET /c/${code}?sub1=${'a'.repeat(65_536)} HTTP/1.1\r\nHost: x\r\n\r\n`,
      `GET /c/${code} HTTP/1.1\r\nHost: x\r\nReferer: a\u0000b\r\n\r\n`,
      'GET\r\n\r\n',
      '\u0016\u0003\u0001\u0002\u0000\u0001',
    ]) {
      const answer = await sendRaw(world.url, Buffer.from(bytes, 'latin1'));
      // 505 is how uWebSockets answers what is not HTTP/1.1 at all.
      expect(answer).toMatch(/^(HTTP\/1\.1 (4\d\d|505) .*)?/s);
      expect(answer).not.toContain('302');
    }
    expect((await world.storedClicks()).length).toBe(before);
    expect((await click(code)).status).toBe(302);
  });

  it('answers one request after another on one connection', async () => {
    const { code } = await link('https://shop.test/?n={sub1}');
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ask = (n: number) =>
      new Promise<{ location: string | undefined; port: number | undefined }>((resolve, reject) => {
        request(`${world.url}/c/${code}?sub1=${n}`, { agent }, (answer) => {
          const port = answer.socket.localPort;
          answer.resume().on('end', () => resolve({ location: answer.headers.location, port }));
        })
          .on('error', reject)
          .end();
      });
    const answers = [await ask(1), await ask(2), await ask(3)];
    agent.destroy();
    expect(answers.map(({ location }) => location?.match(/n=(\d)&/)?.[1])).toEqual(['1', '2', '3']);
    expect(new Set(answers.map(({ port }) => port)).size).toBe(1);
  });

  it('closes a connection that asks again before it was answered, and lives on', async () => {
    const { code } = await link('https://shop.test/');
    const twice = `GET /c/${code} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(2);
    expect(await sendRaw(world.url, twice)).toBe('');
    expect((await click(code)).status).toBe(302);
  });

  it('a stranger reads no metrics', { tags: ['attack'] }, async () => {
    for (const headers of [{}, { Authorization: 'Bearer x' }]) {
      const answer = await fetch(`${world.url}/metrics`, { headers });
      expect([answer.status, (await answer.text()).includes('afflux_')]).toEqual([401, false]);
    }
    expect((await fetch(`${world.url}/healthz`)).status).toBe(200);
  });

  it('HEAD of a probe and of the metrics is answered as GET is, without a body', async () => {
    const authorization = `Bearer ${metricsToken(createSecretBox(world.config.dataKeys))}`;
    for (const path of ['/healthz', '/readyz', '/metrics']) {
      const head = await fetch(`${world.url}${path}`, { method: 'HEAD', headers: { authorization } });
      expect([path, head.status, await head.text()]).toEqual([path, 200, '']);
      expect(Number(head.headers.get('content-length'))).toBeGreaterThan(2);
    }
    const refused = await fetch(`${world.url}/metrics`, { method: 'HEAD' });
    expect(refused.status).toBe(401);
  });

  it('a network in between cannot lead a browser back to http: an https collector says to stay', {
    tags: ['attack'],
  }, async () => {
    const { code } = await link('https://shop.test/');
    expect((await click(code)).headers.get('strict-transport-security')).toBeNull();
    const home = mkdtempSync(join(tmpdir(), 'afflux-collector-'));
    const collectorPort = await freePort();
    const https = await world.start({ home, collectorPort, collectorUrl: 'https://go.example' });
    const answer = await fetch(`http://127.0.0.1:${collectorPort}/c/${code}`, { redirect: 'manual' });
    expect(answer.headers.get('strict-transport-security')).toBe('max-age=31536000');
    await https.stop();
    rmSync(home, { recursive: true, force: true });
  });

  it('counts what became of each request', async () => {
    const text = await readMetrics(world.url, world.config);
    for (const outcome of ['redirected', 'unknown_code', 'malformed_code', 'unknown_code_fallback']) {
      expect(text).toMatch(new RegExp(`afflux_collector_requests_total\\{outcome="${outcome}"\\} [1-9]`));
    }
    expect(text).toMatch(/afflux_collector_links [1-9]/);
    expect(text).toMatch(/afflux_collector_flags_total\{flag="bot"\} [1-9]/);
    expect(text).toMatch(/afflux_collector_commit_seconds_count [1-9]/);
  });

  it('closes its lease with the exact count when it stops', async () => {
    await collector.stop();
    const nc = await connectNats({ url: world.nats.url, name: 'test' });
    const leases = await listLeases(await openBucket(nc, LEASES_BUCKET));
    await nc.close();
    expect(leases.map((lease) => lease.state)).toEqual(leases.map(() => 'closed'));
    const clicks = await world.storedClicks();
    for (const lease of leases) {
      // What was spooled because NATS was slow to answer comes after younger clicks.
      const seqs = clicks
        .flatMap((record) => (record.node === lease.node ? record.seq : []))
        .toSorted((a, b) => a - b);
      expect(seqs).toEqual(Array.from({ length: lease.nextSeq }, (_, i) => i));
    }
    collector = await world.start();
  });
});
