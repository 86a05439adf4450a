import { connect } from 'node:net';
import { VISIT_URL } from './peer.ts';

const BARE_LANDING_URL = 'https://shop.example/landing/page?campaign=summer';

/** Visitors who each click as soon as they were answered, and remember which of their clicks were. */
export interface Visits {
  /** The numbers of the clicks whose redirect arrived whole. */
  readonly answered: readonly number[];
  /** Clicks requested so far. */
  readonly sent: () => number;
  /** Waits until every connection has ended: after {@link Visits.stop}, or because the server was killed. */
  readonly ended: Promise<void>;
  /** Every visitor leaves with the next answer. */
  stop(): void;
}

/**
 * Starts `connections` visitors of the links; their clicks are numbered from `from` and carry the number in the Referer and in the parameter `ref`.
 * `ended` rejects on an answer that is no redirect to the link's landing page.
 */
export function startVisits(options: {
  port: number;
  links: readonly { readonly code: string; readonly landingUrl: string }[];
  connections: number;
  from: number;
}): Visits {
  const { port, links, connections, from } = options;
  const answered: number[] = [];
  let next = from;
  let stopped = false;

  function visitor(): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1');
      socket.setNoDelay(true);
      let visit = 0;
      let received = '';
      const ask = (): void => {
        visit = next++;
        received = '';
        socket.write(requestOf(visit, linkOf(links, visit).code));
      };
      socket.on('connect', ask);
      socket.on('data', (bytes) => {
        received += bytes.toString('latin1');
        const head = wholeAnswer(received);
        if (head === undefined) return;
        if (!head.startsWith('HTTP/1.1 302') || !isOnItsWay(head, linkOf(links, visit).landingUrl)) {
          socket.destroy();
          reject(new Error(`visit ${visit} was answered ${head}`));
          return;
        }
        answered.push(visit);
        if (stopped) socket.end();
        else ask();
      });
      // A server that was killed resets its connections, and ends those that wait for an answer.
      socket.on('error', () => undefined);
      socket.on('close', () => resolve());
    });
  }

  return {
    answered,
    sent: () => next - from,
    ended: Promise.all(Array.from({ length: connections }, visitor)).then(() => undefined),
    stop() {
      stopped = true;
    },
  };
}

function linkOf<Link>(links: readonly Link[], visit: number): Link {
  const link = links[visit % links.length];
  if (!link) throw new Error('there are no links');
  return link;
}

/** The bare server knows one landing page only. */
function isOnItsWay(head: string, landingUrl: string): boolean {
  return head.includes(landingUrl) || head.includes(BARE_LANDING_URL);
}

function requestOf(visit: number, code: string): string {
  return [
    `GET /c/${code}?sub1=placement-${visit % 97}&utm_source=news&ref=${visit} HTTP/1.1`,
    'Host: go.shop.example',
    'Accept: text/html,application/xhtml+xml,*/*;q=0.8',
    'Accept-Language: en-US,en;q=0.9',
    `User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0 v/${visit % 1_000}`,
    `Referer: ${VISIT_URL}${visit}`,
    '',
    '',
  ].join('\r\n');
}

/** The head of an answer that has arrived with all of its body; undefined before. */
function wholeAnswer(received: string): string | undefined {
  const bodyAt = received.indexOf('\r\n\r\n') + 4;
  if (bodyAt < 4) return undefined;
  const head = received.slice(0, bodyAt);
  const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
  return received.length >= bodyAt + length ? head : undefined;
}
