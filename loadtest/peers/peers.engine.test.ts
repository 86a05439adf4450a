import { afterAll, describe, expect, inject, it } from 'vitest';
import { createLogger } from '../../core/service/log.ts';
import { freePort } from '../../engines/engine.ts';
import { reportMissing } from '../../test/support/programs.ts';
import { makeLinks } from '../collector/links.ts';
import { Run } from '../ending.ts';
import { AFFLUX } from './afflux.ts';
import { killUnderLoad } from './kills.ts';
import { OTHERS } from './others.ts';
import { Missing, type OpenPeer, type Peer, type PeerFixture } from './peer.ts';
import { startVisits } from './visits.ts';

/** Those whose redirect leaves before its click is anywhere that outlives the process. */
const FORGETFUL = new Set([
  'bare uWebSockets.js',
  'nginx, buffered access log',
  // It writes its line after its answer.
  'nginx, access log',
  'Fastify, one INSERT, not awaited',
  'Go, COPY in batches',
]);
const VISITS = 200;
/** By default ours alone. */
const ALL_PEERS = process.env.AFFLUX_TEST_PEERS === '1';
/** The other of ours differs in a setting of NATS. */
const PEERS: readonly Peer[] = [...AFFLUX.slice(0, 1), ...(ALL_PEERS ? OTHERS : [])];

describe('peers', () => {
  const run = new Run();
  const fixture: PeerFixture = {
    run,
    folder: run.makeFolder('afflux-peers-'),
    links: makeLinks(50),
    // Their CPU is not counted here.
    postgres: { url: inject('postgresUrl'), pid: 0 },
    clickhouse: { url: inject('clickhouseUrl'), pid: 0 },
    natsServer: inject('natsServer'),
    mayInstall: false,
    log: createLogger({ name: 'test', level: 'silent' }),
  };
  afterAll(() => run.end());

  it.for(PEERS)(
    '$name redirects, stores, and keeps its word when it is killed',
    { timeout: 240_000 },
    async (peer, { skip }) => {
      const open = await peer.open(fixture).catch((error: unknown) => {
        if (error instanceof Missing) return error;
        throw error;
      });
      if (open instanceof Missing) {
        reportMissing(open.program, `the peer "${peer.name}"`);
        return skip(open.message);
      }
      try {
        await visitAll(fixture, open);
        const { kills, answered, lost, twice } = await killUnderLoad(fixture, open, {
          kills: 1,
          lifeMs: { from: 200, to: 400 },
        });
        expect(kills).toBe(1);
        expect(answered).toBeGreaterThanOrEqual(50);
        expect(lost).toBeLessThanOrEqual(FORGETFUL.has(peer.name) ? answered : 0);
        expect(twice).toBe(0);
      } finally {
        await open.close();
      }
    },
  );
});

/** Clicks of visitors who leave in peace: each is answered and, where anything is stored, stored. */
async function visitAll(fixture: PeerFixture, peer: OpenPeer): Promise<void> {
  const port = await freePort();
  const server = await peer.start(port);
  const visits = startVisits({ port, links: fixture.links, connections: 4, from: 1_000_000 });
  try {
    await expect.poll(() => visits.answered.length, { timeout: 10_000 }).toBeGreaterThan(VISITS);
    visits.stop();
    await visits.ended;
    const count = peer.count ?? (() => Promise.resolve(visits.answered.length));
    await expect.poll(count, { timeout: 20_000 }).toBe(visits.answered.length);
  } finally {
    await server.stop();
  }
}
