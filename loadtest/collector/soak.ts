import { freePort } from '../../engines/engine.ts';
import { atMost, type BenchTarget } from '../bench.ts';
import { createLoadGenerator, makeRequests } from './load.ts';
import type { Measured } from './process.ts';

const USER_AGENTS = 100_000;
const CONNECTIONS = 256;
const SECONDS_PER_SAMPLE = 5;
/** The caches of visitors and links have turned over, and the heap has found its size. */
const WARM_UP_CLICKS = 2_000_000;

/** Whether a collector's memory stays what it is: clicks with 100,000 User-Agent headers, its RSS every few seconds. */
export async function soak(options: {
  start: (port: number) => Promise<Measured>;
  clicks: number;
  codes: readonly string[];
  folder: string;
  core: number;
}): Promise<BenchTarget> {
  const { start, clicks, codes, folder, core } = options;
  const load = createLoadGenerator({
    folder,
    name: 'soak',
    requests: makeRequests({ codes, variety: USER_AGENTS, userAgents: USER_AGENTS }),
  });
  const port = await freePort();
  const server = await start(port);
  const rssMb: number[] = [];
  const warmUp = Math.min(WARM_UP_CLICKS, clicks / 2);
  for (let sent = 0; sent < warmUp + clicks; ) {
    const { requests, errors } = await load.run({
      url: `http://127.0.0.1:${port}`,
      connections: CONNECTIONS,
      seconds: SECONDS_PER_SAMPLE,
      core,
    });
    if (errors > 0) throw new Error(`soak: ${errors} failed requests`);
    sent += requests;
    if (sent > warmUp) rssMb.push(server.rssMb());
    process.stderr.write(`soak: ${sent} clicks, ${Math.round(server.rssMb())} MB\n`);
  }
  await server.stop();
  const part = Math.ceil(rssMb.length / 4);
  const first = mean(rssMb.slice(0, part));
  const last = mean(rssMb.slice(-part));
  process.stderr.write(`soak: ${Math.min(...rssMb)} to ${Math.max(...rssMb)} MB after warm-up\n`);
  // Single readings move with the garbage collector; what must not happen is that they drift.
  return atMost(
    `collector: drift of RSS over ${clicks} clicks, mean of the last quarter to that of the first (${Math.round(first)} MB), %`,
    (Math.abs(last - first) / first) * 100,
    5,
  );
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
