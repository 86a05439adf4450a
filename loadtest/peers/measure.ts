import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../engines/engine.ts';
import type { Load, LoadGenerator } from '../collector/load.ts';
import type { Measured } from '../collector/process.ts';
import { treeCpuMs } from '../process-usage.ts';
import { CORES, type OpenPeer } from './peer.ts';

/** One round of a peer. */
export interface Sample {
  /** As fast as it can. */
  readonly saturated: Load;
  /** At a moderate rate. */
  readonly moderate: Load;
  /** Processor time a saturated request: of the redirect server, and with all stores until they have done with the click. */
  readonly serverUs: number;
  readonly allUs: number;
  /** Written to a log that is kept for a while, a saturated request. */
  readonly logBytes: number;
}

/** How a peer is loaded. */
export interface Rates {
  /** Of a saturated and of a moderate run. */
  readonly seconds: number;
  readonly connections: number;
  readonly moderateConnections: number;
  /** Mean pause of each of these connections; without pauses where the generator has none. */
  readonly thinkMs: number;
}

/** Enough for V8 to compile what a click runs through. */
const WARM_UP_SECONDS = 2;
const DRAIN_MS = 120_000;
const POLL_MS = 250;

/** Starts the server, measures it, checks that every answered click is stored, and stops it. */
export async function measure(options: {
  peer: OpenPeer;
  load: LoadGenerator;
  rates: Rates;
}): Promise<Sample> {
  const { peer } = options;
  const port = await freePort();
  const server = await peer.start(port);
  try {
    return await measureRunning({ ...options, server, port });
  } finally {
    await server.stop();
  }
}

async function measureRunning(options: {
  peer: OpenPeer;
  load: LoadGenerator;
  rates: Rates;
  server: Measured;
  port: number;
}): Promise<Sample> {
  const { peer, load, rates, server, port } = options;
  const pids = [server.pid, ...peer.stores];
  const run = { url: `http://127.0.0.1:${port}`, seconds: rates.seconds, core: CORES };
  let stored = (await peer.count?.()) ?? 0;
  const drained = async ({ requests, errors }: Load): Promise<void> => {
    if (errors > 0) throw new Error(`${errors} failed requests`);
    stored = await drain(peer, stored + requests);
    await peer.settled?.();
  };

  await drained(await load.run({ ...run, seconds: WARM_UP_SECONDS, connections: rates.connections }));
  const calm = { ...run, connections: rates.moderateConnections };
  const moderate = await (load.runThinking?.({ ...calm, thinkMs: rates.thinkMs }) ?? load.run(calm));
  await drained(moderate);

  const before = { all: treeCpuMs(pids), server: treeCpuMs([server.pid]), log: await peer.logBytes?.() };
  const saturated = await load.run({ ...run, connections: rates.connections });
  await drained(saturated);
  const serverMs = treeCpuMs([server.pid]) - before.server;
  const allMs = treeCpuMs(pids) - before.all;
  const logBytes = ((await peer.logBytes?.()) ?? 0) - (before.log ?? 0);
  return {
    saturated,
    moderate,
    serverUs: (serverMs * 1_000) / saturated.requests,
    allUs: (allMs * 1_000) / saturated.requests,
    logBytes: logBytes / saturated.requests,
  };
}

/** Waits until so many clicks are stored at least; returns how many are. */
async function drain(peer: OpenPeer, expected: number): Promise<number> {
  if (!peer.count) return 0;
  for (const deadline = Date.now() + DRAIN_MS; ; await delay(POLL_MS)) {
    const stored = await peer.count();
    if (stored >= expected) return stored;
    if (Date.now() > deadline) throw new Error(`${stored} clicks are stored, and ${expected} were answered`);
  }
}
