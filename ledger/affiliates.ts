import type { LedgerSql } from './db.ts';
import type { Page, PageRequest } from './page.ts';

export const AFFILIATE_STATUSES = ['pending', 'active', 'suspended', 'terminated'] as const;
export type AffiliateStatus = (typeof AFFILIATE_STATUSES)[number];

export interface Affiliate {
  readonly id: number;
  readonly programId: number;
  readonly refCode: string;
  readonly name: string;
  readonly email: string;
  /** The affiliate's own customer id at the shop: an order by it is a self-referral. */
  readonly customerRef: string | null;
  readonly status: AffiliateStatus;
  /** Who recruited the affiliate: earns level 2 of its conversions. */
  readonly parentId: number | null;
  readonly approvedAt: Date | null;
  readonly createdAt: Date;
}

export interface NewAffiliate {
  readonly programId: number;
  readonly refCode: string;
  readonly name: string;
  readonly email: string;
  readonly customerRef?: string | null | undefined;
  readonly parentId?: number | null | undefined;
  /** Default `pending`. */
  readonly status?: AffiliateStatus | undefined;
}

export type AffiliateChanges = Partial<Omit<NewAffiliate, 'programId'>>;

/** @throws InputError, also for a parent of another program, a cycle, or a tree deeper than 20. */
export async function createAffiliate(_sql: LedgerSql, _affiliate: NewAffiliate): Promise<Affiliate> {
  throw new Error('not built yet');
}
export async function getAffiliate(_sql: LedgerSql, _id: number): Promise<Affiliate | undefined> {
  throw new Error('not built yet');
}
/** The affiliates with these ids, by id; unknown ids are left out. */
export async function getAffiliates(_sql: LedgerSql, _ids: readonly number[]): Promise<Affiliate[]> {
  throw new Error('not built yet');
}
/** Affiliates by id, of one program or of all. */
export async function listAffiliates(
  _sql: LedgerSql,
  _request: PageRequest<number> & { programId?: number | undefined; status?: AffiliateStatus | undefined },
): Promise<Page<Affiliate, number>> {
  throw new Error('not built yet');
}
/** @throws InputError. Returns undefined when there is no such affiliate. */
export async function updateAffiliate(
  _sql: LedgerSql,
  _options: { id: number; changes: AffiliateChanges },
): Promise<Affiliate | undefined> {
  throw new Error('not built yet');
}
