import { type Connection, ConnectionError, DatabaseError } from './connection.ts';

/** `too_many_connections`: of the server, the database or the role. */
const SERVER_FULL = '53300';
export function isServerFull(error: unknown): boolean {
  return error instanceof DatabaseError && error.code === SERVER_FULL;
}

/** A server that was full is asked again so often, while a caller waits. */
const FULL_PAUSE_MS = 1_000;

interface Waiting {
  resolve(connection: Connection | Promise<Connection>): void;
  reject(error: Error): void;
}

/**
 * At most `max` connections, opened when they are first needed; a caller that finds none free waits in a queue. A connection
 * that ends leaves at once, also while somebody has it: its place is free for another. While the server takes no more, a pool
 * that has connections makes do with them.
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
  #fullTimer: NodeJS.Timeout | undefined;

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
    if (connection.isServerLost) this.#leaveServer();
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
    clearTimeout(this.#fullTimer);
    this.#isEnded = true;
    for (const { reject } of this.#waiting.splice(0)) reject(new ConnectionError('the pool has ended'));
    for (const connection of this.#connections) connection.destroy();
  }

  async #connect(): Promise<Connection> {
    this.#opening++;
    let connection: Connection;
    try {
      connection = await this.#open();
    } catch (error) {
      this.#opening--;
      if (isServerFull(error) && this.#connections.size > 0 && !this.#isEnded) return await this.#makeDo();
      this.#serveNext();
      throw error;
    }
    this.#opening--;
    // It was being opened when the pool gave up waiting.
    if (this.#isEnded) {
      connection.destroy();
      throw new ConnectionError('the pool has ended');
    }
    this.#leaveOthers(connection.serverName);
    this.#connections.add(connection);
    connection.onLost(() => this.#forget(connection));
    return connection;
  }

  /** The next connection that is given back, or a new one once the server takes it. */
  async #makeDo(): Promise<Connection> {
    const free = this.#free.pop();
    if (free) return free;
    this.#fullTimer ??= setTimeout(() => {
      this.#fullTimer = undefined;
      const room = this.#max - this.#connections.size - this.#opening;
      for (let i = Math.min(room, this.#waiting.length); i > 0; i--) this.#serveNext();
    }, FULL_PAUSE_MS);
    return await new Promise<Connection>((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  #leaveServer(): void {
    for (const connection of this.#connections) connection.retire();
    for (const connection of this.#free.splice(0)) connection.destroy();
  }

  /** The newest session's primary has replaced the others': what is under way there must not seem done. */
  #leaveOthers(serverName: string): void {
    const others = [...this.#connections].filter((connection) => connection.serverName !== serverName);
    if (others.length > 0) this.#leaveServer();
    for (const connection of others) connection.destroy();
  }

  #forget(connection: Connection): void {
    this.#connections.delete(connection);
    if (connection.isServerLost) this.#leaveServer();
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
