import type { ClickIdCodec, ClickIdentity } from '../../core/clicks/click-id.ts';
import { makeRequests } from '../collector/load.ts';
import type { DemoFile } from '../platform.ts';
import type { Client } from './client.ts';
import type { Outcome } from './rate.ts';

/** The clicks of one node lease in sums: a few numbers stand for millions of identities. */
export interface LeaseSums {
  readonly clicks: number;
  /** Of `seq`. */
  readonly seqSum: number;
  /** Of `ts` less {@link Received.since}, milliseconds. */
  readonly tsSum: number;
}

/** Redirects that visitors received. */
export interface Received {
  readonly since: number;
  readonly clicks: number;
  readonly leases: ReadonlyMap<number, LeaseSums>;
}

export interface Visitors {
  click(): Promise<Outcome>;
  received(): Received;
  /** A click id that was received a short while ago; undefined before the first. */
  recentClick(): string | undefined;
}

const REQUEST_VARIETY = 20_000;
const USER_AGENTS = 1_000;
const REMEMBERED = 1_000;
/** Visitors with realistic headers and addresses of their own, who know what a redirect should look like. */
export function createVisitors(options: {
  client: Client;
  links: DemoFile['links'];
  codec: ClickIdCodec;
  /** Hears of the first few answers that are wrong. */
  reportProblem: (text: string) => void;
}): Visitors {
  const { client, links, codec, reportProblem } = options;
  const requests = makeRequests({
    codes: links.map(({ code }) => code),
    variety: REQUEST_VARIETY,
    userAgents: USER_AGENTS,
  });
  const landings = new Map(links.map((link) => [`/c/${link.code}`, landingOf(link)]));
  const since = Date.now();
  const leases = new Map<number, { clicks: number; seqSum: number; tsSum: number }>();
  const recent: string[] = [];
  let sent = 0;
  let clicks = 0;

  function note({ ts, node, seq }: ClickIdentity): void {
    const sums = leases.get(node) ?? { clicks: 0, seqSum: 0, tsSum: 0 };
    leases.set(node, {
      clicks: sums.clicks + 1,
      seqSum: sums.seqSum + seq,
      tsSum: sums.tsSum + ts - since,
    });
  }

  return {
    async click() {
      const n = sent++;
      const request = requests[n % requests.length];
      if (!request) return 'unanswered';
      const answer = await client.send({
        method: 'GET',
        path: request.path,
        headers: { ...request.headers, 'X-Forwarded-For': addressOf(n) },
      });
      if (!answer) return 'unanswered';
      const { location = '' } = answer.headers;
      const clickId = location.slice(location.lastIndexOf('=') + 1);
      const identity = codec.decode(clickId);
      const landing = landings.get(request.path.slice(0, request.path.indexOf('?')));
      if (answer.status !== 302 || !landing || !location.startsWith(landing) || !identity) {
        reportProblem(`${request.path} was answered ${answer.status}, location "${location}"`);
        return 'wrong';
      }
      recent[clicks++ % REMEMBERED] = clickId;
      note(identity);
      return 'good';
    },
    received: () => ({ since, clicks, leases }),
    recentClick: () => recent[Math.floor(Math.random() * recent.length)],
  };
}

/** What the address of a demo link's landing page begins with: ann-summer leads to /summer. */
function landingOf({ code, affiliate_id }: DemoFile['links'][number]): string {
  return `https://shop.example/${code.slice(code.indexOf('-') + 1)}?partner=${affiliate_id}&sub=placement-`;
}

/** Of 10.0.0.0/8, which belongs to no country and no hoster. */
function addressOf(n: number): string {
  return `10.${n & 255}.${(n >> 8) & 255}.${1 + ((n >> 16) % 254)}`;
}
