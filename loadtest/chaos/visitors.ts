import { Agent, type IncomingMessage, request } from 'node:http';
import type { DemoFile } from '../platform.ts';
import type { SeededRandom } from '../random.ts';
import type { ClientRecord, Unanswered } from './record.ts';

/** Clicks a second: enough that every fault meets some on their way, and the machine keeps its breath. */
const CLICKS_PER_SECOND = 200;
const TICK_MS = 10;
/** Longer than any pause of the schedule; who waits longer has gone. */
const PATIENCE_MS = 10_000;
/** All who click within their patience, and half as many again: a bound that no run should meet. */
const MAX_WAITING = 3_000;
/** Of these links' orders the commission is a percentage of the amount, at every level. */
const PERCENT_LINKS = /-summer$/;

/**
 * Visitors click at a steady rate, each over a connection of its own as browsers do, whether those before have their answers
 * or not: a visit counts from the moment it was due. Stopping waits for the answers under way.
 */
export function startVisitors(options: {
  collectorUrl: string;
  demo: DemoFile;
  random: SeededRandom;
  record: ClientRecord;
}): { stop(): Promise<void> } {
  const { collectorUrl, demo, random, record } = options;
  const agent = new Agent({ keepAlive: false });
  const waiting = new Set<Promise<unknown>>();
  const startedAt = Date.now();
  let due = 0;

  async function click(dueMs: number): Promise<void> {
    const number = record.requests++;
    const link = random.pick(demo.links);
    const url = `${collectorUrl}/c/${link.code}?sub1=${number}`;
    const over = (how: Unanswered['how']): void =>
      record.noteUnanswered({ request: number, dueMs, endMs: Date.now(), how });
    if (waiting.size >= MAX_WAITING) return over('not sent');
    const head = await visit(url, { agent, number });
    if (typeof head === 'string') return over(head);
    const { statusCode, headers } = head;
    const clickId = headers.location && new URL(headers.location).searchParams.get('click_id');
    if (statusCode === 503) over('503');
    else if (statusCode === 302 && clickId) {
      const { affiliate_id: affiliateId, code } = link;
      const received = { request: number, clickId, affiliateId, isPercent: PERCENT_LINKS.test(code) };
      record.noteClick(received, Date.now() - dueMs);
    } else record.strange.push(`click ${number} was answered ${statusCode}`);
  }

  const timer = setInterval(() => {
    const now = Date.now();
    for (;;) {
      const dueMs = startedAt + (due * 1_000) / CLICKS_PER_SECOND;
      if (dueMs > now) break;
      due++;
      const clicked: Promise<void> = click(dueMs).finally(() => waiting.delete(clicked));
      waiting.add(clicked);
    }
  }, TICK_MS);

  return {
    async stop() {
      clearInterval(timer);
      await Promise.all(waiting);
      agent.destroy();
    },
  };
}

/** The head of the answer, with which a visitor is on the way to the shop, whatever becomes of the connection; or why none came. */
function visit(
  url: string,
  { agent, number }: { agent: Agent; number: number },
): Promise<IncomingMessage | Unanswered['how']> {
  return new Promise((resolve) => {
    const outgoing = request(url, {
      agent,
      headers: {
        'User-Agent': `Mozilla/5.0 (X11; Linux x86_64) Visitor/${number}`,
        'Accept-Language': 'en',
        'X-Forwarded-For': addressOf(number),
      },
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    outgoing.on('response', (head) => {
      resolve(head);
      head.on('error', () => undefined).resume();
    });
    outgoing.on('error', (error: NodeJS.ErrnoException) => resolve(failureOf(error)));
    outgoing.end();
  });
}

function failureOf({ code, name }: NodeJS.ErrnoException): Unanswered['how'] {
  if (code === 'ECONNREFUSED') return 'connection refused';
  // The reason of the signal is "TimeoutError"; the client gives its own error.
  return name === 'AbortError' || name === 'TimeoutError' || code === 'ETIMEDOUT'
    ? 'time-out'
    : 'connection reset';
}

/** Of 10.0.0.0/8, which belongs to no country and no hoster; neighbours in time are in different networks. */
function addressOf(request: number): string {
  return `10.${request & 255}.${(request >> 8) & 255}.${1 + ((request >> 16) % 254)}`;
}
