import { OperatingError } from '../../core/errors.ts';
import { NoAnswer } from './transport.ts';
import type { Warehouse } from './warehouse.ts';

/** One server of several that can serve the same calls. */
export interface Server {
  readonly warehouse: Warehouse;
  /** Before its first use, and after each failure of another one. @throws OperatingError why it cannot be used. */
  prepare(): Promise<void>;
}

/**
 * Faults of a replica that another one may not have: its tables are read-only (242), it lacks an acknowledged insert (289),
 * it cannot reach Keeper (999).
 */
const REPLICA_FAULTS: ReadonlySet<number | undefined> = new Set([242, 289, 999]);
/** A replica that the asked server chose by chance lacks the newest insert for a moment: each try chooses again. */
const MIN_READ_TRIES = 4;

/**
 * One server at a time, the first that can be used, until it cannot be reached. A read goes on to the next one then, unless
 * it had no answer in time: the next read does. What writes fails, since it may have been done, and its repetition goes to the next one.
 */
export function withFailover(servers: readonly [Server, ...Server[]]): {
  warehouse: Warehouse;
  /** Chooses a server; so does the first call. @throws OperatingError why none can be used. */
  connect: () => Promise<unknown>;
} {
  let next = 0;
  let chosen: Promise<Warehouse> | undefined;

  async function choose(): Promise<Warehouse> {
    const reasons: OperatingError[] = [];
    for (let i = 0; i < servers.length; i++) {
      const server = servers[(next + i) % servers.length] as Server;
      try {
        await server.prepare();
        next = (next + i) % servers.length;
        return server.warehouse;
      } catch (error) {
        if (!(error instanceof OperatingError)) throw error;
        reasons.push(error);
      }
    }
    throw new OperatingError(
      reasons[0]?.code ?? 'clickhouse_unreachable',
      `no server of CLICKHOUSE_URL can be used: ${reasons.map(({ message }) => message).join('; ')}`,
      { cause: reasons[0] },
    );
  }

  function current(): Promise<Warehouse> {
    chosen ??= choose().catch((error) => {
      chosen = undefined;
      throw error;
    });
    return chosen;
  }

  /** Several calls fail at once when a server ends: the first of them leaves it. */
  async function leave(server: Warehouse): Promise<void> {
    if ((await chosen?.catch(() => undefined)) !== server) return;
    chosen = undefined;
    next = (next + 1) % servers.length;
  }

  async function on<T>(server: Warehouse, call: (server: Warehouse) => Promise<T>): Promise<T> {
    try {
      return await call(server);
    } catch (error) {
      if (isOfServer(error)) await leave(server);
      throw error;
    }
  }

  async function read<T>(call: (server: Warehouse) => Promise<T>): Promise<T> {
    for (let left = Math.max(servers.length, MIN_READ_TRIES) - 1; ; left--) {
      try {
        return await on(await current(), call);
      } catch (error) {
        if (left === 0 || !isOfServer(error) || isNoAnswer(error)) throw error;
      }
    }
  }

  const write = async <T>(call: (server: Warehouse) => Promise<T>): Promise<T> =>
    await on(await current(), call);

  /** The calls of a warehouse, done by `reader` and `writer`. */
  function over(of: Warehouse, reader: typeof read, writer: typeof write): Warehouse {
    return {
      database: of.database,
      cluster: of.cluster,
      account: of.account,
      query: (...call) => reader((server) => server.query(...call)),
      stream: (...call) => reader((server) => server.stream(...call)),
      queryArrow: (...call) => reader((server) => server.queryArrow(...call)),
      command: (...call) => writer((server) => server.command(...call)),
      everywhere: (...call) => writer((server) => server.everywhere(...call)),
      insertRows: (...call) => writer((server) => server.insertRows(...call)),
      insertBytes: (...call) => writer((server) => server.insertBytes(...call)),
      async server() {
        const server = await current();
        const here = <T>(call: (server: Warehouse) => Promise<T>): Promise<T> => on(server, call);
        return over(server, here, here);
      },
      async close() {
        await Promise.all(servers.map(({ warehouse }) => warehouse.close()));
      },
    };
  }

  return { warehouse: over(servers[0].warehouse, read, write), connect: current };
}

/** What has kept one server for so long would keep the next ones too. */
function isNoAnswer(error: unknown): boolean {
  return error instanceof OperatingError && error.cause instanceof NoAnswer;
}

function isOfServer(error: unknown): boolean {
  if (!(error instanceof OperatingError)) return false;
  return error.code === 'clickhouse_unreachable' || REPLICA_FAULTS.has(error.clickhouseCode);
}
