import type { BlockRow } from '../../core/blocks/block.ts';
import type { Postgres, PostgresTransaction } from '../../core/postgres/postgres.ts';
import type { Logger } from '../../core/service/log.ts';
import type { ClockReading } from '../../core/time.ts';
import type { AffiliateRow, CampaignRow, LinkSet, ProgramRow } from './link-set.ts';
import type { StoredLink } from './link-table.ts';

/** Rows fetched at a time: handling them must not delay a click that comes meanwhile. */
const FETCH_ROWS = 2_000;
/** Progress is logged once for so many links. */
const PROGRESS_LINKS = 100_000;

/** Up to where changes were read. */
interface LinkPosition {
  readonly since: string;
  /**
   * When the server was started. `since` is a number of that server: one that goes on from an older state, as a standby can,
   * gives the same numbers again.
   */
  readonly server: string;
}

/** What one poll has found, and up to where. */
interface LinkChanges extends LinkPosition {
  readonly rows: number;
  readonly clock: ClockReading;
}

/** {@link readLinkChanges} from here reads everything. */
export const FROM_THE_BEGINNING = '0';

/**
 * Applies every row written by a transaction that had not finished at `since`. Returns the next `since`, which is the
 * oldest transaction still running now, the number of rows, and PostgreSQL's clock. Nothing that is committed in between
 * is missed.
 */
export async function readLinkChanges(options: {
  sql: Postgres;
  set: LinkSet;
  since: string;
  log: Logger;
}): Promise<LinkChanges> {
  const { sql, set, since, log } = options;
  return await sql.begin('isolation level repeatable read read only', async (tx) => {
    const askedAtMs = Date.now();
    const [snapshot] = await tx<[{ xmin: string; server: string; nowMs: number }]>`
      select pg_snapshot_xmin(pg_current_snapshot())::text as xmin, pg_postmaster_start_time()::text as server,
        (extract(epoch from clock_timestamp()) * 1000)::float8 as now_ms`;
    const clock = { askedAtMs, answeredAtMs: Date.now(), serverMs: snapshot.nowMs };
    const parties = await readParties(tx, set, since);
    const links = await readLinks({ tx, set, since, log });
    const blocks = await readBlocks(tx, set, since);
    return { since: snapshot.xmin, server: snapshot.server, rows: parties + links + blocks, clock };
  });
}

async function readParties(tx: PostgresTransaction, set: LinkSet, since: string): Promise<number> {
  const programs = await tx<ProgramRow[]>`
    select id, status, fallback_url, tracking_domain, pass_parameters, anonymise_ip, cookies, honour_opt_out
    from programs where change_xid >= ${since}::xid8`;
  for (const row of programs) set.putProgram(row);
  const campaigns = await tx<CampaignRow[]>`
    select id, program_id, status, (extract(epoch from starts_at) * 1000)::float8 as starts_at_ms,
      (extract(epoch from ends_at) * 1000)::float8 as ends_at_ms, fallback_url, cookie_days, daily_click_cap
    from campaigns where change_xid >= ${since}::xid8`;
  for (const row of campaigns) set.putCampaign(row);
  const affiliates = await tx<AffiliateRow[]>`
    select id, status from affiliates where change_xid >= ${since}::xid8`;
  for (const row of affiliates) set.putAffiliate(row);
  return programs.length + campaigns.length + affiliates.length;
}

async function readLinks(options: {
  tx: PostgresTransaction;
  set: LinkSet;
  since: string;
  log: Logger;
}): Promise<number> {
  const { tx, set, since, log } = options;
  const batches = tx<StoredLink[]>`
    select code, program_id, campaign_id, affiliate_id, id as link_id, landing_url,
      coalesce(routing::text, '') as routing, coalesce(to_jsonb(pass_parameters)::text, '') as pass_parameters,
      status = 'active' as is_active,
      coalesce(extract(epoch from expires_at) * 1000, 'Infinity')::float8 as expires_at_ms,
      coalesce(daily_click_cap, 0) as daily_click_cap
    from links where change_xid >= ${since}::xid8`.cursor(FETCH_ROWS);
  let links = 0;
  for await (const rows of batches) {
    for (const row of rows) set.putLink(row);
    const before = links;
    links += rows.length;
    if (Math.floor(links / PROGRESS_LINKS) > Math.floor(before / PROGRESS_LINKS)) {
      log.info({ links }, 'loading links');
    }
  }
  return links;
}

/** Whether it has ended is for PostgreSQL's clock to say: this machine's may be behind. */
interface FoundBlock extends BlockRow {
  readonly hasEnded: boolean;
}

/** Those that have ended are wanted as well, since it is how the end of one that is in memory is known. */
async function readBlocks(tx: PostgresTransaction, set: LinkSet, since: string): Promise<number> {
  const batches = tx<FoundBlock[]>`
    select id, program_id, kind, value, affiliate_id, sub, action,
      (extract(epoch from ends_at) * 1000)::float8 as ends_at_ms,
      coalesce(ends_at <= clock_timestamp(), false) as has_ended
    from blocks where change_xid >= ${since}::xid8
      and (${since} <> ${FROM_THE_BEGINNING} or ends_at is null or ends_at > now())`.cursor(FETCH_ROWS);
  let blocks = 0;
  for await (const rows of batches) {
    for (const { hasEnded, ...row } of rows) {
      if (hasEnded) set.blocks.remove(row.id);
      else set.blocks.put(row);
    }
    blocks += rows.length;
  }
  set.blocks.removeEnded(Date.now());
  return blocks;
}
