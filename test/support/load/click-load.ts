import { Agent, get } from 'node:http';
import { performance } from 'node:perf_hooks';

/** Clicks at a steady rate as long as they are answered, each of a name of its own. */
export interface ClickLoad {
  /** Names of the clicks that were redirected. */
  readonly redirected: ReadonlySet<string>;
  /** Status codes of the other answers, and errors of connections. */
  readonly others: readonly string[];
  /** The time that so many percent of the redirects took at most, ms. */
  percentile(percent: number): number;
  /** Sends no more, and waits for the answers in flight. */
  stop(): Promise<void>;
}

const TICK_MS = 10;
/** Beyond it a machine is too slow for the rate, and connections would pile up: fewer clicks are sent. */
const MAX_IN_FLIGHT = 500;
/** A click without an answer for so long is given up. */
const ANSWER_MS = 10_000;

/** @param url of a link; the name of a click is sent as its `sub1`. */
export function startClickLoad({ url, perSecond }: { url: string; perSecond: number }): ClickLoad {
  const agent = new Agent({ keepAlive: true, maxSockets: MAX_IN_FLIGHT });
  const redirected = new Set<string>();
  const others: string[] = [];
  const tookMs: number[] = [];
  const inFlight = new Set<Promise<void>>();
  const startedAt = performance.now();
  let slots = 0;

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
    for (; slots < due; slots++) {
      if (inFlight.size >= MAX_IN_FLIGHT) continue;
      const answered = click(`c${slots}`);
      inFlight.add(answered);
      void answered.then(() => inFlight.delete(answered));
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
      await Promise.all(inFlight);
      agent.destroy();
    },
  };
}
