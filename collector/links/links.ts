import type { BlockSet } from '../../core/blocks/block-set.ts';
import { errorText } from '../../core/errors.ts';
import type { Postgres } from '../../core/postgres/postgres.ts';
import type { Logger } from '../../core/service/log.ts';
import { startLoop } from '../../core/service/loop.ts';
import type { AsnList } from '../request/asn.ts';
import { createClockWatch } from './clock-watch.ts';
import { FROM_THE_BEGINNING, readLinkChanges } from './link-reader.ts';
import { type Link, LinkSet, type Program } from './link-set.ts';
import { readLinkSnapshot, writeLinkSnapshot } from './link-snapshot.ts';

/** All links and block lists in memory: loaded once, followed by polling PostgreSQL, kept on the disk for a start without it. */
export interface LinkStore {
  /** The link of a code; codes are case-sensitive. */
  find(code: string): Link | undefined;
  /** The program that owns a tracking domain, for unknown codes. */
  programOfDomain(host: string): Program | undefined;
  /** To be asked for at each click: a load makes another one. */
  readonly blocks: BlockSet;
  /** Entries of autonomous systems are not applied: their list is not read yet, or cannot be. */
  readonly lacksAsns: boolean;
  readonly size: number;
  /** Unix ms of the last poll of PostgreSQL, by this process or the one that wrote the snapshot; 0: no links yet. */
  readonly freshAtMs: number;
  /** How far this machine's clock is from PostgreSQL's: see `ClockWatch`. */
  readonly clockOffMs: number;
  stop(): Promise<void>;
}

/** A change is visible within this and the time of one query. */
const POLL_MS = 500;
const RETRY_MS = 1_000;
/** The snapshot is written at most this often: it holds all links, whatever has changed. */
const SNAPSHOT_EVERY_MS = 60_000;

/**
 * Starts loading at once and follows changes until stopped; while PostgreSQL is unavailable the links only grow older.
 * The snapshot serves until PostgreSQL answers; then everything is read again, since it may be another database. So it is
 * once the server was started again, or another one has taken its place.
 */
export function followLinks(options: {
  sql: Postgres;
  snapshotFile: string;
  /** Awaited before PostgreSQL's links are loaded; they are not while it rejects. */
  beforeReading: () => Promise<void>;
  /** Loaded once an entry of a block list needs it. */
  asns: Pick<AsnList, 'loadAsns' | 'hasAsns'>;
  log: Logger;
}): LinkStore {
  const { sql, snapshotFile, beforeReading, asns, log } = options;
  const clocks = createClockWatch({ log });
  let set = new LinkSet({ log });
  let freshAtMs = 0;
  let position = { since: FROM_THE_BEGINNING, server: '' };
  let snapshotTried = false;
  let loaded = false;
  let changed = false;
  let writtenAtMs = Date.now();
  let writing: Promise<void> | undefined;

  async function loadSnapshot(): Promise<void> {
    snapshotTried = true;
    try {
      const stored = new LinkSet({ log });
      const snapshot = await readLinkSnapshot({ file: snapshotFile, set: stored });
      if (!snapshot) return;
      if (stored.blocks.needsAsns) await asns.loadAsns();
      set = stored;
      freshAtMs = snapshot.freshAtMs;
      log.info(
        { links: set.size, freshAt: new Date(freshAtMs) },
        'links loaded from the snapshot of the last run',
      );
    } catch (error) {
      log.warn({ reason: errorText(error) }, 'link snapshot unusable');
    }
  }

  async function poll(): Promise<void> {
    if (!loaded) await beforeReading();
    const polledAtMs = Date.now();
    const target = loaded ? set : new LinkSet({ log });
    const read = await readLinkChanges({ sql, set: target, since: position.since, log });
    if (loaded && read.server !== position.server) {
      loaded = false;
      position.since = FROM_THE_BEGINNING;
      return;
    }
    position = { since: read.since, server: read.server };
    clocks.note(read.clock);
    const loading = target.blocks.needsAsns ? asns.loadAsns() : undefined;
    // Later on other changes do not wait for it.
    if (!loaded) await loading;
    if (!loaded) log.info({ links: target.size, tookMs: Date.now() - polledAtMs }, 'links loaded');
    loaded = true;
    set = target;
    freshAtMs = polledAtMs;
    changed ||= read.rows > 0;
  }

  async function writeSnapshot(): Promise<void> {
    changed = false;
    writtenAtMs = Date.now();
    try {
      await writeLinkSnapshot({ file: snapshotFile, set, freshAtMs });
    } catch (error) {
      changed = true;
      log.warn({ reason: errorText(error) }, 'writing the link snapshot failed; retrying');
    } finally {
      writing = undefined;
    }
  }

  const loop = startLoop(async () => {
    if (!snapshotTried) await loadSnapshot();
    try {
      await poll();
      if (changed && Date.now() - writtenAtMs >= SNAPSHOT_EVERY_MS) writing ??= writeSnapshot();
      return POLL_MS;
    } catch (error) {
      log.warn({ reason: errorText(error) }, 'link polling failed; retrying');
      return RETRY_MS;
    }
  });

  return {
    find: (code) => set.find(code),
    programOfDomain: (host) => set.programOfDomain(host),
    get blocks() {
      return set.blocks;
    },
    get lacksAsns() {
      return set.blocks.needsAsns && !asns.hasAsns();
    },
    get size() {
      return set.size;
    },
    get freshAtMs() {
      return freshAtMs;
    },
    get clockOffMs() {
      return clocks.offMs;
    },
    async stop() {
      await loop.stop();
      await writing;
      if (loaded) await writeSnapshot();
    },
  };
}
