import type { Logger } from '../../core/service/log.ts';
import type { NatsServer } from '../../engines/nats.ts';
import type { BenchLink } from '../collector/links.ts';
import type { Measured } from '../collector/process.ts';
import type { Run } from '../ending.ts';

/** Shared by the peers: one machine, the same links, and the servers in which each has a database of its own. */
export interface PeerFixture {
  /** Ends what a peer starts beside its server. */
  readonly run: Run;
  /** For the files of this run. */
  readonly folder: string;
  readonly links: readonly BenchLink[];
  readonly postgres: { readonly url: string; readonly pid: number };
  readonly clickhouse: { readonly url: string; readonly pid: number };
  readonly natsServer: NatsServer;
  /** Whether packages may be fetched for it. */
  readonly mayInstall: boolean;
  readonly log: Logger;
}

/** A plausible way to answer clicks with redirects. */
export interface Peer {
  readonly name: string;
  /** Where a click is stored when its redirect leaves. */
  readonly durability: string;
  /** Makes its links and its store. @throws Missing when a program is not there. */
  open(fixture: PeerFixture): Promise<OpenPeer>;
}

/** A peer with its store, ready to be started, killed and started again. */
export interface OpenPeer {
  /** Starts the redirect server, ready. */
  start(port: number): Promise<Measured>;
  /** Other processes that work for its clicks. */
  readonly stores: readonly number[];
  /** Clicks stored so far; undefined for one that stores nothing. */
  readonly count?: () => Promise<number>;
  /** Waits until the store has finished its background work on the stored clicks. */
  readonly settled?: () => Promise<void>;
  /** The numbers of the stored clicks of visitors, see {@link VISIT_URL}; undefined where only counts are kept. */
  readonly visits?: () => Promise<number[]>;
  /** Bytes of the clicks on disk, indexes included; 0 where only counts are kept. */
  readonly bytes: () => Promise<number>;
  /** Bytes written so far to a log that is kept for a while: write-ahead log or stream. */
  readonly logBytes?: () => Promise<number>;
  close(): Promise<void>;
}

/** All that a peer consists of shares two cores with the load generator, and the kernel divides them. */
export const CORES = '0,1';

/** The Referer that numbers a visit; the number follows. Every peer stores it, or the parameter `ref`, or only counts. */
export const VISIT_URL = 'https://blog.example/visit/';

/** A program that a peer needs, or a package of that program, is not on this machine. */
export class Missing extends Error {
  readonly program: 'nginx' | 'go' | 'python3';

  constructor(program: Missing['program'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.program = program;
  }
}
