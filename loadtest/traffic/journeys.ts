import type { Answer, TrafficRequest } from './http.ts';
import { jsonRequest, wrongStatus } from './http.ts';
import type { Kind } from './limits.ts';
import { type Hmac, order, postback, type ShopAccess, signedOrder, wrongReport } from './orders.ts';
import { type Partner, portalRead, report, signedIn, signIn } from './readers.ts';
import { addClick, type Total } from './run.ts';
import type { Arrival } from './scenarios.ts';
import { clickIdOf, type TrafficLink, visit, wrongRedirect } from './visits.ts';

/**
 * Who comes and what they ask for, as k6 (`loadtest/k6`) and `npm run load` (`loadtest/arrivals`) both send it: the same
 * seed makes the same requests. Nothing here knows Node.js or k6; what they have to lend is a parameter.
 */

/** The part of `demo.json` that a run needs. */
export interface TrafficDemo {
  readonly program: { readonly id: number; readonly currency: string };
  readonly links: readonly TrafficLink[];
  readonly keys: { readonly operator: string; readonly advertiser: string };
  readonly portal: { readonly partner: { readonly email: string; readonly password: string } };
}

/** One request of a journey. */
export interface Step {
  readonly kind: Kind;
  readonly request: TrafficRequest;
  /** What is wrong with its answer, in words. */
  problem(answer: Answer): string | undefined;
}

/** Requests of one arrival, each after the right answer to the one before; after another it ends. */
export type Journey = Generator<Step, void, Answer>;

/** What is made before a run, over the API. */
export interface Access {
  readonly signingKey: ShopAccess['signingKey'];
  readonly partner: Partner;
}

/** The n-th of each arrival. Buying is a click and its order, by postback or, every second one, by signed JSON. */
export type Traffic = Readonly<Record<Arrival, (n: number) => Journey>>;

/** Visitors of different purposes have different addresses. */
const BUYERS = 8_000_000;
const JSON_EVERY = 2;

export function createTraffic(options: {
  seed: number;
  run: string;
  demo: TrafficDemo;
  hmac: Hmac;
  /** Unix milliseconds. */
  now: () => number;
  /** Undefined in a run without orders and readers of the portal. */
  access: Access | undefined;
  /** Counts what was received. */
  add: (total: Total, value: number) => void;
}): Traffic {
  const { seed, run, demo, hmac, now, access, add } = options;
  const { links, keys } = demo;

  function* click(n: number): Generator<Step, string, Answer> {
    const visited = visit({ seed, run, links, n });
    const { request } = visited;
    const answer = yield { kind: 'redirects', request, problem: (it) => wrongRedirect(visited, it) };
    const clickId = clickIdOf(answer);
    addClick(clickId, add);
    return clickId;
  }

  function* readOnce(kind: Kind, request: TrafficRequest): Journey {
    yield { kind, request, problem: (answer) => wrongStatus(answer, 200) };
  }

  function opened(): Access {
    if (!access) throw new Error('the run was begun without a key that signs and a partner');
    return access;
  }

  return {
    *visit(n) {
      yield* click(n);
    },
    *buy(n) {
      const bought = order(run, n, yield* click(BUYERS + n));
      const shop = { currency: demo.program.currency, key: keys.advertiser, signingKey: opened().signingKey };
      const isJson = n % JSON_EVERY === 1;
      const request = isJson ? signedOrder(bought, shop, { now: now(), hmac }) : postback(bought, shop);
      const code = isJson ? 202 : 200;
      yield { kind: 'postbacks', request, problem: (answer) => wrongReport(answer, 'accepted', code) };
      add('orders', 1);
      add('orders_minor', bought.amountMinor);
      if (bought.twice) {
        yield { kind: 'postbacks', request, problem: (answer) => wrongReport(answer, 'duplicate', 200) };
      }
    },
    report: () => readOnce('reports', report(keys.operator, now())),
    readPortal: (n) => readOnce('portal reads', portalRead(opened().partner, n, now())),
  };
}

/**
 * What a run with orders and readers needs first: a key that signs, and a partner who has signed in.
 * @throws Error when the API refuses.
 */
export function* openAccess(demo: TrafficDemo): Generator<TrafficRequest, Access, Answer> {
  const newKey = { role: 'advertiser', name: 'load', program_id: `prg_${demo.program.id}`, signing: true };
  const made = yield jsonRequest('/v1/api-keys', newKey, { Authorization: `Bearer ${demo.keys.operator}` });
  const wrong = wrongStatus(made, 201);
  if (wrong !== undefined) throw new Error(`no key that signs was made: ${wrong}`);
  const { signing_secret: secret, api_key } = JSON.parse(made.body) as {
    signing_secret: string;
    api_key: { id: string };
  };
  const partner = signedIn(yield signIn(demo.portal.partner));
  return { signingKey: { id: api_key.id, secret }, partner };
}
