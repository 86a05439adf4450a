import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatIp } from '../core/ip.ts';
import { answerTo } from '../core/uws/pieces.ts';
import { createAffiliate } from '../ledger/programs/affiliates.ts';
import { createCampaign } from '../ledger/programs/campaigns.ts';
import { createLink } from '../ledger/programs/links.ts';
import { createProgram } from '../ledger/programs/programs.ts';
import { type CollectorUnderTest, prepareCollector } from './support/collector.ts';
import { waitFor } from './support/engines.ts';

/** Long requests are cut at every n-th byte; at every byte in a long run. */
const STEP = Number(process.env.AFFLUX_TEST_CUT_STEP ?? 20);
/** Shorter ones are always cut at every byte. */
const SHORT_BYTES = 200;
/** Of a TCP segment over Ethernet. */
const SEGMENT_BYTES = 1_460;
/** Connections at a time. */
const AT_ONCE = 100;

/** PROXY version 2: IPv4 over TCP, from 203.0.113.7:4660 to 10.0.0.1:80. */
const PROXY = '0d0a0d0a000d0a515549540a2111000ccb0071070a00000112340050';

interface Case {
  readonly what: string;
  readonly bytes: Buffer;
  readonly status: string;
}

/** Statuses of clicks: one without a destination is recorded as well. */
const CLICKS: ReadonlySet<string> = new Set(['302', '410']);

const HOST = 'Host: go.shop.test\r\n';
const get = (target: string, headers = HOST) => `GET ${target} HTTP/1.1\r\n${headers}\r\n`;
const cookies = (length: number) => `${HOST}Cookie: ${'c'.repeat(length)}\r\n`;
const headers = (count: number) => HOST + Array.from({ length: count }, (_, i) => `X-${i}: v\r\n`).join('');

const corpus: readonly Case[] = (
  [
    ['a click', get('/c/good?sub1=a'), '302'],
    [
      'a click of a browser',
      get('/c/good', `${HOST}User-Agent: Mozilla/5.0\r\nAccept: */*\r\nDNT: 1\r\n`),
      '302',
    ],
    ['a HEAD', get('/c/good').replace('GET', 'HEAD'), '302'],
    ['a link that has ended', get('/c/gone'), '410'],
    ['a fetch ahead of a click', get('/c/good', `${HOST}Sec-Purpose: prefetch\r\n`), '503'],
    ['an unknown link', get('/c/none', 'Host: x\r\n'), '404'],
    ['an unknown path', get('/nothing', 'Host: x\r\n'), '404'],
    ['another method', `POST /c/good HTTP/1.1\r\n${HOST}Content-Length: 0\r\n\r\n`, '405'],
    ['a URL of 3,000 characters', get(`/c/good?sub1=${'a'.repeat(3_000)}`), '302'],
    ['a URL beyond the limit', get(`/c/good?sub1=${'a'.repeat(9_000)}`), '414'],
    ['14,000 bytes of cookies', get('/c/good', cookies(14_000)), '302'],
    ['headers beyond the limit', get('/c/good', cookies(20_000)), '431'],
    ['90 headers', get('/c/good', headers(90)), '302'],
    ['no Host', get('/c/good', ''), '400'],
  ] as const
).map(([what, text, status]) => ({ what, bytes: Buffer.from(text, 'latin1'), status }));

describe('requests in pieces, as real networks deliver them', () => {
  let world: CollectorUnderTest;
  let collector: { stop(): Promise<void> };

  beforeAll(async () => {
    world = await prepareCollector();
    collector = await world.start({ trustedProxies: ['127.0.0.1'] });
    await createLink(world.ledger, {
      campaignId: world.campaign.id,
      affiliateId: world.affiliate.id,
      landingUrl: 'https://shop.test/',
      code: 'good',
    });
    const program = await createProgram(world.ledger, { name: 'Ended', currency: 'EUR' });
    const owner = { programId: program.id, name: 'Ended' };
    const campaign = await createCampaign(world.ledger, {
      ...owner,
      landingUrl: 'https://shop.test/',
      endsAt: new Date(0),
    });
    const affiliate = await createAffiliate(world.ledger, {
      ...owner,
      refCode: 'bob',
      email: 'bob@affiliates.test',
      status: 'active',
    });
    await createLink(world.ledger, {
      campaignId: campaign.id,
      affiliateId: affiliate.id,
      landingUrl: 'https://shop.test/',
      code: 'gone',
    });
    const good = async () => (await fetch(`${world.url}/c/good`, { redirect: 'manual' })).status;
    await waitFor(async () => (await good()) === 302, { deadlineMs: 5_000, what: 'the link' });
    const gone = async () => (await fetch(`${world.url}/c/gone`)).status;
    await waitFor(async () => (await gone()) === 410, { deadlineMs: 5_000, what: 'the ended link' });
  });
  afterAll(async () => {
    await collector.stop();
    await world.dispose();
  });

  const send = (pieces: readonly Buffer[]): Promise<string> =>
    answerTo({ port: Number(new URL(world.url).port) }, pieces);

  /** Sends every list of pieces; all are answered with `status`, and every click is stored once. */
  async function expectAll(status: string, lists: readonly (readonly Buffer[])[]): Promise<void> {
    const before = (await world.storedClicks()).length;
    const answers = new Map<string, number>();
    for (let i = 0; i < lists.length; i += AT_ONCE) {
      for (const answer of await Promise.all(lists.slice(i, i + AT_ONCE).map(send))) {
        answers.set(answer, (answers.get(answer) ?? 0) + 1);
      }
    }
    expect(Object.fromEntries(answers)).toEqual({ [status]: lists.length });
    const stored = await world.storedClicks();
    expect(stored.length - before).toBe(CLICKS.has(status) ? lists.length : 0);
    expect(new Set(stored.map(({ node, seq }) => `${node}:${seq}`)).size).toBe(stored.length);
  }

  const cutTwice = (bytes: Buffer, step: number) =>
    Array.from({ length: Math.ceil((bytes.length - 1) / step) }, (_, i) => [
      bytes.subarray(0, 1 + i * step),
      bytes.subarray(1 + i * step),
    ]);
  const segments = (bytes: Buffer) =>
    Array.from({ length: Math.ceil(bytes.length / SEGMENT_BYTES) }, (_, i) =>
      bytes.subarray(i * SEGMENT_BYTES, (i + 1) * SEGMENT_BYTES),
    );

  it.each(corpus)(
    '$what is answered $status wherever it is cut',
    { timeout: 300_000 },
    async ({ bytes, status }) => {
      const step = bytes.length < SHORT_BYTES ? 1 : STEP;
      await expectAll(status, [...cutTwice(bytes, step), segments(bytes), [bytes]]);
    },
  );

  it('a PROXY header is read wherever it is cut', async () => {
    const bytes = Buffer.concat([Buffer.from(PROXY, 'hex'), Buffer.from(get('/c/good'))]);
    const lists = cutTwice(bytes, 1);
    await expectAll('302', lists);
    const addresses = (await world.storedClicks()).slice(-lists.length).map(({ ip }) => formatIp(ip));
    expect(new Set(addresses)).toEqual(new Set(['203.0.113.7']));
  });
});
