import { createHmac } from 'node:crypto';
import { createHistogram } from 'node:perf_hooks';
import {
  type Access,
  createTraffic,
  type Journey,
  openAccess,
  type TrafficDemo,
} from '../traffic/journeys.ts';
import type { Kind } from '../traffic/limits.ts';
import { type RunFile, runName, TOTALS, type Total } from '../traffic/run.ts';
import {
  type ArrivalRate,
  DEFAULT_SEED,
  firstVisitor,
  kindsOf,
  visitors,
  WARM_UP_PART,
  WARM_UP_SECONDS,
} from '../traffic/scenarios.ts';
import type { Client } from './client.ts';
import { type Answers, type Arrivals, createAnswers, sendAtRate } from './rate.ts';

/** Arrivals of one part of a run and the answers to their requests. */
export interface Seen {
  readonly seconds: number;
  readonly arrivals: Arrivals;
  readonly answers: ReadonlyMap<Kind, Answers>;
}

/** Sends the shared journeys by undici. */
export interface Generator {
  /** Makes what orders and readers need. @throws Error when the API refuses. */
  openAccess(): Promise<void>;
  /** What both sides compile and cache first; received, and not timed. */
  warmUp(rate: number): Promise<void>;
  send(part: { rates: readonly ArrivalRate[]; seconds: number; number?: number }): Promise<Seen>;
  received(): RunFile;
}

export function createGenerator(options: {
  client: Client;
  demo: TrafficDemo;
  /** Hears of the answers that are wrong. */
  reportProblem: (text: string) => void;
  seed?: number;
  /** Unix milliseconds. */
  now?: () => number;
}): Generator {
  const { client, demo, reportProblem, seed = DEFAULT_SEED, now = Date.now } = options;
  const startedAt = now();
  const run = runName(startedAt);
  const totals = Object.fromEntries(TOTALS.map((total) => [total, 0])) as Record<Total, number>;
  const trafficWith = (access: Access | undefined) =>
    createTraffic({
      seed,
      run,
      demo,
      access,
      now,
      hmac: (key, text) => createHmac('sha256', Buffer.from(key, 'base64')).update(text).digest('base64'),
      add: (total, value) => {
        totals[total] += value;
      },
    });
  let traffic = trafficWith(undefined);

  async function travel(
    journey: Journey,
    arrivedAt: number,
    answers: ReadonlyMap<Kind, Answers>,
  ): Promise<void> {
    // What follows an answer is due when that has come.
    let dueAt = arrivedAt;
    for (let next = journey.next(); !next.done; ) {
      const { kind, request, problem } = next.value;
      const answer = await client.send(request);
      const said = answer && problem(answer);
      const isGood = answer !== undefined && said === undefined;
      answers.get(kind)?.record(dueAt, isGood ? 'good' : answer ? 'wrong' : 'unanswered');
      if (said !== undefined) reportProblem(said);
      if (!isGood) return;
      dueAt = performance.now();
      next = journey.next(answer);
    }
  }

  const send: Generator['send'] = async ({ rates, seconds, number = 0 }) => {
    const answers = new Map(kindsOf(rates).map((kind) => [kind, createAnswers()]));
    const all = await Promise.all(
      rates.map(({ arrival, count, inMs }) =>
        sendAtRate({
          perSecond: (count * 1_000) / inMs,
          seconds,
          send: (n, dueAt) => travel(traffic[arrival](firstVisitor(number) + n), dueAt, answers),
        }),
      ),
    );
    return { seconds, arrivals: together(all), answers };
  };

  return {
    async openAccess() {
      const opening = openAccess(demo);
      for (let next = opening.next(); ; ) {
        if (next.done) {
          traffic = trafficWith(next.value);
          return;
        }
        const answer = await client.send(next.value);
        if (!answer) throw new Error(`${next.value.path} was not answered`);
        next = opening.next(answer);
      }
    },
    async warmUp(rate) {
      await send({ rates: visitors(rate), seconds: WARM_UP_SECONDS, number: WARM_UP_PART });
    },
    send,
    received: () => ({ run, startedAt, seed, totals: { ...totals } }),
  };
}

function together(all: readonly Arrivals[]): Arrivals {
  const latenessUs = createHistogram();
  for (const arrivals of all) latenessUs.add(arrivals.latenessUs);
  const sum = (read: (arrivals: Arrivals) => number): number =>
    all.reduce((total, arrivals) => total + read(arrivals), 0);
  return { sent: sum(({ sent }) => sent), dropped: sum(({ dropped }) => dropped), latenessUs };
}
