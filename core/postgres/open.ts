import pg from 'pg';
import { errorText } from '../errors.ts';
import type { Logger } from '../service/log.ts';
import { readDatabaseUrl, type SessionAttributes } from '../url.ts';
import { Connection, ConnectionError } from './connection.ts';
import { isServerFull } from './pool.ts';
import { checkSession, explainRefusal, type Primary, type SessionKind, withSettings } from './session.ts';

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
  readonly log?: Pick<Logger, 'error'> | undefined;
}

/** An attempt at one server. */
type Attempt =
  | { readonly server: number; readonly connection: Connection; readonly primary: Primary | undefined }
  | { readonly server: number; readonly error: unknown };
type Opened = Extract<Attempt, { connection: Connection }>;

/**
 * Returns what opens a session, which is then checked as {@link checkSession} says. Where several servers are named, the first
 * session asks all of them, because an old primary that came back can be written to as well. From then on a server that is
 * behind the newest primary seen is refused.
 * @throws what the first server that answered refuses it with; else ConnectionError, which names every server.
 */
export function createOpener(options: OpenOptions): () => Promise<Connection> {
  const { urls, attributes } = readDatabaseUrl(options.url);
  const timeoutMs = urls.length > 1 ? CONNECT_TIMEOUT_OF_SEVERAL_MS : CONNECT_TIMEOUT_MS;
  const hostOf = (server: number) => new URL(urls[server] as string).host;
  let current: number | undefined;
  let newest: Primary | undefined;

  async function attempt(server: number): Promise<Attempt> {
    try {
      const url = urls[server] as string;
      return { server, ...(await openSession({ ...options, url, attributes, timeoutMs })) };
    } catch (error) {
      return { server, error };
    }
  }

  /** Takes a session, unless its server is behind. */
  function take({ server, connection, primary }: Opened): Connection {
    const fault = primary && newest && faultOf(primary, newest, urls.length > 1);
    if (fault) {
      connection.destroy();
      options.log?.error({ host: hostOf(server), ...primary }, `PostgreSQL: ${fault}`);
      throw new ConnectionError(fault, { code: 'NO_PRIMARY' });
    }
    current = server;
    newest = primary ?? newest;
    connection.serverName = `${hostOf(server)} ${primary?.system} ${primary?.timeline}`;
    return connection;
  }

  /** The newest primary of all servers; without one the errors of all. */
  async function openNewest(): Promise<Connection> {
    const attempts = await Promise.all(urls.map((_, server) => attempt(server)));
    const opened = attempts.filter((one): one is Opened => 'connection' in one);
    const [best, ...others] = opened.toSorted((a, b) => timelineOf(b) - timelineOf(a));
    for (const { connection } of others) connection.destroy();
    if (!best)
      throw failureOf(attempts.map(({ server, ...one }) => ({ host: hostOf(server), ...one })) as Failure[]);
    const [second] = others;
    if (!second?.primary || !best.primary) return take(best);
    const hosts = `${hostOf(best.server)} and ${hostOf(second.server)}`;
    if (timelineOf(second) === timelineOf(best) || second.primary.system !== best.primary.system) {
      best.connection.destroy();
      throw new ConnectionError(
        `${hosts} can both be written to, and none is the newer one: stop one of them`,
        {
          code: 'NO_PRIMARY',
        },
      );
    }
    options.log?.error(
      {
        taken: { host: hostOf(best.server), ...best.primary },
        left: { host: hostOf(second.server), ...second.primary },
      },
      'PostgreSQL: an old primary can still be written to: stop it',
    );
    return take(best);
  }

  return async () => {
    if (current === undefined && urls.length > 1 && attributes !== 'any') return await openNewest();
    const failures: Failure[] = [];
    const first = current ?? 0;
    for (let i = 0; i < urls.length; i++) {
      const server = (first + i) % urls.length;
      const one = await attempt(server);
      try {
        if ('error' in one) throw one.error;
        return take(one);
      } catch (error) {
        // The primary is there: no other server is one.
        if (server === current && isServerFull(error)) throw error;
        failures.push({ host: hostOf(server), error });
      }
    }
    throw failureOf(failures);
  };
}

function timelineOf({ primary }: Opened): number {
  return primary?.timeline ?? 0;
}

/** Why the server is not the one to write to, in words. */
function faultOf(primary: Primary, newest: Primary, isOfSeveral: boolean): string | undefined {
  if (primary.system !== newest.system) {
    // One name leads where its owner has it lead; two hosts of one URL are the same database.
    return isOfSeveral
      ? 'it is another database than before, which this process does not take until it is started again'
      : undefined;
  }
  if (primary.timeline >= newest.timeline) return undefined;
  return `it is an old primary (timeline ${primary.timeline}, and ${newest.timeline} was seen): stop it`;
}

interface Failure {
  readonly host: string;
  readonly error: unknown;
}

/** A server that is starting or stopping: nothing is wrong with what it was asked. */
const PASSING = /^57P0/;

function failureOf(failures: readonly Failure[]): unknown {
  const [only, ...others] = failures;
  if (only && others.length === 0) return only.error;
  const full = failures.find(({ error }) => isServerFull(error));
  const refusal =
    full ??
    failures.find(
      ({ error }) =>
        !(error instanceof ConnectionError) &&
        !(error instanceof pg.DatabaseError && PASSING.test(error.code ?? '')),
    );
  if (refusal) return refusal.error;
  const each = failures.map(({ host, error }) => `${host}: ${errorText(error)}`);
  return new ConnectionError(`none of the servers is usable: ${each.join('; ')}`, {
    code: 'NO_PRIMARY',
    cause: only?.error,
  });
}

async function openSession(
  options: OpenOptions & { attributes: SessionAttributes; timeoutMs: number },
): Promise<Omit<Opened, 'server'>> {
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
    const primary = await checkSession(connection, { kind: as, attributes });
    connection.limitAnswers(true);
    return { connection, primary };
  } catch (error) {
    connection.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
