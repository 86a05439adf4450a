import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import UserAgent from 'user-agents';

/** What wrk measured in one run. */
export interface Load {
  readonly requests: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Answers that were not 2xx or 3xx, and connections that failed. */
  readonly errors: number;
}

const LANGUAGES = [
  'en-US,en;q=0.9',
  'de-DE,de;q=0.9,en;q=0.7',
  'fr-FR,fr;q=0.9',
  'ja-JP,ja;q=0.9',
  'pt-BR,pt;q=0.9',
];

/**
 * Writes the script by which wrk sends `variety` different requests in turn: realistic headers, links drawn at random,
 * `userAgents` distinct User-Agent headers.
 */
export function writeWrkScript(options: {
  file: string;
  codes: readonly string[];
  variety: number;
  userAgents: number;
}): void {
  const { file, codes, variety, userAgents } = options;
  const source = new UserAgent();
  const agents = Array.from(
    { length: userAgents },
    (_, i) =>
      // Real headers repeat; a build number makes as many as are asked for.
      `${source.random().toString()}${userAgents > 1_000 ? ` b/${i}` : ''}`,
  );
  const lines = Array.from({ length: variety }, (_, i) => {
    const code = codes[randomInt(codes.length)];
    const path = `/c/${code}?sub1=placement-${i % 97}&sub2=ad-${i % 1_009}&utm_source=news&utm_campaign=summer`;
    return JSON.stringify(
      [
        `GET ${path} HTTP/1.1`,
        'Host: go.shop.example',
        'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8',
        'Accept-Encoding: gzip, deflate, br, zstd',
        `Accept-Language: ${LANGUAGES[i % LANGUAGES.length]}`,
        `User-Agent: ${agents[i % agents.length]}`,
        'Referer: https://blog.example/best-of-summer',
        'Sec-Fetch-Dest: document',
        'Sec-Fetch-Mode: navigate',
        'Upgrade-Insecure-Requests: 1',
        '',
        '',
      ].join('\r\n'),
    );
  });
  writeFileSync(
    file,
    `local requests = {\n${lines.join(',\n')}\n}
local next = 0
function request()
  next = next + 1
  if next > #requests then next = 1 end
  return requests[next]
end
function done(summary, latency)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout
  io.write(string.format("RESULT %d %d %f %f %d\\n", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), failed))
end
`,
  );
}

/** Runs wrk on the core `core` with one thread. */
export async function runWrk(options: {
  url: string;
  script: string;
  connections: number;
  seconds: number;
  core: number | string;
}): Promise<Load> {
  const { url, script, connections, seconds, core } = options;
  const { stdout } = await promisify(execFile)(
    'taskset',
    ['-c', String(core), 'wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '-s', script, url],
    { maxBuffer: 1024 * 1024 },
  );
  const match = /RESULT (\d+) (\d+) ([\d.]+) ([\d.]+) (\d+)/.exec(stdout);
  if (!match) throw new Error(`wrk said: ${stdout}`);
  const [requests = 0, durationUs = 1, p50Us = 0, p99Us = 0, errors = 0] = match.slice(1).map(Number);
  return {
    requests,
    perSecond: (requests * 1_000_000) / durationUs,
    p50Ms: p50Us / 1_000,
    p99Ms: p99Us / 1_000,
    errors,
  };
}
