import { hmac } from 'k6/crypto';
import { b64decode } from 'k6/encoding';
import { scenario } from 'k6/execution';
import { type RefinedResponse, type ResponseType, request as send } from 'k6/http';
import { Counter, Gauge, Trend } from 'k6/metrics';
import type { Answer, TrafficRequest } from '../traffic/http.ts';
import { type Access, createTraffic, type Journey, openAccess, type Traffic } from '../traffic/journeys.ts';
import { type Kind, LIMITS, PATIENCE_MS } from '../traffic/limits.ts';
import { runName, TOTALS, type Total } from '../traffic/run.ts';
import { type Arrival, firstVisitor, WARM_UP_PART } from '../traffic/scenarios.ts';
import type { Settings } from './settings.ts';

/** k6's own: a line on the terminal. */
declare const console: { error(text: string): void };

/** What `setup` hands to every VU. */
export interface Begun {
  readonly startedAt: number;
  readonly access: Access | undefined;
}

/** Sends the shared journeys by k6 and counts what comes of them in k6's metrics. */
export interface Generator {
  /** For `setup`: with the key and the session that orders and readers need, if there are any. */
  begin(options: { withAccess: boolean }): Begun;
  /** Sends the requests of this iteration's arrival, in a part of the run. */
  arrive(arrival: Arrival, begun: Begun, part?: number): void;
  /** A visitor whose answer counts as received, and is not timed. */
  warmUp(begun: Begun): void;
}

/** The metric with the times of one kind's answers, milliseconds. */
export function timeMetric(kind: Kind): string {
  return `${kind.replace(' ', '_')}_ms`;
}

export function createGenerator({ urls, demo, seed }: Settings): Generator {
  const times = new Map(
    (Object.keys(LIMITS) as Kind[]).map((kind) => [kind, new Trend(timeMetric(kind), true)]),
  );
  const totals = new Map(TOTALS.map((total) => [total, new Counter(total)]));
  const startedAtGauge = new Gauge('started_at');
  const wrong = new Counter('wrong');
  const unanswered = new Counter('unanswered');
  let traffic: Traffic | undefined;

  function trafficOf({ startedAt, access }: Begun): Traffic {
    traffic ??= createTraffic({
      seed,
      run: runName(startedAt),
      demo,
      hmac: (key, text) => hmac('sha256', b64decode(key), text, 'base64'),
      now: Date.now,
      access,
      add: (total: Total, value) => totals.get(total)?.add(value),
    });
    return traffic;
  }

  function ask({ service, method, path, headers, body }: TrafficRequest) {
    return send(method, urls[service] + path, body ?? null, {
      headers: { ...headers },
      redirects: 0,
      timeout: PATIENCE_MS,
      responseType: service === 'api' ? 'text' : 'none',
      // Without it every address is a time series of its own.
      tags: { name: `${method} ${path.split('?')[0]}` },
    });
  }

  function travel(journey: Journey, isTimed: boolean): void {
    for (let next = journey.next(); !next.done; ) {
      const { kind, request, problem } = next.value;
      const response = ask(request);
      if (response.status === 0) {
        unanswered.add(1);
        return;
      }
      const { blocked, connecting, tls_handshaking: tls, duration } = response.timings;
      if (isTimed) times.get(kind)?.add(blocked + connecting + tls + duration);
      const answer = answerOf(response);
      const said = problem(answer);
      if (said !== undefined) {
        wrong.add(1);
        console.error(said);
        return;
      }
      next = journey.next(answer);
    }
  }

  return {
    begin({ withAccess }) {
      const startedAt = Date.now();
      startedAtGauge.add(startedAt);
      if (!withAccess) return { startedAt, access: undefined };
      const opening = openAccess(demo);
      for (let next = opening.next(); ; ) {
        if (next.done) return { startedAt, access: next.value };
        next = opening.next(answerOf(ask(next.value)));
      }
    },
    arrive(arrival, begun, part = 0) {
      const n = firstVisitor(part) + scenario.iterationInTest;
      travel(trafficOf(begun)[arrival](n), true);
    },
    warmUp(begun) {
      travel(trafficOf(begun).visit(firstVisitor(WARM_UP_PART) + scenario.iterationInTest), false);
    },
  };
}

/** k6 writes names of headers with capitals, and what a server sets several times as cookies. */
function answerOf({ status, headers, body, cookies }: RefinedResponse<ResponseType>): Answer {
  const named: Record<string, string> = {};
  for (const name of Object.keys(headers)) named[name.toLowerCase()] = headers[name] ?? '';
  const set = Object.keys(cookies).map((name) => `${name}=${cookies[name]?.[0]?.value ?? ''}`);
  if (set.length > 0) named['set-cookie'] = set.join('\n');
  return { status, headers: named, body: typeof body === 'string' ? body : '' };
}
