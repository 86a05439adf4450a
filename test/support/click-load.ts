import { Agent, get } from 'node:http';
import { performance } from 'node:perf_hooks';

/** Clicks at a steady rate, whether or not earlier ones are answered, each of a name of its own. */
export interface ClickLoad {
  /** Names of the clicks that were redirected. */
  readonly redirected: ReadonlySet<string>;
  /** Status codes of the other answers, and errors of connections. */
  readonly others: readonly string[];
  /** The time that so many percent of the redirects took at most, ms. */
  percentile(percent: number): number;
  /** Sends no more, and waits for the answers under way. */
  stop(): Promise<void>;
}

const TICK_MS = 10;
/** A click without an answer for so long is given up. */
const ANSWER_MS = 10_000;

/** @param url of a link; the name of a click is sent as its `sub1`. */
export function startClickLoad({ url, perSecond }: { url: string; perSecond: number }): ClickLoad {
  const agent = new Agent({ keepAlive: true });
  const redirected = new Set<string>();
  const others: string[] = [];
  const tookMs: number[] = [];
  const underWay = new Set<Promise<void>>();
  const startedAt = performance.now();
  let sent = 0;

  function click(name: string): Promise<void> {
    const sentAt = performance.now();
    return new Promise((resolve) => {
      const request = get(`${url}?sub1=${name}`, { agent, timeout: ANSWER_MS }, (response) => {
        response.resume();
        response.once('end', () => {
          if (response.statusCode === 302) {
            redirected.add(name);
            tookMs.push(performance.now() - sentAt);
          } else others.push(String(response.statusCode));
          resolve();
        });
      });
      request.once('timeout', () => request.destroy(new Error('no answer')));
      request.once('error', (error) => {
        others.push(error.message);
        resolve();
      });
    });
  }

  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - startedAt) / 1_000) * perSecond);
    for (; sent < due; sent++) {
      const answered = click(`c${sent}`);
      underWay.add(answered);
      void answered.then(() => underWay.delete(answered));
    }
  }, TICK_MS);

  return {
    redirected,
    others,
    percentile(percent) {
      const sorted = tookMs.toSorted((a, b) => a - b);
      return sorted[Math.min(sorted.length - 1, Math.floor((percent / 100) * sorted.length))] ?? 0;
    },
    async stop() {
      clearInterval(timer);
      await Promise.all(underWay);
      agent.destroy();
    },
  };
}
