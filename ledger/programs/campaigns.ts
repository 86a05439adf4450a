import { InputError } from '../../core/errors.ts';
import { MAX_ALLOWED_HOSTS, parseHostPattern } from '../../core/links/destination.ts';
import { hostOf, normalizeUrl, parseUrlTemplate } from '../../core/links/macros.ts';
import type { SqlParameter } from '../../core/postgres/sql.ts';
import { MAX_NAME_LENGTH } from '../../core/text-limits.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { answeringInput, checkText, givenColumns } from '../postgres/input-faults.ts';
import { type ListOrder, listClauses, type Page, type PageRequest, pageOf } from '../postgres/page.ts';

export const CAMPAIGN_STATUSES = ['active', 'paused', 'ended'] as const;
export type CampaignStatus = (typeof CAMPAIGN_STATUSES)[number];

export interface Campaign {
  readonly id: number;
  readonly programId: number;
  readonly name: string;
  readonly status: CampaignStatus;
  readonly startsAt: Date | null;
  readonly endsAt: Date | null;
  /** The page that is advertised: its host is allowed to links without being listed. */
  readonly landingUrl: string | null;
  /** Further hosts to which links may lead, as core/links/destination.ts describes patterns. */
  readonly allowedHosts: readonly string[];
  /** Chosen by operators like the two above, and so not limited by them. */
  readonly fallbackUrl: string | null;
  /** Life of the click cookie in days; the attribution window itself stands in the terms. */
  readonly cookieDays: number;
  /** Valid clicks of a UTC day after which its links lead to the fallback; null: none. */
  readonly dailyClickCap: number | null;
  readonly createdAt: Date;
}

export interface NewCampaign {
  readonly programId: number;
  readonly name: string;
  readonly startsAt?: Date | null | undefined;
  readonly endsAt?: Date | null | undefined;
  readonly landingUrl?: string | null | undefined;
  readonly allowedHosts?: readonly string[] | undefined;
  readonly fallbackUrl?: string | null | undefined;
  /** 1 to 365, default 30. */
  readonly cookieDays?: number | undefined;
  /** 1 to 1,000,000,000. */
  readonly dailyClickCap?: number | null | undefined;
}

export type CampaignChanges = Partial<Omit<NewCampaign, 'programId'>> & { readonly status?: CampaignStatus };

const CAMPAIGN_COLUMNS = [
  'id',
  'programId',
  'name',
  'status',
  'startsAt',
  'endsAt',
  'landingUrl',
  'allowedHosts',
  'fallbackUrl',
  'cookieDays',
  'dailyClickCap',
  'createdAt',
];

/** The given columns as they are stored. @throws InputError. */
function campaignColumns(campaign: Partial<NewCampaign> & CampaignChanges): Record<string, SqlParameter> {
  const { programId, name, status, startsAt, endsAt, landingUrl, allowedHosts, fallbackUrl } = campaign;
  if (name !== undefined) checkText(name, 'name', MAX_NAME_LENGTH);
  if (allowedHosts && allowedHosts.length > MAX_ALLOWED_HOSTS) {
    throw new InputError('allowed_hosts', `must not have more than ${MAX_ALLOWED_HOSTS} hosts`);
  }
  return givenColumns({
    programId,
    name,
    status,
    startsAt,
    endsAt,
    landingUrl: landingUrl && normalizeUrl(landingUrl, 'landing_url'),
    allowedHosts: allowedHosts?.map((host, i) => parseHostPattern(host, `allowed_hosts.${i}`)),
    fallbackUrl: fallbackUrl && normalizeUrl(fallbackUrl, 'fallback_url'),
    cookieDays: campaign.cookieDays,
    dailyClickCap: campaign.dailyClickCap,
  });
}

/** The patterns of all hosts to which links of a campaign may lead. */
export function hostsOfCampaign({
  landingUrl,
  allowedHosts,
}: Pick<Campaign, 'landingUrl' | 'allowedHosts'>): readonly string[] {
  return landingUrl === null
    ? allowedHosts
    : [hostOf(parseUrlTemplate(landingUrl, 'landing_url')), ...allowedHosts];
}

/** @throws InputError. */
export async function createCampaign(sql: DatabaseSql, campaign: NewCampaign): Promise<Campaign> {
  const row = campaignColumns(campaign);
  const [created] = await answeringInput(
    sql<[Campaign]>`insert into campaigns ${sql.values(row)} returning ${sql(CAMPAIGN_COLUMNS)}`,
  );
  return created;
}

export async function getCampaign(sql: DatabaseSql, id: number): Promise<Campaign | undefined> {
  const [campaign] = await sql<Campaign[]>`select ${sql(CAMPAIGN_COLUMNS)} from campaigns where id = ${id}`;
  return campaign;
}

/** The oldest campaign of a program with this name. */
export async function findCampaign(
  sql: DatabaseSql,
  { programId, name }: Pick<Campaign, 'programId' | 'name'>,
): Promise<Campaign | undefined> {
  const [campaign] = await sql<Campaign[]>`
    select ${sql(CAMPAIGN_COLUMNS)} from campaigns
    where program_id = ${programId} and name = ${name} order by id limit 1`;
  return campaign;
}

export const CAMPAIGN_LIST: ListOrder = {
  id: (sql) => sql`id`,
  newestFirst: false,
  sorts: {
    created_at: 'id',
    name: { type: 'text', by: (sql) => sql`lower(name)` },
    status: { type: 'text', by: (sql) => sql`status` },
  },
  search: (sql, { pattern, id }) =>
    sql`name ilike ${pattern} or landing_url ilike ${pattern} or id = ${id}::integer`,
};

/** Campaigns by id, of one program or of all. */
export async function listCampaigns(
  sql: DatabaseSql,
  request: PageRequest<number> & {
    programId?: number | undefined;
    status?: CampaignStatus | undefined;
    /** Half-open. */
    from?: Date | undefined;
    to?: Date | undefined;
  },
): Promise<Page<Campaign, number>> {
  const { programId = null, status = null, from = null, to = null } = request;
  const page = listClauses(sql, CAMPAIGN_LIST, request);
  const rows = await sql<Campaign[]>`
    select ${sql(CAMPAIGN_COLUMNS)}, ${page.key} from campaigns
    where ${page.where} and (${programId}::integer is null or program_id = ${programId})
      and (${status}::text is null or status = ${status})
      and (${from}::timestamptz is null or created_at >= ${from})
      and (${to}::timestamptz is null or created_at < ${to})
    ${page.order}`;
  return pageOf(rows, request);
}

/** Changes the given columns. @throws InputError. Returns undefined when there is no such campaign. */
export async function updateCampaign(
  sql: DatabaseSql,
  options: { id: number; changes: CampaignChanges },
): Promise<Campaign | undefined> {
  const given = campaignColumns(options.changes);
  if (Object.keys(given).length === 0) return await getCampaign(sql, options.id);
  const [campaign] = await answeringInput(
    sql<Campaign[]>`
      update campaigns set ${sql.set(given)} where id = ${options.id} returning ${sql(CAMPAIGN_COLUMNS)}`,
  );
  return campaign;
}
