import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createContext, runInContext } from 'node:vm';
import { transformWithEsbuild } from 'vite';
import { type ReceivedAnswer, type SentRequest, startSyncHttp } from './http.ts';
import { MetricStore } from './metrics.ts';

/**
 * Runs a bundle of `npm run k6:build` without k6: each VU in an empty context of its own, with nothing but ECMAScript and
 * stand-ins for the modules of k6 that the bundle imports, which refuse what k6 refuses. The HTTP is real. It is a test of
 * our bundle; nothing about k6's own speed or scheduling follows from it: all arrivals come one after the other.
 */
export interface BundleRun {
  readonly exchanges: readonly { readonly request: SentRequest; readonly answer: ReceivedAnswer }[];
  /** What handleSummary has written, by file. */
  readonly written: Readonly<Record<string, string>>;
  /** Lines to the terminal. */
  readonly errors: readonly string[];
  readonly options: K6Options;
  /** What the scripts' clock showed. */
  readonly now: number;
}

export interface K6Options {
  readonly scenarios: Readonly<Record<string, K6Scenario>>;
  readonly thresholds: Readonly<Record<string, readonly string[]>>;
  readonly summaryTrendStats: readonly string[];
}

interface K6Scenario {
  readonly executor: string;
  readonly exec: string;
  readonly rate: number;
  readonly timeUnit: string;
  readonly startTime: string;
  readonly duration: string;
  readonly preAllocatedVUs: number;
  readonly maxVUs: number;
}

type Exports = Readonly<Record<string, unknown>>;
type Stage = 'init' | 'setup' | 'vu' | 'summary';

/** Globals of V8 that k6's engine does not have, and those that make code of text. */
const FOREIGN = [
  'Intl',
  'WebAssembly',
  'SharedArrayBuffer',
  'Atomics',
  'FinalizationRegistry',
  'WeakRef',
  'eval',
];
const SCENARIO_FIELDS = 'duration,exec,executor,maxVUs,preAllocatedVUs,rate,startTime,timeUnit';
const PARAMETERS = ['headers', 'redirects', 'timeout', 'responseType', 'tags'];
const VUS = 2;

export async function runBundle(options: {
  file: string;
  env: Readonly<Record<string, string>>;
}): Promise<BundleRun> {
  const { file, env } = options;
  const { code } = await transformWithEsbuild(readFileSync(file, 'utf8'), 'bundle.js', { format: 'cjs' });
  const http = startSyncHttp();
  const run = new Harness(code, env, (request, timeoutMs) => http.send(request, timeoutMs));
  try {
    return run.execute();
  } finally {
    await http.stop();
  }
}

class Harness {
  readonly #code: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #send: (request: SentRequest, timeoutMs: number) => ReceivedAnswer;
  readonly #now = Date.now();
  readonly #metrics = new MetricStore();
  readonly #exchanges: { request: SentRequest; answer: ReceivedAnswer }[] = [];
  readonly #errors: string[] = [];
  #stage: Stage = 'init';
  #scenario = { name: '', iterationInTest: -1 };

  constructor(
    code: string,
    env: Readonly<Record<string, string>>,
    send: (request: SentRequest, timeoutMs: number) => ReceivedAnswer,
  ) {
    this.#code = code;
    this.#env = env;
    this.#send = send;
  }

