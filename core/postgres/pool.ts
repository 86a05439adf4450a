import { type Connection, ConnectionError } from './connection.ts';

interface Waiting {
  resolve(connection: Connection | Promise<Connection>): void;
  reject(error: Error): void;
}

/**
 * At most `max` connections, opened when they are first needed; a caller that finds none free waits in a queue. A connection
 * that ends leaves at once, also while somebody has it: its place is free for another.
 */
export class ConnectionPool {
  readonly #max: number;
  readonly #maxAgeMs: number;
  readonly #open: () => Promise<Connection>;
  readonly #connections = new Set<Connection>();
  readonly #free: Connection[] = [];
  readonly #waiting: Waiting[] = [];
  #opening = 0;
  #onIdle: (() => void) | undefined;
  #isEnded = false;

  constructor(options: { max: number; maxAgeMs: number; open: () => Promise<Connection> }) {
    this.#max = options.max;
    this.#maxAgeMs = options.maxAgeMs;
    this.#open = options.open;
  }

  /** A connection for the caller alone, to be given back. @throws what `open` throws, or ConnectionError at the end. */
  async take(): Promise<Connection> {
    if (this.#onIdle) throw new ConnectionError('the pool has ended');
    // The one that was used last: its session's caches are warm, and so are the machine's.
    const free = this.#free.pop();
    if (free) return free;
    if (this.#connections.size + this.#opening < this.#max) return await this.#connect();
    return await new Promise<Connection>((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  giveBack(connection: Connection): void {
    if (!this.#connections.has(connection)) return;
    if (!connection.isUsable || Date.now() - connection.openedAtMs > this.#maxAgeMs || this.#isEnded) {
      void connection.close();
      return;
    }
    const next = this.#waiting.shift();
    if (next) {
      next.resolve(connection);
      return;
    }
    this.#free.push(connection);
    this.#checkIdle();
  }

  /** Accepts no further caller, and ends once every connection is given back; after the limit it closes those in use. */
  async end(timeoutMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    const idle = new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
    this.#checkIdle();
    const orderly = idle.then(() => Promise.all([...this.#free].map((connection) => connection.close())));
    await Promise.race([orderly, late]);
    clearTimeout(timer);
    this.#isEnded = true;
    for (const { reject } of this.#waiting.splice(0)) reject(new ConnectionError('the pool has ended'));
    for (const connection of this.#connections) connection.destroy();
  }

  async #connect(): Promise<Connection> {
    this.#opening++;
    let connection: Connection | undefined;
    try {
      connection = await this.#open();
    } finally {
      this.#opening--;
      if (!connection) this.#serveNext();
    }
    // It was being opened when the pool gave up waiting.
    if (this.#isEnded) {
      connection.destroy();
      throw new ConnectionError('the pool has ended');
    }
    this.#connections.add(connection);
    connection.onLost(() => this.#forget(connection));
    return connection;
  }

  #forget(connection: Connection): void {
    this.#connections.delete(connection);
    const place = this.#free.indexOf(connection);
    if (place >= 0) this.#free.splice(place, 1);
    this.#serveNext();
  }

  /** There is room for another connection: the first caller in the queue opens it, and gets the error when that fails. */
  #serveNext(): void {
    const next = this.#waiting.shift();
    if (next) next.resolve(this.#connect());
    else this.#checkIdle();
  }

  #checkIdle(): void {
    const inUse = this.#connections.size - this.#free.length + this.#opening;
    if (inUse === 0) this.#onIdle?.();
  }
}
