import type { IncomingMessage } from 'node:http';
import type { DemoFile } from '../platform.ts';
import type { Http } from './http.ts';
import type { SeededRandom } from './random.ts';
import type { ClientRecord } from './record.ts';

/** Clicks a second: enough that every fault meets some on their way, and the machine keeps its breath. */
const CLICKS_PER_SECOND = 200;
const TICK_MS = 10;
/** Most visitors that wait for an answer at one time; further clicks are not sent. */
const MAX_WAITING = 128;
/** Of these links' orders the commission is a percentage of the amount, at every level. */
const PERCENT_LINKS = /-summer$/;

/** Visitors click at a steady rate, until stopped; stopping waits for the answers under way. */
export function startVisitors(options: {
  http: Http;
  collectorUrl: string;
  demo: DemoFile;
  random: SeededRandom;
  record: ClientRecord;
}): { stop(): Promise<void> } {
  const { http, collectorUrl, demo, random, record } = options;
  const waiting = new Set<Promise<unknown>>();
  const startedAt = performance.now();
  let due = 0;

  function click(): void {
    const request = record.requests++;
    const link = random.pick(demo.links);
    const answered = http.send('GET', `${collectorUrl}/c/${link.code}?sub1=${request}`, {
      headers: {
        'User-Agent': `Mozilla/5.0 (X11; Linux x86_64) Visitor/${request}`,
        'Accept-Language': 'en',
        'X-Forwarded-For': addressOf(request),
      },
      onHead: (head) => received(request, link, head),
    });
    waiting.add(answered);
    void answered.then(() => waiting.delete(answered));
  }

  /** A visitor who reads this head is on the way to the shop, whatever becomes of the connection. */
  function received(request: number, link: DemoFile['links'][number], head: IncomingMessage): void {
    const { statusCode, headers } = head;
    const clickId = headers.location && new URL(headers.location).searchParams.get('click_id');
    if (statusCode === 302 && clickId) {
      record.noteClick({
        request,
        clickId,
        affiliateId: link.affiliate_id,
        isPercent: PERCENT_LINKS.test(link.code),
      });
    } else if (statusCode !== 503) record.strange.push(`click ${request} was answered ${statusCode}`);
  }

  const timer = setInterval(() => {
    const sofar = ((performance.now() - startedAt) * CLICKS_PER_SECOND) / 1_000;
    for (; due < sofar; due++) if (waiting.size < MAX_WAITING) click();
  }, TICK_MS);

  return {
    async stop() {
      clearInterval(timer);
      await Promise.all(waiting);
    },
  };
}

/** Of 10.0.0.0/8, which belongs to no country and no hoster; neighbours in time are in different networks. */
function addressOf(request: number): string {
  return `10.${request & 255}.${(request >> 8) & 255}.${1 + ((request >> 16) % 254)}`;
}
