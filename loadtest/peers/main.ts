import { spawnSync } from 'node:child_process';
import { createLogger } from '../../core/service/log.ts';
import { report } from '../bench.ts';
import { makeLinks } from '../collector/links.ts';
import { createLoadGenerator, makeRequests } from '../collector/load.ts';
import { pin } from '../collector/process.ts';
import { carryOut, type Run } from '../ending.ts';
import { findOwnNats, ownEngines } from '../engines.ts';
import { readOptions, text, whole } from '../options.ts';
import { AFFLUX } from './afflux.ts';
import { killUnderLoad } from './kills.ts';
import { measure, type Rates, type Sample } from './measure.ts';
import { OTHERS } from './others.ts';
import { CORES, Missing, type OpenPeer, type Peer, type PeerFixture } from './peer.ts';
import { type MeasuredPeer, type MissingPeer, notesOf, rowOf, targetsOf } from './results.ts';

/**
 * `npm run bench:peers`: what a user would choose instead, on one machine, with the same links, in interleaved
 * rounds; server, stores and load generator share two cores. Then each is killed −9 under load, and the redirects that visitors received are compared with the clicks that are stored.
 */

const LINKS = 10_000;
const REQUEST_VARIETY = 20_000;
const USER_AGENTS = 1_000;

const { values } = readOptions({
  rounds: whole(2),
  seconds: whole(2),
  connections: whole(256),
  kills: whole(2),
  /** Beginnings of names, separated by commas. */
  only: text(''),
});
const { rounds, kills } = values;
/** 2,000 a second for a server that answers at once: less than half of what one INSERT a click can. */
const rates: Rates = {
  seconds: values.seconds,
  connections: values.connections,
  moderateConnections: 64,
  thinkMs: 32,
};

await carryOut(main);

async function main(run: Run): Promise<void> {
  const fixture = await createPeerFixture(run);
  const load = createLoadGenerator({
    folder: fixture.folder,
    name: 'requests',
    requests: makeRequests({
      codes: fixture.links.map(({ code }) => code),
      variety: REQUEST_VARIETY,
      userAgents: USER_AGENTS,
    }),
  });
  const wanted = values.only.split(',');
  const peers = [...AFFLUX, ...OTHERS].filter(({ name }) => wanted.some((start) => name.startsWith(start)));
  const running: { peer: Peer; open: OpenPeer; samples: Sample[] }[] = [];
  const missing: MissingPeer[] = [];
  for (const peer of peers) {
    progress(`preparing ${peer.name}`);
    try {
      const open = await peer.open(fixture);
      running.push({ peer, open, samples: [] });
    } catch (error) {
      if (!(error instanceof Missing)) throw error;
      missing.push({ peer, missing: error.message });
    }
  }
  for (let round = 1; round <= rounds; round++) {
    for (const { peer, open, samples } of running) {
      const sample = await measure({ peer: open, load, rates }).catch((error: unknown) => {
        throw new Error(`${peer.name}: ${String(error)}`, { cause: error });
      });
      samples.push(sample);
      progress(`round ${round}, ${peer.name}: ${Math.round(sample.saturated.perSecond)}/s`);
    }
  }
  const results: MeasuredPeer[] = [];
  for (const { peer, open, samples } of running) {
    const clicks = (await open.count?.()) ?? 0;
    const bytes = clicks === 0 ? 0 : (await open.bytes()) / clicks;
    const killed = await killUnderLoad(fixture, open, { kills });
    progress(`${peer.name}: ${killed.lost} of ${killed.answered} lost in ${kills} kills`);
    results.push({ peer, samples, bytes, killed });
    await open.close();
  }
  report({
    name: 'peers',
    versions: versionsOf(load.name, fixture),
    rows: [...results, ...missing].map((result) => rowOf(result, results)),
    targets: targetsOf(results),
    notes: notesOf(results, { generator: load, rates }),
  });
}

async function createPeerFixture(run: Run): Promise<PeerFixture> {
  const folder = run.makeFolder('afflux-peers-');
  const log = createLogger({ name: 'bench', level: 'error' });
  const engines = ownEngines(run, { folder, log });
  const postgres = await engines.postgres();
  const clickhouse = await engines.clickhouse();
  for (const { pid } of [postgres, clickhouse]) pin(pid, CORES);
  return {
    run,
    folder,
    links: makeLinks(LINKS),
    postgres,
    clickhouse,
    natsServer: await findOwnNats(),
    mayInstall: true,
    log,
  };
}

function versionsOf(generator: string, { natsServer }: PeerFixture): Record<string, string> {
  const programs: readonly [string, string][] = [
    ['nginx', '-v'],
    ['go', 'version'],
    ['python3', '--version'],
    ...(generator === 'wrk' ? [['wrk', '-v'] as [string, string]] : []),
  ];
  const versions = programs.flatMap(([program, flag]) => {
    const { stdout, stderr } = spawnSync(program, [flag], { encoding: 'utf8' });
    const version = /\d+\.\d+(\.\d+)?/.exec(`${stdout ?? ''}${stderr ?? ''}`)?.[0];
    return version === undefined ? [] : [[program, version]];
  });
  return { 'nats-server': natsServer.version.join('.'), ...Object.fromEntries(versions) };
}

function progress(text: string): void {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
}
