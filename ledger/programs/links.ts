import { randomInt } from 'node:crypto';
import { InputError } from '../../core/errors.ts';
import { isAllowedHost, parseDestination } from '../../core/links/destination.ts';
import { parsePassedParameters } from '../../core/links/passed-parameters.ts';
import { parseRouting, type Routing, type WeightedDestination } from '../../core/links/routing.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { answeringInput, givenColumns } from '../postgres/input-faults.ts';
import {
  BY_AFFILIATE,
  type ListOrder,
  listClauses,
  type Page,
  type PageRequest,
  pageOf,
} from '../postgres/page.ts';
import { type Campaign, getCampaign, hostsOfCampaign } from './campaigns.ts';

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
  /** The parameters of its address that it passes on, `*` alone: all; null: those of its program. */
  readonly passParameters: readonly string[] | null;
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
  readonly passParameters?: readonly string[] | null | undefined;
  readonly expiresAt?: Date | null | undefined;
}

export type LinkChanges = {
  readonly landingUrl?: string | undefined;
  readonly routing?: Routing | null | undefined;
  readonly dailyClickCap?: number | null | undefined;
  readonly passParameters?: readonly string[] | null | undefined;
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
  'passParameters',
  'status',
  'expiresAt',
  'createdAt',
];

/** More hosts than these are no list that a person reads; those that are not allowed come first. */
const MAX_LINKED_HOSTS = 1_000;

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** 62⁹ codes: a million links collide with a new one once in 13 billion draws. */
const RANDOM_CODE_LENGTH = 9;

function randomCode(): string {
  return Array.from({ length: RANDOM_CODE_LENGTH }, () => BASE62[randomInt(BASE62.length)]).join('');
}

/** What a link leads to, in its stored form, with the hosts of each part of it. */
interface Targets {
  readonly landingUrl: string;
  readonly routing: Routing | null;
  readonly hosts: readonly string[];
}

/**
 * Checks the given targets against the hosts that a campaign allows.
 * @throws InputError naming landing_url or a place in routing.
 */
function readTargets(
  { landingUrl, routing }: Pick<NewLink, 'landingUrl' | 'routing'>,
  allowedHosts: readonly string[],
): Targets {
  const landing = parseDestination(landingUrl, { field: 'landing_url', allowedHosts });
  const hosts = new Set([landing.host]);
  const read = (destinations: readonly WeightedDestination[], place: string): WeightedDestination[] =>
    destinations.map(({ url, weight }, i) => {
      const destination = parseDestination(url, { field: `${place}.destinations.${i}.url`, allowedHosts });
      hosts.add(destination.host);
      return { url: destination.url, weight };
    });
  if (!routing) return { landingUrl: landing.url, routing: null, hosts: [...hosts] };
  const { rules, destinations } = parseRouting(routing, 'routing');
  const stored: Routing = {
    rules: rules.map((rule, i) => ({
      ...rule,
      destinations: read(rule.destinations, `routing.rules.${i}`),
    })),
    ...(destinations && { destinations: read(destinations, 'routing') }),
  };
  return { landingUrl: landing.url, routing: stored, hosts: [...hosts] };
}

