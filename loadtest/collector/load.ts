import { execFile, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import UserAgent from 'user-agents';
import { browserHeaders, clickPath } from '../traffic/visits.ts';

/** What a load generator measured in one run. */
export interface Load {
  readonly requests: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  /** The slowest answer. */
  readonly maxMs: number;
  /** Answers that were not 2xx or 3xx, connections that failed, and requests that were never answered. */
  readonly errors: number;
}

/** One request that the generator sends. */
export interface LoadRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** `variety` different requests: realistic headers, links drawn at random, `userAgents` distinct User-Agent headers. */
export function makeRequests(options: {
  codes: readonly string[];
  variety: number;
  userAgents: number;
}): LoadRequest[] {
  const { codes, variety, userAgents } = options;
  const source = new UserAgent();
  const agents = Array.from(
    { length: userAgents },
    (_, i) =>
      // Real headers repeat; a build number makes as many as are wanted.
      `${source.random().toString()}${userAgents > 1_000 ? ` b/${i}` : ''}`,
  );
  return Array.from({ length: variety }, (_, i) => ({
    path: clickPath(codes[randomInt(codes.length)] ?? '', i),
    headers: browserHeaders(i, agents[i % agents.length] ?? ''),
  }));
}

interface LoadOptions {
  readonly url: string;
  readonly connections: number;
  readonly seconds: number;
  /** As `taskset -c` takes it: one core, or several. */
  readonly core: number | string;
}

/** A load generator with its requests, pinned to one core. */
export interface LoadGenerator {
  readonly name: string;
  /** What counts as an error, for the page. */
  readonly note: string;
  run(options: LoadOptions): Promise<Load>;
  /**
   * Each connection waits 0 to `2 × thinkMs` after an answer before it asks again, so that the rate is
   * `connections / thinkMs` for a server that answers at once. Undefined where the generator cannot.
   */
  readonly runThinking: ((options: LoadOptions & { thinkMs: number }) => Promise<Load>) | undefined;
}

/**
 * wrk where it and ss are installed, else autocannon, which costs more than the servers it measures: read its ratios only.
 */
export function createLoadGenerator(options: {
  folder: string;
  name: string;
  requests: readonly LoadRequest[];
}): LoadGenerator {
  const { folder, name, requests } = options;
  if (!hasWrk()) {
    const file = join(folder, `${name}.json`);
    writeFileSync(file, JSON.stringify(requests));
    const script = fileURLToPath(new URL('./autocannon.js', import.meta.url));
    return {
      name: 'autocannon',
      note: 'Errors include requests that were not answered within 10 s.',
      run: ({ url, connections, seconds, core }) =>
        runPinned(core, [process.execPath, script, file, url, String(connections), String(seconds)]),
      runThinking: undefined,
    };
  }
  const script = join(folder, `${name}.lua`);
  writeFileSync(script, wrkScript(requests));
  return {
    name: 'wrk',
    note: SILENCE_NOTE,
    run: (load) => runWrk({ ...load, script }),
    runThinking(load) {
      const thinking = join(folder, `${name}-thinking.lua`);
      const pause = `function delay() return math.random(0, ${2 * load.thinkMs}) end\n`;
      writeFileSync(thinking, wrkScript(requests) + pause);
      return runWrk({ ...load, script: thinking });
    },
  };
}

/** wrk takes each answer after 2 s for a failure: a slow one shows in the latencies, and ends no run of half an hour. */
const TIMEOUT_SECONDS = 10;

/**
 * To wrk, a connection that falls silent is no error: it only counts the time of answers that come. So the kernel is asked,
 * this long before the end, how long each connection has been waiting.
 */
const LOOK_BEFORE_END_MS = 500;
/** A request waits at least this long before it counts as never answered, and longer than the slowest answer took. */
const SILENT_MS = 1_000;

/** Of a page whose figures {@link runWrk} has measured. */
export const SILENCE_NOTE =
  'Errors include silence, which wrk does not notice: requests that half a second before the end of a run had waited for 1 s at least and for longer than the slowest answer took (ss -tip).';

/** Runs wrk with one thread and a script of its own, which ends with what {@link Load} wants to know. */
export async function runWrk(options: LoadOptions & { script: string }): Promise<Load> {
  const { url, script, connections, seconds, core } = options;
  const limits = [`-d${seconds}s`, '--timeout', `${TIMEOUT_SECONDS}s`];
  const [load, waitedMs] = await Promise.all([
    runPinned(core, ['wrk', '-t1', `-c${connections}`, ...limits, '-s', script, url]),
    delay(seconds * 1_000 - LOOK_BEFORE_END_MS).then(() => waitsOn(new URL(url).port)),
  ]);
  if (waitedMs.length === 0) throw new Error(`no connection to ${url} was open before the end of the run`);
  const silent = waitedMs.filter((ms) => ms >= Math.max(SILENT_MS, load.maxMs)).length;
  return { ...load, errors: load.errors + silent };
}

/**
 * How long ago each of wrk's connections to a local port sent its last request, milliseconds. With an answer it sends the
 * next, at once or after a pause; the time of the last answer is no help, because the kernel's clock is too coarse for it.
 */
async function waitsOn(port: string): Promise<number[]> {
  const args = ['-Htnip', 'state', 'established', 'dport', '=', `:${port}`];
  const { stdout } = await promisify(execFile)('ss', args);
  return stdout
    .split(/\n(?=\S)/)
    .filter((socket) => socket.includes('users:(("wrk"'))
    .map((socket) => Number(/\blastsnd:(\d+)/.exec(socket)?.[1] ?? 0));
}

function hasWrk(): boolean {
  return ['wrk', 'ss'].every((program) => !spawnSync(program, ['-v'], { stdio: 'ignore' }).error);
}

/** Ends a wrk script with the line that {@link runWrk} reads. */
export const WRK_RESULT = `function done(summary, latency)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  io.write(string.format("RESULT %d %d %f %f %f %f %d\\n", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max, failed))
end
`;

function wrkScript(requests: readonly LoadRequest[]): string {
  const lines = requests.map(({ path, headers }) => {
    const head = Object.entries(headers).map(([key, value]) => `${key}: ${value}`);
    return JSON.stringify([`GET ${path} HTTP/1.1`, ...head, '', ''].join('\r\n'));
  });
  return `local requests = {\n${lines.join(',\n')}\n}
local next = 0
function request()
  next = next + 1
  if next > #requests then next = 1 end
  return requests[next]
end
${WRK_RESULT}`;
}

/** Runs a generator that prints `RESULT requests duration_us p50_us p99_us p99.9_us max_us errors`. */
async function runPinned(core: number | string, command: readonly string[]): Promise<Load> {
  const { stdout } = await promisify(execFile)('taskset', ['-c', String(core), ...command], {
    maxBuffer: 1024 * 1024,
  });
  const match = /RESULT (\d+) (\d+) ([\d.]+) ([\d.]+) ([\d.]+) ([\d.]+) (\d+)/.exec(stdout);
  if (!match) throw new Error(`the output of the load generator has no result: ${stdout}`);
  const [requests = 0, durationUs = 1, p50Us = 0, p99Us = 0, p999Us = 0, maxUs = 0, errors = 0] = match
    .slice(1)
    .map(Number);
  return {
    requests,
    perSecond: (requests * 1_000_000) / durationUs,
    p50Ms: p50Us / 1_000,
    p99Ms: p99Us / 1_000,
    p999Ms: p999Us / 1_000,
    maxMs: maxUs / 1_000,
    errors,
  };
}
