import { encodeOwner } from '../core/click-record.ts';
import { errorText, InputError } from '../core/errors.ts';
import type { Logger } from '../core/log.ts';
import { startLoop } from '../core/loop.ts';
import { parseUrlTemplate } from '../core/macros.ts';
import type { Postgres, PostgresTransaction } from '../core/postgres.ts';
import { compileRedirectUrl, type RedirectUrl } from './redirect-url.ts';

/** All links in memory, and everything that decides where a click goes. Objects are updated in place. */

export interface Program {
  status: string;
  fallback: RedirectUrl | undefined;
  trackingDomain: string | undefined;
}

export interface Campaign {
  program: Program;
  status: string;
  startsAtMs: number;
  endsAtMs: number;
  fallback: RedirectUrl | undefined;
  cookieDays: number;
}

export interface Affiliate {
  status: string;
}

export interface Link {
  readonly programId: number;
  readonly campaignId: number;
  readonly affiliateId: number;
  readonly linkId: number;
  /** The four ids as a row's bytes. */
  readonly owner: Buffer;
  campaign: Campaign;
  affiliate: Affiliate;
  /** Undefined when the stored URL does not parse: such a link goes to the fallback. */
  landing: RedirectUrl | undefined;
  status: string;
  expiresAtMs: number;
}

export interface LinkStore {
  /** The link of a code; codes are case-sensitive. */
  find(code: string): Link | undefined;
  /** The program that owns a tracking domain, for codes nobody knows. */
  programOfDomain(host: string): Program | undefined;
  readonly size: number;
  /** Unix ms of the last look at PostgreSQL, 0 before the first. */
  readonly freshAtMs: number;
  stop(): Promise<void>;
}

/** A change is visible within this and the time of one query. */
const POLL_MS = 500;
const RETRY_MS = 1_000;
/** Rows fetched at a time, so that a load of a million links never stands in memory twice. */
const FETCH_ROWS = 10_000;

interface State {
  programs: Map<number, Program>;
  domains: Map<string, Program>;
  campaigns: Map<number, Campaign>;
  affiliates: Map<number, Affiliate>;
  links: Map<string, Link>;
  log: Logger;
}

/** Starts loading at once and follows changes until stopped; PostgreSQL being away only makes the data older. */
export function followLinks(options: { sql: Postgres; log: Logger }): LinkStore {
  const { sql, log } = options;
  const state: State = {
    programs: new Map(),
    domains: new Map(),
    campaigns: new Map(),
    affiliates: new Map(),
    links: new Map(),
    log,
  };
  let freshAtMs = 0;
  let since = '0';
  const loop = startLoop(async () => {
    try {
      const askedAtMs = Date.now();
      since = await readChanges(sql, state, since);
      if (freshAtMs === 0) log.info({ links: state.links.size }, 'links loaded');
      freshAtMs = askedAtMs;
      return POLL_MS;
    } catch (error) {
      log.warn({ reason: errorText(error) }, 'links could not be read');
      return RETRY_MS;
    }
  });

  return {
    find: (code) => state.links.get(code),
    programOfDomain: (host) => state.domains.get(host),
    get size() {
      return state.links.size;
    },
    get freshAtMs() {
      return freshAtMs;
    },
    stop: loop.stop,
  };
}

/**
 * Applies every row written by a transaction that was not finished when `since` was taken, and returns the mark for
 * the next time: the oldest transaction still running now. Nothing committed in between can be missed.
 */
async function readChanges(sql: Postgres, state: State, since: string): Promise<string> {
  return await sql.begin('isolation level repeatable read read only', async (tx) => {
    const [snapshot] = await tx<{ xmin: string }[]>`
      select pg_snapshot_xmin(pg_current_snapshot())::text as xmin`;
    await applyPrograms(tx, state, since);
    await applyCampaigns(tx, state, since);
    await applyAffiliates(tx, state, since);
    await applyLinks(tx, state, since);
    return snapshot?.xmin ?? since;
  });
}

