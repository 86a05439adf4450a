import type { LedgerSql } from './db.ts';
import type { Page, PageRequest } from './page.ts';

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
  readonly createdAt: Date;
}

export interface NewCampaign {
  readonly programId: number;
  readonly name: string;
  readonly startsAt?: Date | null | undefined;
  readonly endsAt?: Date | null | undefined;
  readonly fallbackUrl?: string | null | undefined;
  readonly cookieDays?: number | undefined;
}

export type CampaignChanges = Partial<Omit<NewCampaign, 'programId'>> & { readonly status?: CampaignStatus };

/** @throws InputError. */
export async function createCampaign(_sql: LedgerSql, _campaign: NewCampaign): Promise<Campaign> {
  throw new Error('not built yet');
}
export async function getCampaign(_sql: LedgerSql, _id: number): Promise<Campaign | undefined> {
  throw new Error('not built yet');
}
/** Campaigns by id, of one program or of all. */
export async function listCampaigns(
  _sql: LedgerSql,
  _request: PageRequest<number> & { programId?: number | undefined },
): Promise<Page<Campaign, number>> {
  throw new Error('not built yet');
}
/** @throws InputError. Returns undefined when there is no such campaign. */
export async function updateCampaign(
  _sql: LedgerSql,
  _options: { id: number; changes: CampaignChanges },
): Promise<Campaign | undefined> {
  throw new Error('not built yet');
}
