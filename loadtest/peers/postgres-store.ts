import { openPostgres, type Postgres } from '../../core/postgres/postgres.ts';
import { type OpenPeer, type PeerFixture, VISIT_URL } from './peer.ts';

/** A database of a peer's own on the shared server; its URL has a superuser's rights. */
export async function createDatabase(fixture: PeerFixture, name: string): Promise<string> {
  const sql = openPostgres({ url: fixture.postgres.url, max: 1, name: 'bench', as: 'owner' });
  await sql`create database ${sql(name)}`.finally(() => sql.end());
  const url = new URL(fixture.postgres.url);
  url.pathname = `/${name}`;
  return url.href;
}

/** The store of a peer whose clicks are rows of `affiliate_clicks`. */
export function clicksInPostgres(
  fixture: PeerFixture,
  databaseUrl: string,
): Required<Omit<OpenPeer, 'start' | 'settled'>> & { sql: Postgres } {
  const sql = openPostgres({ url: databaseUrl, max: 1, name: 'bench', as: 'owner' });
  return {
    sql,
    stores: [fixture.postgres.pid],
    async count() {
      const [row] = await sql`select count(*)::int as clicks from affiliate_clicks`;
      return Number(row?.clicks);
    },
    async visits() {
      const rows =
        await sql`select substr(referrer, ${VISIT_URL.length + 1}::int)::int as visit from affiliate_clicks
        where referrer like ${`${VISIT_URL}%`}`;
      return rows.map((row) => Number(row.visit));
    },
    async bytes() {
      const [row] = await sql`select pg_total_relation_size('affiliate_clicks')::float8 as bytes`;
      return Number(row?.bytes);
    },
    logBytes: () => walBytes(sql),
    close: () => sql.end(),
  };
}

/** Of the whole server: only the peer that is measured writes. */
async function walBytes(sql: Postgres): Promise<number> {
  const [row] = await sql`select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 as bytes`;
  return Number(row?.bytes);
}
