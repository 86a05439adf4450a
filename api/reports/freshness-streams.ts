import { PassThrough } from 'node:stream';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { startLoop } from '../../core/service/loop.ts';
import type { Running } from '../../core/service/service.ts';
import { type Principal, partyOf } from '../http/principal.ts';
import { Problem } from '../http/problems.ts';

/** How fresh reports are, as an answer says it. */
export interface Freshness {
  readonly complete_to: string | null;
  readonly at: string;
}

/** How often the watermark is read, once for all listeners: the loader writes it as often. */
const POLL_MS = 1_000;
/** Proxies drop a connection that is silent for longer; a comment keeps it. */
const HEARTBEAT_MS = 15_000;
/** A stream ends so soon after the right to it. */
const RECHECK_MS = 5_000;
/** Windows of one person's browser; over all keys and users of a party. */
const MAX_STREAMS_A_PARTY = 10;
/** Each is a connection and a timer's worth of writing. A hundred parties have room. */
const MAX_STREAMS = 1_000;
/** How many bytes a client may be behind before it is dropped: a slow reader must not fill the memory. */
const MAX_UNREAD_BYTES = 16_384;

interface Listener {
  readonly principal: Principal;
  readonly stream: PassThrough;
}

/** Server-sent events about freshness: one poll serves every listener, and none runs without listeners. */
export class FreshnessStreams {
  readonly #read: () => Promise<Freshness>;
  readonly #admitted: (principals: readonly Principal[]) => Promise<ReadonlySet<Principal>>;
  readonly #log: Logger;
  readonly #listeners = new Set<Listener>();
  #poll: Running | undefined;
  #lastSent: string | null = null;
  #lastSentAt = 0;
  #checkedAt = 0;

  /** `admitted` says which of the principals may still listen. */
  constructor({
    read,
    admitted,
    log,
  }: {
    read: () => Promise<Freshness>;
    admitted: (principals: readonly Principal[]) => Promise<ReadonlySet<Principal>>;
    log: Logger;
  }) {
    this.#read = read;
    this.#admitted = admitted;
    this.#log = log;
  }

  /** A stream that begins with the present freshness. @throws Problem `rate_limited`. */
  async open(principal: Principal): Promise<PassThrough> {
    const fresh = await this.#read();
    // Counted and added without a wait between the two, so that many at once are not more than are allowed.
    this.#requireRoom(partyOf(principal));
    const stream = new PassThrough();
    stream.write(eventOf(fresh));
    this.#add({ principal, stream }, fresh.complete_to);
    return stream;
  }

  #requireRoom(party: string): void {
    const own = [...this.#listeners].filter(({ principal }) => partyOf(principal) === party).length;
    const isFull = this.#listeners.size >= MAX_STREAMS;
    if (own < MAX_STREAMS_A_PARTY && !isFull) return;
    throw new Problem('rate_limited', {
      detail:
        own < MAX_STREAMS_A_PARTY
          ? `${MAX_STREAMS} streams of all callers are open; try again later`
          : `${MAX_STREAMS_A_PARTY} streams of one party at a time are allowed; close one`,
      headers: { 'retry-after': '5' },
    });
  }

  /** Ends every stream: they have no end of their own, and a stop waits for open requests. */
  async close(): Promise<void> {
    for (const { stream } of this.#listeners) stream.end();
    await this.#poll?.stop();
  }

  #add(listener: Listener, sent: string | null): void {
    // Earlier listeners get the same event at the next poll.
    if (this.#listeners.size === 0) {
      this.#lastSent = sent;
      this.#lastSentAt = Date.now();
    }
    this.#listeners.add(listener);
    this.#poll ??= startLoop(() => this.#step());
    listener.stream.once('close', () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      void this.#poll?.stop();
      this.#poll = undefined;
    });
  }

  async #step(): Promise<number> {
    try {
      const fresh = await this.#read();
      if (fresh.complete_to !== this.#lastSent) this.#send(eventOf(fresh));
      this.#lastSent = fresh.complete_to;
    } catch (error) {
      this.#log.warn({ reason: errorText(error) }, 'freshness could not be read');
    }
    if (Date.now() - this.#lastSentAt >= HEARTBEAT_MS) this.#send(': heartbeat\n\n');
    if (Date.now() - this.#checkedAt >= RECHECK_MS) await this.#endRefused();
    return POLL_MS;
  }

  /** Ends the streams of those whose session, key, user or affiliate has ended since. */
  async #endRefused(): Promise<void> {
    this.#checkedAt = Date.now();
    const listeners = [...this.#listeners];
    try {
      const admitted = await this.#admitted(listeners.map(({ principal }) => principal));
      for (const { principal, stream } of listeners) if (!admitted.has(principal)) stream.end();
    } catch (error) {
      this.#log.warn({ reason: errorText(error) }, 'rights of open streams could not be checked');
    }
  }

  #send(text: string): void {
    this.#lastSentAt = Date.now();
    for (const { stream } of this.#listeners) {
      if (stream.writableEnded) continue;
      if (stream.readableLength > MAX_UNREAD_BYTES) stream.destroy();
      else stream.write(text);
    }
  }
}

function eventOf(fresh: Freshness): string {
  return `event: freshness\ndata: ${JSON.stringify(fresh)}\n\n`;
}
