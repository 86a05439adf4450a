import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../engines/engine.ts';
import type { OpenPeer, PeerFixture } from './peer.ts';
import { startVisits } from './visits.ts';

/** What became of the clicks of a server that was killed under load. */
export interface KillResult {
  readonly kills: number;
  /** Redirects that visitors received. */
  readonly answered: number;
  /** Received, and not stored after a restart. */
  readonly lost: number;
  /** Stored more than once. */
  readonly twice: number;
}

const VISITORS = 64;
/** A server lives between these, milliseconds, under load. */
const LIFE_MS = { from: 500, to: 1_500 };
/** On a busy machine it lives longer, until it has answered so many. */
const MIN_ANSWERED = 50;
const ANSWERS_MS = 20_000;
/** What has not been stored so long after the restart never will be: the slowest waits 1 s for a block to fill. */
const QUIET_MS = 3_000;
const POLL_MS = 100;

/** Kills the redirect server −9 so many times, each time starts it again, and compares what visitors know with what is stored. */
export async function killUnderLoad(
  fixture: PeerFixture,
  peer: OpenPeer,
  options: { kills: number; lifeMs?: { from: number; to: number } },
): Promise<KillResult> {
  const { kills, lifeMs = LIFE_MS } = options;
  const answered: number[] = [];
  const countBefore = (await peer.count?.()) ?? 0;
  let next = 1;
  for (let kill = 0; kill < kills; kill++) {
    const port = await freePort();
    const server = await peer.start(port);
    const visits = startVisits({ port, links: fixture.links, connections: VISITORS, from: next });
    const life = async (): Promise<void> => {
      await delay(randomInt(lifeMs.from, lifeMs.to));
      const deadline = Date.now() + ANSWERS_MS;
      while (visits.answered.length < MIN_ANSWERED && Date.now() < deadline) await delay(POLL_MS);
    };
    await Promise.race([life(), visits.ended]).finally(() => server.kill());
    await visits.ended;
    next += visits.sent();
    for (const visit of visits.answered) answered.push(visit);
  }
  const again = await peer.start(await freePort());
  const result = await compare(peer, { answered, countBefore }).finally(() => again.stop());
  return { kills, answered: answered.length, ...result };
}

async function compare(
  peer: OpenPeer,
  { answered, countBefore }: { answered: readonly number[]; countBefore: number },
): Promise<{ lost: number; twice: number }> {
  const look = async (): Promise<{ lost: number; twice: number }> => {
    if (!peer.visits) {
      // Counts tell no click from another: what was counted and never answered hides some of the loss.
      const counted = ((await peer.count?.()) ?? 0) - countBefore;
      return { lost: Math.max(0, answered.length - counted), twice: 0 };
    }
    const visits = await peer.visits();
    const stored = new Set(visits);
    return {
      lost: answered.filter((visit) => !stored.has(visit)).length,
      twice: visits.length - stored.size,
    };
  };
  let seen = await look();
  for (let quietSince = Date.now(); seen.lost > 0 && Date.now() - quietSince < QUIET_MS; ) {
    await delay(POLL_MS);
    const now = await look();
    if (now.lost !== seen.lost) quietSince = Date.now();
    seen = now;
  }
  return seen;
}
