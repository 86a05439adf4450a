import { errorText } from '../../core/errors.ts';
import type { Postgres } from '../../core/postgres.ts';
import type { Logger } from '../../core/service/log.ts';
import { startLoop } from '../../core/service/loop.ts';
import { FROM_THE_BEGINNING, readLinkChanges } from './link-reader.ts';
import { type Link, LinkSet, type Program } from './link-set.ts';
import { readLinkSnapshot, writeLinkSnapshot } from './link-snapshot.ts';

/** All links in memory: loaded once, followed by asking PostgreSQL, kept on the disk for a start without it. */
export interface LinkStore {
  /** The link of a code; codes are case-sensitive. */
  find(code: string): Link | undefined;
  /** The program that owns a tracking domain, for codes nobody knows. */
  programOfDomain(host: string): Program | undefined;
  readonly size: number;
  /** Unix ms of the last look at PostgreSQL, by this process or the one that wrote the snapshot; 0: no links yet. */
  readonly freshAtMs: number;
  stop(): Promise<void>;
}

/** A change is visible within this and the time of one query. */
const POLL_MS = 500;
const RETRY_MS = 1_000;
/** The snapshot is written at most this often: a million links are 130 MB. */
const SNAPSHOT_EVERY_MS = 60_000;

/**
 * Starts loading at once and follows changes until stopped; PostgreSQL being away only makes the data older.
 * The snapshot serves until PostgreSQL answers; then everything is read anew, since the database may be another one.
 */
export function followLinks(options: { sql: Postgres; snapshotFile: string; log: Logger }): LinkStore {
  const { sql, snapshotFile, log } = options;
  let set = new LinkSet({ log });
  let freshAtMs = 0;
  let since = FROM_THE_BEGINNING;
  let snapshotTried = false;
  let loaded = false;
  let changed = false;
  let writtenAtMs = Date.now();
  let writing: Promise<void> | undefined;

  async function trySnapshot(): Promise<void> {
    snapshotTried = true;
    try {
      const stored = new LinkSet({ log });
      const snapshot = await readLinkSnapshot({ file: snapshotFile, set: stored });
      if (!snapshot) return;
      set = stored;
      freshAtMs = snapshot.freshAtMs;
      log.info({ links: set.size, freshAt: new Date(freshAtMs) }, 'links of the last run');
    } catch (error) {
      log.warn({ reason: errorText(error) }, 'the snapshot of the links cannot be used');
    }
  }

  async function poll(): Promise<void> {
    const askedAtMs = Date.now();
    const target = loaded ? set : new LinkSet({ log });
    const read = await readLinkChanges({ sql, set: target, since, log });
    since = read.since;
    if (!loaded) log.info({ links: target.size, tookMs: Date.now() - askedAtMs }, 'links loaded');
    loaded = true;
    set = target;
    freshAtMs = askedAtMs;
    changed ||= read.rows > 0;
  }

  async function writeSnapshot(): Promise<void> {
    changed = false;
    writtenAtMs = Date.now();
    try {
      await writeLinkSnapshot({ file: snapshotFile, set, freshAtMs });
    } catch (error) {
      changed = true;
      log.warn({ reason: errorText(error) }, 'the snapshot of the links could not be written');
    } finally {
      writing = undefined;
    }
  }

  const loop = startLoop(async () => {
    if (!snapshotTried) await trySnapshot();
    try {
      await poll();
      if (changed && Date.now() - writtenAtMs >= SNAPSHOT_EVERY_MS) writing ??= writeSnapshot();
      return POLL_MS;
    } catch (error) {
      log.warn({ reason: errorText(error) }, 'links could not be read');
      return RETRY_MS;
    }
  });

  return {
    find: (code) => set.find(code),
    programOfDomain: (host) => set.programOfDomain(host),
    get size() {
      return set.size;
    },
    get freshAtMs() {
      return freshAtMs;
    },
    async stop() {
      await loop.stop();
      await writing;
      if (loaded) await writeSnapshot();
    },
  };
}