async function applyPrograms(tx: PostgresTransaction, state: State, since: string): Promise<void> {
  const rows = await tx<
    { id: number; status: string; fallbackUrl: string | null; trackingDomain: string | null }[]
  >`select id, status, fallback_url, tracking_domain from programs where change_xid >= ${since}::xid8`;
  for (const row of rows) {
    const fields: Program = {
      status: row.status,
      fallback: parseFallback(row.fallbackUrl, `program ${row.id}`, state.log),
      trackingDomain: row.trackingDomain?.toLowerCase(),
    };
    const known = state.programs.get(row.id);
    if (known?.trackingDomain !== undefined) state.domains.delete(known.trackingDomain);
    const program = put(state.programs, row.id, fields);
    if (program.trackingDomain !== undefined) state.domains.set(program.trackingDomain, program);
  }
}

async function applyCampaigns(tx: PostgresTransaction, state: State, since: string): Promise<void> {
  const rows = await tx<
    {
      id: number;
      programId: number;
      status: string;
      startsAt: Date | null;
      endsAt: Date | null;
      fallbackUrl: string | null;
      cookieDays: number;
    }[]
  >`select id, program_id, status, starts_at, ends_at, fallback_url, cookie_days
    from campaigns where change_xid >= ${since}::xid8`;
  for (const row of rows) {
    put<Campaign>(state.campaigns, row.id, {
      program: known(state.programs, row.programId, 'program'),
      status: row.status,
      startsAtMs: row.startsAt?.getTime() ?? 0,
      endsAtMs: row.endsAt?.getTime() ?? Number.POSITIVE_INFINITY,
      fallback: parseFallback(row.fallbackUrl, `campaign ${row.id}`, state.log),
      cookieDays: row.cookieDays,
    });
  }
}

async function applyAffiliates(tx: PostgresTransaction, state: State, since: string): Promise<void> {
  const rows = await tx<{ id: number; status: string }[]>`
    select id, status from affiliates where change_xid >= ${since}::xid8`;
  for (const row of rows) put<Affiliate>(state.affiliates, row.id, { status: row.status });
}

interface LinkRow {
  id: number;
  code: string;
  programId: number;
  campaignId: number;
  affiliateId: number;
  landingUrl: string;
  status: string;
  expiresAt: Date | null;
}

async function applyLinks(tx: PostgresTransaction, state: State, since: string): Promise<void> {
  const batches = tx<LinkRow[]>`
    select id, code, program_id, campaign_id, affiliate_id, landing_url, status, expires_at
    from links where change_xid >= ${since}::xid8`.cursor(FETCH_ROWS);
  for await (const rows of batches) for (const row of rows) applyLink(state, row);
}

function applyLink(state: State, row: LinkRow): void {
  put<Link>(state.links, row.code, {
    programId: row.programId,
    campaignId: row.campaignId,
    affiliateId: row.affiliateId,
    linkId: row.id,
    owner: encodeOwner({
      program_id: row.programId,
      campaign_id: row.campaignId,
      affiliate_id: row.affiliateId,
      link_id: row.id,
    }),
    campaign: known(state.campaigns, row.campaignId, 'campaign'),
    affiliate: known(state.affiliates, row.affiliateId, 'affiliate'),
    landing: parseUrl(row.landingUrl, `link ${row.id}`, true, state.log),
    status: row.status,
    expiresAtMs: row.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY,
  });
}

/** Updates the object that others point to, or puts a new one. */
function put<T extends object>(map: Map<number, T> | Map<string, T>, key: number | string, fields: T): T {
  const target = map as Map<number | string, T>;
  const existing = target.get(key);
  if (existing) return Object.assign(existing, fields);
  target.set(key, fields);
  return fields;
}

function known<T>(map: Map<number, T>, id: number, kind: string): T {
  const found = map.get(id);
  if (!found) throw new Error(`${kind} ${id} is missing although a foreign key requires it`);
  return found;
}

function parseFallback(url: string | null, owner: string, log: Logger): RedirectUrl | undefined {
  return url === null ? undefined : parseUrl(url, owner, false, log);
}

function parseUrl(url: string, owner: string, appendClickId: boolean, log: Logger): RedirectUrl | undefined {
  try {
    return compileRedirectUrl(parseUrlTemplate(url, 'url'), { appendClickId });
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    log.error({ owner, reason: error.message }, 'a stored URL cannot be used');
    return undefined;
  }
}
