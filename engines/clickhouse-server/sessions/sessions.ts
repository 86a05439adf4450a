import { assert } from '../../../core/errors.ts';
import { asQueryError, QueryError } from '../errors.ts';
import { OWNER, type User } from '../users/users.ts';
import { joined, type QueryContext, quote, quoteName, statementsOf } from './context.ts';
import type { ClickHouseEngine, EngineSession, QueryResult } from './engine.ts';

/** A session that a request names, and what it says of it. */
export interface SessionRequest {
  readonly id: string;
  readonly timeoutMs: number;
  /** Whether it is an error when it does not exist yet. */
  readonly mustExist: boolean;
}

/** A query as the engine runs it. */
export interface EngineQuery {
  readonly sql: string;
  /** Format of rows that do not go to a file. */
  readonly format: string;
  readonly context: QueryContext;
  /** Whether it is a SET or USE, which is there to change the session. */
  readonly changesSession: boolean;
  /** Whether it only reads, so that nothing of it stays in the session but its context. */
  readonly onlyReads: boolean;
  /** Names of temporary tables, quoted, that the query makes for itself. */
  readonly ownTables: readonly string[];
}

/** Where one request runs its query. */
export interface QuerySession {
  /** @throws QueryError, also for an unknown database, role or setting. */
  run(query: EngineQuery): Promise<QueryResult>;
  close(): void;
}

export interface Sessions {
  /**
   * The session that the request names, or one that nothing of an earlier query is in force in.
   * @throws QueryError 373 while another request uses the session, 372 when it must exist and does not.
   */
  open(request: SessionRequest | undefined, user: User): QuerySession;
  /** A command may have changed what sessions say of themselves, such as their database: queries begin with new ones. */
  forgetUnnamed(): void;
  /** Ends the sessions that no request uses. */
  close(): void;
}

const TABLE_ALREADY_EXISTS = 57;
const TOO_MANY_SESSIONS = 202;
const SESSION_NOT_FOUND = 372;
const SESSION_IS_LOCKED = 373;

/**
 * Keeps what clients make in sessions that they name (`session_id`): temporary tables, and what SET and USE change.
 * @param options.maxNamed of one user: one more ends the session that its user has left alone for longest.
 */
export function createSessions(engine: ClickHouseEngine, options: { maxNamed: number }): Sessions {
  const { maxNamed } = options;
  const named = new Map<string, NamedSession>();
  const idle = createIdleSessions();

  function open(request: SessionRequest | undefined, user: User): QuerySession {
    if (request === undefined) return openUnnamed(engine, idle, user);
    const key = `${user.name} ${request.id}`;
    const session = named.get(key) ?? create(request, user, key);
    const held = session.hold(request.timeoutMs);
    // In the order of their last use.
    named.delete(key);
    named.set(key, session);
    return held;
  }

  function create({ id, mustExist }: SessionRequest, user: User, key: string): NamedSession {
    if (mustExist) throw new QueryError(SESSION_NOT_FOUND, `Session ${id} not found`, 'SESSION_NOT_FOUND');
    const own = [...named.values()].filter((session) => session.user === user.name);
    if (own.length >= maxNamed && !own.some((session) => session.endIfIdle())) {
      throw new QueryError(
        TOO_MANY_SESSIONS,
        `The embedded engine keeps ${maxNamed} sessions of a user, and all are in use`,
        'TOO_MANY_SIMULTANEOUS_QUERIES',
      );
    }
    const session = new NamedSession({
      id,
      user: user.name,
      session: engine.open(user.statements),
      profile: new Map([...engine.profile, ...user.settings]),
      ended: () => named.delete(key),
    });
    named.set(key, session);
    return session;
  }

  function close(): void {
    for (const session of [...named.values()]) session.endIfIdle();
    idle.forget();
  }

  return { open, forgetUnnamed: idle.forget, close };
}

/** For one query. */
function openUnnamed(engine: ClickHouseEngine, idle: IdleSessions, user: User): QuerySession {
  let session: EngineSession | undefined;
  let again: Omit<Idle, 'session'> | undefined;
  return {
    async run({ context, sql, format, onlyReads }) {
      assert(session === undefined, 'a session of one query runs one');
      const key = user === OWNER && onlyReads ? keyOf(context) : undefined;
      const said = joined(statementsOf(context));
      const known = idle.take(key);
      const since = idle.forgotten();
      session = known?.session ?? engine.open(user.statements);
      const result = await session.run(known?.said === said ? sql : said + sql, format);
      // Not after a failure: the context may be in force in part.
      if (key !== undefined) again = { key, said, since };
      return result;
    },
    close() {
      if (session && again) idle.put({ ...again, session });
      else session?.close();
    },
  };
}

/** As many as queries that run at a time. Each keeps 130 KB in the engine. */
const MAX_IDLE = 16;

/**
 * Sessions for the next query: a new one takes longer than a short query. One that a query was run in serves those alone
 * that say the same things, whatever their values: these take the place of all that the query before has left.
 */
interface IdleSessions {
  take(key: string | undefined): Idle | undefined;
  put(one: Idle): void;
  forget(): void;
  /** How often all were forgotten. */
  forgotten(): number;
}

