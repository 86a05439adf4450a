import { randomInt } from 'node:crypto';
import type { Demo } from './data.ts';
import { type HttpClient, inParallel } from './http.ts';
import { createProgress } from './progress.ts';
import { createVisitorSource, type Visitor } from './visitors.ts';

/** One click as its visitor remembers it. */
export interface PlayedClick {
  readonly clickId: string;
  readonly affiliateId: number;
  readonly visitor: Visitor;
  readonly clickedAtMs: number;
}

export interface PlayedClicks {
  readonly sent: number;
  /** Clicks answered 302 with a click id. */
  readonly redirected: PlayedClick[];
  readonly otherAnswers: ReadonlyMap<number, number>;
}

/** Simultaneous visitors. */
const WIDTH = 64;
/** Visitors come back: this many clicks in a hundred are by somebody new. */
const NEW_VISITOR_PERCENT = 70;

/** Of a hundred clicks so many come through one address, as of an office; too many for the rules. */
const BUSY_PERCENT = 3;

const REFERRERS = [
  'https://www.google.com/',
  'https://news.example/deals/today',
  'https://blog.example/best-of-summer?page=2',
  'https://m.social.example/',
  '',
];
const PLACEMENTS = ['top', 'sidebar', 'newsletter', 'video', 'footer'];

/** Sends `count` clicks on the demo's links; `run` is kept in sub5, so that they can be found among all others. */
export async function playClicks(options: {
  http: HttpClient;
  collectorUrl: string;
  demo: Demo;
  count: number;
  run: string;
}): Promise<PlayedClicks> {
  const { http, collectorUrl, demo, count, run } = options;
  const newVisitor = createVisitorSource();
  const visitors: Visitor[] = [newVisitor()];
  const busyIp = newVisitor().ip;
  const progress = createProgress('clicks', count);
  const redirected: PlayedClick[] = [];
  const otherAnswers = new Map<number, number>();

  async function click(): Promise<void> {
    if (randomInt(100) < NEW_VISITOR_PERCENT) visitors.push(newVisitor());
    const visitor = randomInt(100) < BUSY_PERCENT ? { ...newVisitor(), ip: busyIp } : pick(visitors);
    const link = pickLink(demo);
    const query = new URLSearchParams({
      sub1: pick(PLACEMENTS),
      sub2: `ad-${randomInt(40)}`,
      sub5: run,
      utm_source: 'demo',
    });
    const answer = await http.get(`${collectorUrl}/c/${link.code}?${query}`, {
      'User-Agent': visitor.userAgent,
      'Accept-Language': visitor.acceptLanguage,
      'X-Forwarded-For': visitor.ip,
      Referer: pick(REFERRERS),
    });
    progress.advance();
    const clickId = answer.status === 302 ? new URL(answer.location).searchParams.get('click_id') : null;
    if (clickId !== null) {
      redirected.push({ clickId, affiliateId: link.affiliate_id, visitor, clickedAtMs: Date.now() });
    } else otherAnswers.set(answer.status, (otherAnswers.get(answer.status) ?? 0) + 1);
  }

  await inParallel(new Array<undefined>(count).fill(undefined), WIDTH, click);
  progress.done();
  return { sent: count, redirected, otherAnswers };
}

export function pick<T>(items: readonly T[]): T {
  const item = items[randomInt(items.length)];
  if (item === undefined) throw new Error('nothing to pick from');
  return item;
}

/** Some links are far more popular than others: the square of a uniform draw favours the first. */
function pickLink(demo: Demo): Demo['links'][number] {
  const draw = Math.floor((randomInt(1_000_000) / 1_000_000) ** 2 * demo.links.length);
  const link = demo.links[draw];
  if (!link) throw new Error('the demo has no links');
  return link;
}
