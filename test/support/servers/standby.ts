import { appendFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openPostgres } from '../../../core/postgres/postgres.ts';
import { createLogger } from '../../../core/service/log.ts';
import { type Engine, freePort } from '../../../engines/engine.ts';
import { startPostgres } from '../../../engines/postgres.ts';
import { waitFor } from '../engines.ts';

/** Two real PostgreSQL servers, of which the second follows the first by streaming replication. */

export interface ServerPair {
  readonly primary: Engine;
  readonly standby: Engine;
  /** The database `afflux` on both hosts, as the superuser. */
  readonly url: string;
  /** Ends the primary as its machine's failure does: the server and each of its processes. */
  killPrimary(): Promise<void>;
  /** Makes the standby the primary. */
  promote(): Promise<void>;
  /** Waits until the standby has replayed all that the primary has written. */
  caughtUp(): Promise<void>;
  /** Cuts the standby off: what is committed from then on is on the primary alone. */
  cutOff(): Promise<void>;
  close(): Promise<void>;
}

const PASSWORD = 'p@ss';
const DEADLINE_MS = 30_000;
const NOT_COPIED = new Set(['postmaster.pid', 'postmaster.opts', 'pg_wal', 'pg_replslot']);

/** @param options.isSynchronous A commit is acknowledged once the standby has it on its disk. */
export async function startServerPair(options: { isSynchronous: boolean }): Promise<ServerPair> {
  const folder = mkdtempSync(join(tmpdir(), 'afflux-pair-'));
  const log = createLogger({ name: 'postgres', level: 'silent' });
  const [dataDir, standbyDir] = [join(folder, 'primary'), join(folder, 'standby')];
  const [port, standbyPort] = [await freePort(), await freePort()];
  // wal_keep_size: the copy misses nothing that is written until the standby follows.
  const common = { password: PASSWORD, database: 'afflux', log };
  const settings = { wal_keep_size: '512MB', shared_buffers: '32MB', max_wal_size: '256MB' };
  const primary = await startPostgres({ dataDir, port, ...common, settings });
  const source = `host=127.0.0.1 port=${port} user=postgres password=${PASSWORD} application_name=standby`;
  await copyServer(primary, { from: dataDir, to: standbyDir, source });
  const standby = await startPostgres({
    dataDir: standbyDir,
    port: standbyPort,
    ...common,
    settings: { ...settings, wal_retrieve_retry_interval: '100ms' },
  });
  const asStandby = `${standby.url}?target_session_attrs=any`;
  async function asOwner(url: string, ...statements: string[]): Promise<void> {
    const sql = openPostgres({ url, max: 1, name: 'pair', as: 'owner' });
    try {
      for (const statement of statements) await sql.unsafe(statement);
    } finally {
      await sql.end();
    }
  }
  if (options.isSynchronous) {
    await asOwner(
      primary.url,
      `alter system set synchronous_standby_names = 'standby'`,
      'select pg_reload_conf()',
    );
  }
  async function caughtUp(): Promise<void> {
    const sql = openPostgres({ url: primary.url, max: 1, name: 'pair', as: 'owner' });
    try {
      const following = async () =>
        (
          await sql`select from pg_stat_replication where replay_lsn >= pg_current_wal_lsn()
            and sync_state = ${options.isSynchronous ? 'sync' : 'async'}`
        ).length > 0;
      await waitFor(following, { deadlineMs: DEADLINE_MS, what: 'the standby to follow' });
    } finally {
      await sql.end();
    }
  }
  await caughtUp();
  return {
    primary,
    standby,
    url: `postgres://postgres:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port},127.0.0.1:${standbyPort}/afflux`,
    async killPrimary() {
      killServer(primary.pid);
      await primary.exited;
    },
    promote: () => asOwner(asStandby, 'select pg_promote(true, 30)'),
    caughtUp,
    async cutOff() {
      const sql = openPostgres({ url: asStandby, max: 1, name: 'pair', as: 'owner' });
      try {
        await sql.unsafe(`alter system set primary_conninfo = ''`);
        await sql`select pg_reload_conf()`;
        const isCut = async () => (await sql`select from pg_stat_wal_receiver`).length === 0;
        await waitFor(isCut, { deadlineMs: DEADLINE_MS, what: 'the standby to be cut off' });
      } finally {
        await sql.end();
      }
    },
    async close() {
      await Promise.all([primary.stop(), standby.stop()]);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** As when the machine fails. */
export function killServer(pid: number): void {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  for (const one of [pid, ...children.map(Number)]) process.kill(one, 'SIGKILL');
}

/** A base backup by PostgreSQL's low-level functions: the embedded package has no pg_basebackup. */
async function copyServer(
  primary: Engine,
  { from, to, source }: { from: string; to: string; source: string },
): Promise<void> {
  const sql = openPostgres({ url: primary.url, max: 1, name: 'backup', as: 'owner' });
  try {
    await sql`select pg_backup_start('standby', true)`;
    cpSync(from, to, {
      recursive: true,
      filter: (path) => !NOT_COPIED.has(path.slice(from.length + 1)),
    });
    const [stop] = await sql<{ labelfile: string }[]>`select labelfile from pg_backup_stop(false)`;
    if (!stop) throw new Error('the backup has a label');
    writeFileSync(join(to, 'backup_label'), stop.labelfile);
    cpSync(join(from, 'pg_wal'), join(to, 'pg_wal'), { recursive: true });
    mkdirSync(join(to, 'pg_replslot'));
    writeFileSync(join(to, 'standby.signal'), '');
    appendFileSync(join(to, 'postgresql.auto.conf'), `primary_conninfo = '${source}'\n`);
  } finally {
    await sql.end();
  }
}