interface Idle {
  readonly key: string;
  /** The statements that are in force. */
  readonly said: string;
  /** How often all had been forgotten when they were. */
  readonly since: number;
  readonly session: EngineSession;
}

function createIdleSessions(): IdleSessions {
  // In the order of their last use.
  let idle: Idle[] = [];
  let forgotten = 0;
  return {
    take(key) {
      const at = idle.findLastIndex((one) => one.key === key);
      return at < 0 ? undefined : idle.splice(at, 1)[0];
    },
    put(one) {
      if (one.since !== forgotten) {
        one.session.close();
        return;
      }
      idle.push(one);
      if (idle.length > MAX_IDLE) idle.shift()?.session.close();
    },
    forget() {
      forgotten++;
      for (const { session } of idle) session.close();
      idle = [];
    },
    forgotten: () => forgotten,
  };
}

/** A session in which one of these was set may refuse another value: the next query has a new one. */
const FORBIDDING = ['readonly', 'allow_ddl', 'allow_introspection_functions'] as const;

/** What a context says, without the values; undefined for what its session cannot say again. */
function keyOf({ database, role, settings, parameters }: QueryContext): string | undefined {
  if (role || FORBIDDING.some((name) => settings.has(name))) return undefined;
  return JSON.stringify([Boolean(database), [...settings.keys()].sort(), [...parameters.keys()].sort()]);
}

/** What SET and USE have made of a session. */
interface Own {
  readonly database: string;
  readonly settings: ReadonlyMap<string, string>;
}

class NamedSession {
  readonly user: string;
  readonly #id: string;
  readonly #session: EngineSession;
  readonly #ended: () => void;
  #isHeld = false;
  #timer: NodeJS.Timeout | undefined;
  #own: Own;
  /** What takes back the context of the query before. */
  #undo: readonly string[] = [];

  constructor(options: {
    id: string;
    user: string;
    session: EngineSession;
    /** The engine's own defaults would undo what the profile fixes. */
    profile: ReadonlyMap<string, string>;
    ended: () => void;
  }) {
    this.#id = options.id;
    this.user = options.user;
    this.#session = options.session;
    this.#own = { database: 'default', settings: options.profile };
    this.#ended = options.ended;
  }

  /** For one query. */
  hold(timeoutMs: number): QuerySession {
    if (this.#isHeld) {
      throw new QueryError(
        SESSION_IS_LOCKED,
        `Session ${this.#id} is locked by a concurrent client`,
        'SESSION_IS_LOCKED',
      );
    }
    this.#isHeld = true;
    clearTimeout(this.#timer);
    return {
      run: (query) => this.#run(query),
      close: () => {
        this.#isHeld = false;
        this.#timer = setTimeout(() => this.endIfIdle(), timeoutMs);
        this.#timer.unref();
      },
    };
  }

  /** Whether it has ended. */
  endIfIdle(): boolean {
    if (this.#isHeld) return false;
    clearTimeout(this.#timer);
    this.#session.close();
    this.#ended();
    return true;
  }

  async #run(query: EngineQuery): Promise<QueryResult> {
    const { format, sql, changesSession } = query;
    // A SET or USE needs nothing of the request, and its own changes are to stay.
    const context = changesSession
      ? { ...query.context, database: undefined, settings: new Map() }
      : query.context;
    const before = joined([...this.#undo, ...statementsOf(context)]);
    this.#undo = this.#undoOf(context, query.ownTables);
    try {
      const result = await this.#session.run(before + sql, format);
      if (changesSession) await this.#readOwn();
      return result;
    } catch (error) {
      // The table of that name is the client's, of an earlier query.
      if (asQueryError(error).code === TABLE_ALREADY_EXISTS) this.#undo = this.#undoOf(context, []);
      await this.#takeBack();
      throw error;
    }
  }

  #undoOf(context: QueryContext, ownTables: readonly string[]): string[] {
    const { database, settings } = this.#own;
    const assignments = [...context.settings.keys()].map((name) => {
      const value = settings.get(name);
      return `SET ${name} = ${value === undefined ? 'DEFAULT' : quote(value)}`;
    });
    return [
      ...(context.database ? [`USE ${quoteName(database)}`] : []),
      ...assignments,
      ...ownTables.map((name) => `DROP TEMPORARY TABLE IF EXISTS ${name}`),
    ];
  }

  /** After a failure, one by one: the context may be in force in part only, and name settings that there are not. */
  async #takeBack(): Promise<void> {
    const statements = this.#undo;
    this.#undo = [];
    for (const statement of statements) await this.#session.run(statement, 'Null').catch(() => undefined);
  }

  async #readOwn(): Promise<void> {
    const { output } = await this.#session.run(
      'SELECT currentDatabase(), groupArray((name, value)) FROM system.settings WHERE changed',
      'JSONCompactEachRow',
    );
    const [database, settings] = JSON.parse(Buffer.from(output).toString()) as [string, [string, string][]];
    this.#own = { database, settings: new Map(settings) };
  }
}
