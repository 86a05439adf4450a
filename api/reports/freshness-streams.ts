import { PassThrough } from 'node:stream';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import { startLoop } from '../../core/service/loop.ts';
import type { Running } from '../../core/service/service.ts';
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
/** Windows of one person's browser. */
const MAX_STREAMS_A_CALLER = 10;
/** Each is a connection and a timer's worth of writing. */
const MAX_STREAMS = 1_000;
/** How many bytes a client may be behind before it is dropped: a slow reader must not fill the memory. */
const MAX_UNREAD_BYTES = 16_384;

interface Listener {
  readonly caller: string;
  readonly stream: PassThrough;
}

/** Server-sent events about freshness: one poll serves every listener, and none runs without listeners. */
export class FreshnessStreams {
  readonly #read: () => Promise<Freshness>;
  readonly #log: Logger;
  readonly #listeners = new Set<Listener>();
  #poll: Running | undefined;
  #lastSent: string | null = null;
  #lastSentAt = 0;

  constructor({ read, log }: { read: () => Promise<Freshness>; log: Logger }) {
    this.#read = read;
    this.#log = log;
  }

  /** A stream that begins with the present freshness. @throws Problem `rate_limited`. */
  async open(caller: string): Promise<PassThrough> {
    const own = [...this.#listeners].filter((listener) => listener.caller === caller).length;
    if (own >= MAX_STREAMS_A_CALLER || this.#listeners.size >= MAX_STREAMS) {
      throw new Problem('rate_limited', {
        detail: `${MAX_STREAMS_A_CALLER} streams at a time are allowed; close one`,
        headers: { 'retry-after': '5' },
      });
    }
    const fresh = await this.#read();
    const stream = new PassThrough();
    stream.write(eventOf(fresh));
    this.#add({ caller, stream }, fresh.complete_to);
    return stream;
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
    return POLL_MS;
  }

  #send(text: string): void {
    this.#lastSentAt = Date.now();
    for (const { stream } of this.#listeners) {
      if (stream.readableLength > MAX_UNREAD_BYTES) stream.destroy();
      else stream.write(text);
    }
  }
}

function eventOf(fresh: Freshness): string {
  return `event: freshness\ndata: ${JSON.stringify(fresh)}\n\n`;
}
