import pg from 'pg';
import { errorText } from '../errors.ts';
import { readDatabaseUrl, type SessionAttributes } from '../url.ts';
import { Connection, ConnectionError } from './connection.ts';
import { checkSession, explainRefusal, type SessionKind, withSettings } from './session.ts';

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
}

/**
 * Returns what opens a session, which is then checked as {@link checkSession} says.
 * @throws what the first server that answered refuses it with; else ConnectionError, which names every server.
 */
export function createOpener(options: OpenOptions): () => Promise<Connection> {
  const { urls, attributes } = readDatabaseUrl(options.url);
  const timeoutMs = urls.length > 1 ? CONNECT_TIMEOUT_OF_SEVERAL_MS : CONNECT_TIMEOUT_MS;
  let current = 0;
  return async () => {
    const failures: { host: string; error: unknown }[] = [];
    const first = current;
    for (let i = 0; i < urls.length; i++) {
      const server = (first + i) % urls.length;
      const url = urls[server] as string;
      try {
        const connection = await openSession({ ...options, url, attributes, timeoutMs });
        current = server;
        return connection;
      } catch (error) {
        failures.push({ host: new URL(url).host, error });
      }
    }
    throw failureOf(failures);
  };
}

/** A server that is starting or stopping: nothing is wrong with what it was asked. */
const PASSING = /^57P0/;

function failureOf(failures: readonly { host: string; error: unknown }[]): unknown {
  const [only, ...others] = failures;
  if (only && others.length === 0) return only.error;
  const refusal = failures.find(
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
): Promise<Connection> {
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
  const timer = setTimeout(() => connection.destroy(), timeoutMs);
  try {
    await checkSession(connection, { kind: as, attributes });
    return connection;
  } catch (error) {
    connection.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
