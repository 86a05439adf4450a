import type { LedgerSql } from './db.ts';
import type { Page, PageRequest } from './page.ts';

export const LINK_STATUSES = ['active', 'paused'] as const;
export type LinkStatus = (typeof LINK_STATUSES)[number];

export interface Link {
  readonly id: number;
  readonly code: string;
  readonly programId: number;
  readonly campaignId: number;
  readonly affiliateId: number;
  readonly landingUrl: string;
  readonly status: LinkStatus;
  readonly expiresAt: Date | null;
  readonly createdAt: Date;
}

export interface NewLink {
  readonly campaignId: number;
  readonly affiliateId: number;
  readonly landingUrl: string;
  /** 1 to 64 of `A-Z a-z 0-9 _ -`, case-sensitive, unique on the platform; drawn at random when absent. */
  readonly code?: string | undefined;
  readonly expiresAt?: Date | null | undefined;
}

export type LinkChanges = {
  readonly landingUrl?: string | undefined;
  readonly status?: LinkStatus | undefined;
  readonly expiresAt?: Date | null | undefined;
};

/** @throws InputError naming landing_url, code, campaign_id or affiliate_id. */
export async function createLink(_sql: LedgerSql, _link: NewLink): Promise<Link> {
  throw new Error('not built yet');
}
export async function getLink(_sql: LedgerSql, _id: number): Promise<Link | undefined> {
  throw new Error('not built yet');
}
/** Links by id. */
export async function listLinks(
  _sql: LedgerSql,
  _request: PageRequest<number> & {
    programId?: number | undefined;
    campaignId?: number | undefined;
    affiliateId?: number | undefined;
  },
): Promise<Page<Link, number>> {
  throw new Error('not built yet');
}
/** @throws InputError. Returns undefined when there is no such link. */
export async function updateLink(
  _sql: LedgerSql,
  _options: { id: number; changes: LinkChanges },
): Promise<Link | undefined> {
  throw new Error('not built yet');
}