/** @throws InputError naming landing_url, routing, daily_click_cap, pass_parameters, code, campaign_id or affiliate_id. */
export async function createLink(sql: DatabaseSql, link: NewLink): Promise<Link> {
  const { campaignId, affiliateId, code = randomCode(), expiresAt = null, dailyClickCap = null } = link;
  const passParameters = readPassed(link);
  const campaign = await getCampaign(sql, campaignId);
  if (!campaign) throw new InputError('campaign_id', 'there is no such campaign');
  const { landingUrl, routing, hosts } = readTargets(link, hostsOfCampaign(campaign));
  const [created] = await answeringInput(
    sql<[Link]>`
      insert into links
        (program_id, campaign_id, affiliate_id, landing_url, routing, hosts, daily_click_cap, pass_parameters, code,
        expires_at)
      values (${campaign.programId}, ${campaignId}, ${affiliateId}, ${landingUrl},
        ${routing && sql.json(routing)}::jsonb, ${hosts}::text[], ${dailyClickCap}::integer,
        ${passParameters ?? null}::text[], ${code},
        ${expiresAt}::timestamptz)
      returning ${sql(LINK_COLUMNS)}`,
  );
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

export const LINK_LIST: ListOrder = {
  id: (sql) => sql`id`,
  newestFirst: false,
  sorts: {
    created_at: 'id',
    code: { type: 'text', by: (sql) => sql`code` },
    landing_url: { type: 'text', by: (sql) => sql`landing_url` },
    status: { type: 'text', by: (sql) => sql`status` },
    affiliate: BY_AFFILIATE,
  },
  search: (sql, { pattern, id }) =>
    sql`code ilike ${pattern} or landing_url ilike ${pattern} or id = ${id}::integer`,
};

/** Links by id. */
export async function listLinks(
  sql: DatabaseSql,
  request: PageRequest<number> & {
    programId?: number | undefined;
    campaignId?: number | undefined;
    affiliateId?: number | undefined;
    /** One of the link's targets leads there. */
    host?: string | undefined;
    status?: LinkStatus | undefined;
    /** Half-open. */
    from?: Date | undefined;
    to?: Date | undefined;
  },
): Promise<Page<Link, number>> {
  const { programId = null, campaignId = null, affiliateId = null, host = null } = request;
  const { status = null, from = null, to = null } = request;
  const page = listClauses(sql, LINK_LIST, request);
  const rows = await sql<Link[]>`
    select ${sql(LINK_COLUMNS)}, ${page.key} from links
    where ${page.where}
      and (${programId}::integer is null or program_id = ${programId})
      and (${campaignId}::integer is null or campaign_id = ${campaignId})
      and (${affiliateId}::integer is null or affiliate_id = ${affiliateId})
      and (${host}::text is null or ${host} = any(hosts))
      and (${status}::text is null or status = ${status})
      and (${from}::timestamptz is null or created_at >= ${from})
      and (${to}::timestamptz is null or created_at < ${to})
    ${page.order}`;
  return pageOf(rows, request);
}

/**
 * Changes the given columns. Targets are checked when one of them is given: a link of before the campaign's hosts can be
 * paused without being mended. @throws InputError. Returns undefined when there is no such link.
 */
export async function updateLink(
  sql: DatabaseSql,
  options: { id: number; changes: LinkChanges },
): Promise<Link | undefined> {
  const { landingUrl, routing, dailyClickCap, status, expiresAt } = options.changes;
  const before = await getLink(sql, options.id);
  if (!before) return undefined;
  const isRedirected = landingUrl !== undefined || routing !== undefined;
  const targets = isRedirected ? await readChangedTargets(sql, before, options.changes) : {};
  const passParameters = readPassed(options.changes);
  const given = givenColumns({ ...targets, dailyClickCap, passParameters, status, expiresAt });
  if (Object.keys(given).length === 0) return before;
  const [link] = await answeringInput(
    sql<Link[]>`update links set ${sql.set(given)} where id = ${options.id} returning ${sql(LINK_COLUMNS)}`,
  );
  return link;
}

function readPassed({ passParameters: given }: Pick<NewLink, 'passParameters'>) {
  return given && parsePassedParameters(given, 'pass_parameters');
}

async function readChangedTargets(sql: DatabaseSql, link: Link, changes: LinkChanges) {
  const campaign = await getCampaign(sql, link.campaignId);
  const { landingUrl = link.landingUrl, routing = link.routing } = changes;
  const targets = readTargets({ landingUrl, routing }, campaign ? hostsOfCampaign(campaign) : []);
  return { ...targets, routing: targets.routing && sql.json(targets.routing) };
}

/** A host that links of a campaign lead to. */
export interface LinkedHost {
  /** `?`: of a URL that was saved before links had hosts, and that none could be read from. */
  readonly host: string;
  readonly links: number;
  readonly isAllowed: boolean;
}

/** The hosts that a campaign's links lead to, those that it does not allow first. */
export async function hostsOfLinks(sql: DatabaseSql, campaign: Campaign): Promise<LinkedHost[]> {
  const rows = await sql<{ host: string; links: number }[]>`
    select host, count(*)::integer as links from links, unnest(hosts) as host
    where campaign_id = ${campaign.id} group by host order by links desc, host`;
  const allowed = hostsOfCampaign(campaign);
  const hosts = rows.map((row) => ({ ...row, isAllowed: isAllowedHost(row.host, allowed) }));
  return hosts.toSorted((a, b) => Number(a.isAllowed) - Number(b.isAllowed)).slice(0, MAX_LINKED_HOSTS);
}
