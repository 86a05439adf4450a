import { canonicalEmail } from '../conversions/emails.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import type { AffiliateStatus } from '../programs/affiliates.ts';

/** Another affiliate of the program that may be the same person. */
export interface SimilarAffiliate {
  readonly id: number;
  readonly name: string;
  readonly status: AffiliateStatus;
  /** By what: the same mailbox, or the same payout account. A reason to look, no proof. */
  readonly same: readonly ('mailbox' | 'payout_account')[];
}

/** Enough to see that somebody has many. */
const MOST_SHOWN = 20;

/** Affiliates of the program with the mailbox of an address, or with the payout account of an affiliate. */
export async function similarAffiliates(
  sql: DatabaseSql,
  options: { programId: number; email: string; affiliateId?: number | undefined },
): Promise<SimilarAffiliate[]> {
  const { programId, email, affiliateId = null } = options;
  const mailbox = canonicalEmail(email);
  // canonicalEmail knows what a mailbox is; the letters before a tag or a dot tell which addresses can have it.
  const [first = ''] = mailbox.split(/[@+.]/, 1);
  const rows = await sql<
    { id: number; name: string; email: string; status: AffiliateStatus; isPaidAlike: boolean }[]
  >`
    with own as (select account_hash from payout_methods where affiliate_id = ${affiliateId})
    select f.id, f.name, f.email, f.status,
      coalesce(m.account_hash in (select account_hash from own), false) as is_paid_alike
    from affiliates f left join payout_methods m on m.affiliate_id = f.id
    where f.program_id = ${programId} and f.id is distinct from ${affiliateId} and f.erased_at is null
      and (lower(left(f.email, 1)) = ${first.slice(0, 1)} or m.account_hash in (select account_hash from own))
    order by f.id`;
  return rows
    .map(({ email: theirs, isPaidAlike, ...rest }) => ({
      ...rest,
      same: [
        ...(canonicalEmail(theirs) === mailbox ? (['mailbox'] as const) : []),
        ...(isPaidAlike ? (['payout_account'] as const) : []),
      ],
    }))
    .filter(({ same }) => same.length > 0)
    .slice(0, MOST_SHOWN);
}