  execute(): BundleRun {
    const options = copy(this.#load().options) as K6Options;
    const vus = Array.from({ length: VUS }, () => this.#load());
    const setUp = this.#load();
    this.#stage = 'setup';
    // k6 hands it to the VUs as JSON.
    const begun = copy(call(setUp, 'setup'));
    this.#stage = 'vu';
    arrivalsOf(options).forEach(({ scenario, exec, n }, i) => {
      this.#scenario = { name: scenario, iterationInTest: n };
      call(vus[i % VUS] ?? {}, exec, copy(begun));
    });
    const summing = this.#load();
    this.#stage = 'summary';
    const metrics = this.#metrics.summarize(
      options.thresholds,
      options.summaryTrendStats,
      Object.keys(options.scenarios),
    );
    const written = copy(call(summing, 'handleSummary', { metrics })) as Record<string, string>;
    return { exchanges: this.#exchanges, written, errors: this.#errors, options, now: this.#now };
  }

  /** The script's exports in a context of its own: no VU sees another's variables. */
  #load(): Exports {
    const before = this.#stage;
    this.#stage = 'init';
    const context = createContext(
      {
        __ENV: { ...this.#env },
        open: (path: string) => {
          this.#only('init');
          return readFileSync(path, 'utf8');
        },
        console: { error: (text: string) => void this.#errors.push(text) },
        module: { exports: {} },
        require: (name: string) => this.#module(name),
      },
      { codeGeneration: { strings: false, wasm: false } },
    );
    runInContext(`for (const name of ${JSON.stringify(FOREIGN)}) delete globalThis[name];`, context);
    runInContext(`Date.now = () => ${this.#now};`, context);
    runInContext(this.#code, context);
    this.#stage = before;
    return (context.module as { exports: Exports }).exports;
  }

  #only(...stages: readonly Stage[]): void {
    if (!stages.includes(this.#stage)) throw new Error(`k6 does not allow this in ${this.#stage}`);
  }

  #module(name: string): object {
    const store = this.#metrics;
    const harness = this;
    const metric = (kind: 'counter' | 'gauge' | 'trend') =>
      class {
        readonly #name: string;
        constructor(metricName: string) {
          harness.#only('init');
          store.declare(metricName, kind);
          this.#name = metricName;
        }
        add(value: number): void {
          harness.#only('setup', 'vu');
          store.add(this.#name, { value, scenario: harness.#scenario.name });
        }
      };
    const modules: Readonly<Record<string, object>> = {
      'k6/crypto': { hmac },
      'k6/encoding': { b64decode },
      'k6/execution': {
        scenario: {
          get name() {
            harness.#only('vu');
            return harness.#scenario.name;
          },
          get iterationInTest() {
            harness.#only('vu');
            return harness.#scenario.iterationInTest;
          },
        },
      },
      'k6/http': { request: this.#request.bind(this) },
      'k6/metrics': { Counter: metric('counter'), Gauge: metric('gauge'), Trend: metric('trend') },
    };
    const found = modules[name];
    if (!found) throw new Error(`the bundle imports ${name}`);
    return found;
  }

  #request(method: string, url: string, body: string | null, parameters: Record<string, unknown>): object {
    this.#only('setup', 'vu');
    const unknown = Object.keys(parameters).filter((name) => !PARAMETERS.includes(name));
    if (unknown.length > 0) throw new Error(`k6 knows no parameter ${unknown.join(', ')}`);
    const headers = copy(parameters.headers) as Record<string, string>;
    const request = { method, url, headers, body };
    const startedAt = performance.now();
    const answer = this.#send(request, Number(parameters.timeout));
    const duration = performance.now() - startedAt;
    this.#exchanges.push({ request, answer });
    const isKept = parameters.responseType === 'text';
    return strict({
      status: answer.status,
      headers: Object.fromEntries(
        Object.entries(answer.headers).map(([name, value]) => [capitalised(name), String(value)]),
      ),
      cookies: cookiesOf(answer.headers['set-cookie']),
      body: isKept ? answer.body : null,
      timings: strict({ blocked: 0, connecting: 0, tls_handshaking: 0, duration }),
    });
  }
}

/** Every arrival of every scenario, by the time at which it is due. */
function arrivalsOf({ scenarios }: K6Options): { scenario: string; exec: string; n: number }[] {
  return Object.entries(scenarios)
    .flatMap(([scenario, planned]) => {
      const { executor, exec, rate, timeUnit, startTime, duration, preAllocatedVUs, maxVUs } = planned;
      const fields = Object.keys(planned).toSorted().join(',');
      const whole = [rate, preAllocatedVUs, maxVUs].every((value) => Number.isInteger(value) && value > 0);
      if (executor !== 'constant-arrival-rate' || fields !== SCENARIO_FIELDS || !whole) {
        throw new Error(`k6 refuses the scenario ${scenario}: ${JSON.stringify(planned)}`);
      }
      const apart = secondsOf(timeUnit) / rate;
      return Array.from({ length: Math.floor(secondsOf(duration) / apart) }, (_, n) => ({
        scenario,
        exec,
        n,
        dueS: secondsOf(startTime) + n * apart,
      }));
    })
    .toSorted((a, b) => a.dueS - b.dueS);
}

function secondsOf(text: string): number {
  const match = /^(\d+)s$/.exec(text);
  if (!match) throw new Error(`"${text}" is no whole number of seconds`);
  return Number(match[1]);
}

function call(exports: Exports, name: string, ...given: unknown[]): unknown {
  const found = exports[name];
  if (typeof found !== 'function') throw new Error(`the bundle exports no function ${name}`);
  return found(...given);
}

function copy(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

/** An object whose unknown properties are an error, and not undefined. */
function strict<T extends object>(object: T): T {
  return new Proxy(object, {
    get(target, name) {
      if (typeof name === 'string' && !(name in target)) throw new Error(`a response of k6 has no ${name}`);
      return Reflect.get(target, name);
    },
  });
}

function hmac(algorithm: string, secret: ArrayBuffer, text: string, encoding: string): string {
  if (algorithm !== 'sha256' || encoding !== 'base64') throw new Error('not the form that is signed in');
  return createHmac(algorithm, Buffer.from(secret)).update(text).digest(encoding);
}

function b64decode(text: string): ArrayBuffer {
  const bytes = Uint8Array.from(Buffer.from(text, 'base64'));
  return bytes.buffer;
}

/** As Go writes names of headers. */
function capitalised(name: string): string {
  return name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());
}

function cookiesOf(set: string | string[] | undefined): Record<string, { name: string; value: string }[]> {
  const list = set === undefined ? [] : [set].flat();
  return Object.fromEntries(
    list.map((line) => {
      const [, name = '', value = ''] = /^([^=;]+)=([^;]*)/.exec(line) ?? [];
      return [name, [{ name, value }]];
    }),
  );
}
