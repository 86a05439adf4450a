import { randomInt } from 'node:crypto';
import { InputError } from '../../core/errors.ts';
import { parseUrlTemplate } from '../../core/links/macros.ts';
import { parseRouting, type Routing } from '../../core/links/routing.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { answeringInput, givenColumns } from '../postgres/input-faults.ts';
import { type Page, type PageRequest, pageOf, rowsToRead } from '../postgres/page.ts';

export const LINK_STATUSES = ['active', 'paused'] as const;
export type LinkStatus = (typeof LINK_STATUSES)[number];

export interface Link {
  readonly id: number;
  readonly code: string;
  readonly programId: number;
  readonly campaignId: number;
  readonly affiliateId: number;
  readonly landingUrl: string;
  /** Rules and weighted destinations; null: every click goes to the landing URL. */
  readonly routing: Routing | null;
  /** Valid clicks of a UTC day after which the link leads to its fallback; null: none. */
  readonly dailyClickCap: number | null;
  readonly status: LinkStatus;
  readonly expiresAt: Date | null;
  readonly createdAt: Date;
}

export interface NewLink {
  readonly campaignId: number;
  readonly affiliateId: number;
  /** http or https, macros as in core/macros. */
  readonly landingUrl: string;
  /** 1 to 64 of `A-Z a-z 0-9 _ -`, case-sensitive, unique on the platform; drawn at random when absent. */
  readonly code?: string | undefined;
  readonly routing?: Routing | null | undefined;
  /** 1 to 1,000,000,000. */
  readonly dailyClickCap?: number | null | undefined;
  readonly expiresAt?: Date | null | undefined;
}

export type LinkChanges = {
  readonly landingUrl?: string | undefined;
  readonly routing?: Routing | null | undefined;
  readonly dailyClickCap?: number | null | undefined;
  readonly status?: LinkStatus | undefined;
  readonly expiresAt?: Date | null | undefined;
};

const LINK_COLUMNS = [
  'id',
  'code',
  'programId',
  'campaignId',
  'affiliateId',
  'landingUrl',
  'routing',
  'dailyClickCap',
  'status',
  'expiresAt',
  'createdAt',
];

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** 62⁹ codes: a million links collide with a new one once in 13 billion draws. */
const RANDOM_CODE_LENGTH = 9;

function randomCode(): string {
  return Array.from({ length: RANDOM_CODE_LENGTH }, () => BASE62[randomInt(BASE62.length)]).join('');
}

function checkLink(link: LinkChanges): void {
  if (link.landingUrl !== undefined) parseUrlTemplate(link.landingUrl, 'landing_url');
  if (link.routing) parseRouting(link.routing, 'routing');
}

function routingColumn(sql: DatabaseSql, routing: Routing | null | undefined) {
  return routing ? sql.json(routing) : routing;
}

/** @throws InputError naming landing_url, routing, daily_click_cap, code, campaign_id or affiliate_id. */
export async function createLink(sql: DatabaseSql, link: NewLink): Promise<Link> {
  checkLink(link);
  const { campaignId, affiliateId, landingUrl, code = randomCode(), expiresAt = null } = link;
  const { routing = null, dailyClickCap = null } = link;
  const [created] = await answeringInput(
    sql<Link[]>`
      insert into links
        (program_id, campaign_id, affiliate_id, landing_url, routing, daily_click_cap, code, expires_at)
      select program_id, id, ${affiliateId}, ${landingUrl}, ${routingColumn(sql, routing) ?? null}::jsonb,
        ${dailyClickCap}::integer, ${code}, ${expiresAt}::timestamptz
      from campaigns where id = ${campaignId}
      returning ${sql(LINK_COLUMNS)}`,
  );
  if (!created) throw new InputError('campaign_id', 'there is no such campaign');
  return created;
}

export async function getLink(sql: DatabaseSql, id: number): Promise<Link | undefined> {
  const [link] = await sql<Link[]>`select ${sql(LINK_COLUMNS)} from links where id = ${id}`;
  return link;
}

/** The link of a program with this code. */
export async function findLink(
  sql: DatabaseSql,
  options: { programId: number; code: string },
): Promise<Link | undefined> {
  const [link] = await sql<Link[]>`
    select ${sql(LINK_COLUMNS)} from links where program_id = ${options.programId} and code = ${options.code}`;
  return link;
}

/** Links by id. */
export async function listLinks(
  sql: DatabaseSql,
  request: PageRequest<number> & {
    programId?: number | undefined;
    campaignId?: number | undefined;
    affiliateId?: number | undefined;
  },
): Promise<Page<Link, number>> {
  const { programId = null, campaignId = null, affiliateId = null } = request;
  const rows = await sql<Link[]>`
    select ${sql(LINK_COLUMNS)} from links
    where id > ${request.after ?? 0}
      and (${programId}::integer is null or program_id = ${programId})
      and (${campaignId}::integer is null or campaign_id = ${campaignId})
      and (${affiliateId}::integer is null or affiliate_id = ${affiliateId})
    order by id limit ${rowsToRead(request)}`;
  return pageOf(rows, request);
}

/** Changes the given columns. @throws InputError. Returns undefined when there is no such link. */
export async function updateLink(
  sql: DatabaseSql,
  options: { id: number; changes: LinkChanges },
): Promise<Link | undefined> {
  checkLink(options.changes);
  const { landingUrl, routing, dailyClickCap, status, expiresAt } = options.changes;
  const given = givenColumns({
    landingUrl,
    routing: routingColumn(sql, routing),
    dailyClickCap,
    status,
    expiresAt,
  });
  if (Object.keys(given).length === 0) return await getLink(sql, options.id);
  const [link] = await answeringInput(
    sql<Link[]>`update links set ${sql.set(given)} where id = ${options.id} returning ${sql(LINK_COLUMNS)}`,
  );
  return link;
}
