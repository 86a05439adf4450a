import { parseUrlTemplate } from '../../core/links/macros.ts';
import { MAX_NAME_LENGTH } from '../../core/text-limits.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { answeringInput, checkText, givenColumns } from '../postgres/input-faults.ts';
import { type Page, type PageRequest, pageOf, rowsToRead } from '../postgres/page.ts';

export const CAMPAIGN_STATUSES = ['active', 'paused', 'ended'] as const;
export type CampaignStatus = (typeof CAMPAIGN_STATUSES)[number];

export interface Campaign {
  readonly id: number;
  readonly programId: number;
  readonly name: string;
  readonly status: CampaignStatus;
  readonly startsAt: Date | null;
  readonly endsAt: Date | null;
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
  'fallbackUrl',
  'cookieDays',
  'dailyClickCap',
  'createdAt',
];

function checkCampaign(campaign: CampaignChanges): void {
  if (campaign.name !== undefined) checkText(campaign.name, 'name', MAX_NAME_LENGTH);
  if (campaign.fallbackUrl) parseUrlTemplate(campaign.fallbackUrl, 'fallback_url');
}

/** @throws InputError. */
export async function createCampaign(sql: DatabaseSql, campaign: NewCampaign): Promise<Campaign> {
  checkCampaign(campaign);
  const { programId, name, startsAt, endsAt, fallbackUrl, cookieDays, dailyClickCap } = campaign;
  const row = givenColumns({ programId, name, startsAt, endsAt, fallbackUrl, cookieDays, dailyClickCap });
  const [created] = await answeringInput(
    sql<[Campaign]>`insert into campaigns ${sql.values(row)} returning ${sql(CAMPAIGN_COLUMNS)}`,
  );
  return created;
}

export async function getCampaign(sql: DatabaseSql, id: number): Promise<Campaign | undefined> {
  const [campaign] = await sql<Campaign[]>`select ${sql(CAMPAIGN_COLUMNS)} from campaigns where id = ${id}`;
  return campaign;
}

/** Campaigns by id, of one program or of all. */
export async function listCampaigns(
  sql: DatabaseSql,
  request: PageRequest<number> & { programId?: number | undefined },
): Promise<Page<Campaign, number>> {
  const { programId = null } = request;
  const rows = await sql<Campaign[]>`
    select ${sql(CAMPAIGN_COLUMNS)} from campaigns
    where id > ${request.after ?? 0} and (${programId}::integer is null or program_id = ${programId})
    order by id limit ${rowsToRead(request)}`;
  return pageOf(rows, request);
}

/** Changes the given columns. @throws InputError. Returns undefined when there is no such campaign. */
export async function updateCampaign(
  sql: DatabaseSql,
  options: { id: number; changes: CampaignChanges },
): Promise<Campaign | undefined> {
  checkCampaign(options.changes);
  const { name, status, startsAt, endsAt, fallbackUrl, cookieDays, dailyClickCap } = options.changes;
  const given = givenColumns({ name, status, startsAt, endsAt, fallbackUrl, cookieDays, dailyClickCap });
  if (Object.keys(given).length === 0) return await getCampaign(sql, options.id);
  const [campaign] = await answeringInput(
    sql<Campaign[]>`
      update campaigns set ${sql.set(given)} where id = ${options.id} returning ${sql(CAMPAIGN_COLUMNS)}`,
  );
  return campaign;
}
