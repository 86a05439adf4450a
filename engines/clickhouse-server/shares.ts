import type { ClickHouseEngine } from './sessions/engine.ts';
import { createSessions, type Sessions } from './sessions/sessions.ts';
import { createSlots, type Slots } from './slots.ts';
import type { User } from './users/users.ts';

/** What requests of some users may take at a time. */
export interface Share {
  /** Queries; each holds a thread of libuv's pool and a pipe. */
  readonly running: Slots;
  /** Bodies that are read; each can hold RAM. */
  readonly uploads: Slots;
  /** KILL QUERY, beside the queries: it is for when they take all slots. */
  readonly kills: Slots;
  readonly sessions: Sessions;
}

interface ShareSize {
  readonly running: number;
  readonly uploads: number;
  readonly kills: number;
  /** More than any honest set of clients of one user has open; further ones get an error. */
  readonly maxWaiting: number;
  /** Of one user. Each keeps 130 KB in the engine while idle; a client has one. */
  readonly maxNamed: number;
  /** Of these queries and uploads one user has so many at a time. */
  readonly perUser: number;
}

/** Of the platform, of the analyst of every program, who is Grafana too, and of programs: none waits for another's. */
const SIZES: Readonly<Record<User['share'], ShareSize>> = {
  owner: { running: 16, uploads: 16, kills: 2, maxWaiting: 512, maxNamed: 256, perUser: 16 },
  analysts: { running: 4, uploads: 4, kills: 1, maxWaiting: 128, maxNamed: 128, perUser: 4 },
  programs: { running: 2, uploads: 2, kills: 1, maxWaiting: 32, maxNamed: 32, perUser: 1 },
};

/** Queries that run at a time. */
export const MAX_RUNNING_QUERIES = SIZES.owner.running + SIZES.analysts.running + SIZES.programs.running;

export function createShares(engine: ClickHouseEngine): Readonly<Record<User['share'], Share>> {
  return {
    owner: createShare(engine, SIZES.owner, 0),
    analysts: createShare(engine, SIZES.analysts, SIZES.owner.running),
    programs: createShare(engine, SIZES.programs, SIZES.owner.running + SIZES.analysts.running),
  };
}

function createShare(engine: ClickHouseEngine, size: ShareSize, first: number): Share {
  const { maxWaiting, maxNamed, perUser } = size;
  return {
    running: createSlots({ count: size.running, maxWaiting, perUser, first }),
    uploads: createSlots({ count: size.uploads, maxWaiting, perUser }),
    kills: createSlots({ count: size.kills, maxWaiting, perUser }),
    sessions: createSessions(engine, { maxNamed }),
  };
}
