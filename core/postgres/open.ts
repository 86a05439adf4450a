import pg from 'pg';
import { errorText } from '../errors.ts';
import { readDatabaseUrl, type SessionAttributes } from '../url.ts';
import { Connection, ConnectionError } from './connection.ts';
import { isServerFull } from './pool.ts';
import { checkSession, explainRefusal, type Server, type SessionKind, withSettings } from './session.ts';

/** Opens sessions at the servers of one database: at the one that gave the last session, then at the others in their order. */

/** A connection attempt longer than this means that the server is unavailable. */
const CONNECT_TIMEOUT_MS = 10_000;
/** The same, where another server is to be asked: the machine of a lost primary does not even refuse. */
const CONNECT_TIMEOUT_OF_SEVERAL_MS = 3_000;
/** A silent peer is found out ten seconds after so long (Node.js sends ten probes, one a second), and a firewall is reminded of us. */
const KEEP_ALIVE_MS = 15_000;
/**
 * A process's statement is answered in its statement_timeout of 30 s. A commit can wait longer for a synchronous standby, but
 * a server that has died without a word looks the same.
 */
const ANSWER_TIMEOUT_MS = 45_000;

/** @param options.answerTimeoutMs Of sessions of the application; an owner's statements take as long as they take. */
export interface OpenOptions {
  readonly url: string;
  readonly name: string;
  readonly as: SessionKind;
  readonly answerTimeoutMs?: number | undefined;
  readonly log?: { error(fields: object, message: string): void } | undefined;
}

/** What has come of asking one host. */
interface Opened {
  readonly host: number;
  readonly connection: Connection;
  readonly server: Server;
}
interface Failure {
  readonly host: number;
  readonly error: unknown;
}

/**
 * Returns what opens a session, which is then checked as {@link checkSession} says. Where several hosts are named, the first
 * session asks all of them, because an old primary that came back can be written to as well. From then on a server that is
 * behind the newest primary seen is refused.
 * @throws what the first server that answered refuses it with; else ConnectionError, which names every server.
 */
export function createOpener(options: OpenOptions): () => Promise<Connection> {
  const { urls, attributes } = readDatabaseUrl(options.url);
  const timeoutMs = urls.length > 1 ? CONNECT_TIMEOUT_OF_SEVERAL_MS : CONNECT_TIMEOUT_MS;
  const places = urls.map((url) => new URL(url).host);
  let current: number | undefined;
  let newest: Server | undefined;

  async function ask(host: number): Promise<Opened | Failure> {
    try {
      const url = urls[host] as string;
      return { host, ...(await openSession({ ...options, url, attributes, timeoutMs })) };
    } catch (error) {
      return { host, error };
    }
  }

  /** @throws ConnectionError when the server is behind. */
  function take({ host, connection, server }: Opened): Connection {
    const fault = newest && faultOf(server, newest, urls.length > 1);
    if (fault !== undefined) {
      connection.destroy();
      options.log?.error({ host: places[host], server }, `PostgreSQL: ${fault}`);
      throw new ConnectionError(fault, { code: 'NO_PRIMARY' });
    }
    current = host;
    if (server.timeline !== undefined) newest = server;
    return connection;
  }

  /** Of all hosts. */
  async function openNewest(): Promise<Connection> {
    const answers = await Promise.all(places.map((_, host) => ask(host)));
    const opened = answers.flatMap((one) => ('connection' in one ? [one] : []));
    const [best, ...others] = opened.toSorted((a, b) => timelineOf(b) - timelineOf(a));
    for (const { connection } of others) connection.destroy();
    if (!best) throw failureOf(answers.flatMap((one) => ('error' in one ? [one] : [])));
    const second = others.find(({ server }) => server.started !== best.server.started);
    if (!second) return take(best);
    if (timelineOf(second) === timelineOf(best) || second.server.system !== best.server.system) {
      best.connection.destroy();
      const both = `${places[best.host]} and ${places[second.host]} can both be written to`;
      throw new ConnectionError(`${both}, and neither follows from the other: stop one of them`, {
        code: 'NO_PRIMARY',
      });
    }
    options.log?.error(
      { taken: places[best.host], left: places[second.host] },
      'PostgreSQL: an old primary can still be written to: stop it',
    );
    return take(best);
  }

  /** The host of the last session first. */
  async function openNext(): Promise<Connection> {
    const failures: Failure[] = [];
    const first = current ?? 0;
    for (let i = 0; i < urls.length; i++) {
      const host = (first + i) % urls.length;
      const one = await ask(host);
      try {
        if ('error' in one) throw one.error;
        return take(one);
      } catch (error) {
        // The primary is there: no other server is one.
        if (host === current && isServerFull(error)) throw error;
        failures.push({ host, error });
      }
    }
    throw failureOf(failures);
  }

  function failureOf(failures: readonly Failure[]): unknown {
    const [only, ...others] = failures;
    if (only && others.length === 0) return only.error;
    // A server that is full is the primary or may be it.
    const refusal =
      failures.find(({ error }) => isServerFull(error)) ?? failures.find(({ error }) => isRefusal(error));
    if (refusal) return refusal.error;
    const each = failures.map(({ host, error }) => `${places[host]}: ${errorText(error)}`);
    return new ConnectionError(`none of the servers is usable: ${each.join('; ')}`, {
      code: 'NO_PRIMARY',
      cause: only?.error,
    });
  }

  const asksAll = urls.length > 1 && attributes !== 'any';
  return () => (asksAll && current === undefined ? openNewest() : openNext());
}

function timelineOf({ server }: Opened): number {
  return server.timeline ?? 0;
}

/** Why a server is not the one to write to, in words. */
function faultOf(server: Server, newest: Server, isOfSeveral: boolean): string | undefined {
  const { system, timeline = newest.timeline } = server;
  if (system !== newest.system) {
    // One name leads where its owner has it lead; the hosts of one URL are one database.
    return isOfSeveral
      ? 'it is another database than before: start this process again if it is the right one'
      : undefined;
  }
  if (timeline === undefined || newest.timeline === undefined || timeline >= newest.timeline)
    return undefined;
  return `it is an old primary (timeline ${timeline}, and ${newest.timeline} was seen): stop it`;
}

/** A server that is starting or stopping: nothing is wrong with what it was asked. */
const PASSING = /^57P0/;

function isRefusal(error: unknown): boolean {
  return (
    !(error instanceof ConnectionError) &&
    !(error instanceof pg.DatabaseError && PASSING.test(error.code ?? ''))
  );
}

async function openSession(
  options: OpenOptions & { attributes: SessionAttributes; timeoutMs: number },
): Promise<Omit<Opened, 'host'>> {
  const { url, name, as, attributes, timeoutMs, answerTimeoutMs = ANSWER_TIMEOUT_MS } = options;
  let connection: Connection;
  try {
    connection = await Connection.open(
      {
        connectionString: withSettings(url, as),
        application_name: name,
        connectionTimeoutMillis: timeoutMs,
        keepAlive: true,
        keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
      },
      as === 'owner' ? undefined : answerTimeoutMs,
    );
  } catch (error) {
    throw explainRefusal(error);
  }
  // Until it is checked, the attempt's own limit holds.
  connection.limitAnswers(false);
  const timer = setTimeout(() => connection.destroy(), timeoutMs);
  try {
    const server = await checkSession(connection, { kind: as, attributes });
    connection.limitAnswers(true);
    connection.serverName = `${server.system} ${server.timeline} ${server.started}`;
    return { connection, server };
  } catch (error) {
    connection.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
