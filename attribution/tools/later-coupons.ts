import type { Conversion } from '../../ledger/conversions/conversions.ts';
import type { DatabaseSql } from '../../ledger/postgres/db.ts';
import { findCoupons } from '../../ledger/programs/coupons.ts';
import { couponTime } from '../decide/choose-coupon.ts';
import { parseEvidence } from '../decide/evidence.ts';

/**
 * Codes of an unattributed order that were given to an affiliate, or became valid for its time, after it was decided: a
 * decision stays as it was made, and these say to whom the order could be credited by hand.
 */
export async function explainLaterCoupons(sql: DatabaseSql, conversion: Conversion): Promise<string[]> {
  const { id, programId, state, evidence } = conversion;
  if (state !== 'unattributed') return [];
  const unable = (parseEvidence(evidence)?.coupons ?? []).filter(
    ({ result }) => result === 'unknown_coupon' || result === 'coupon_not_valid',
  );
  const at = couponTime(conversion);
  const found = await findCoupons(
    sql,
    unable.map(({ code }) => ({ programId, code, at })),
  );
  return unable.flatMap(({ code }, i) => {
    const coupon = found[i];
    if (!coupon?.isValid || coupon.isTerminated) return [];
    const owner = `cpn_${coupon.id} of affiliate aff_${coupon.affiliateId}`;
    return [
      `Since the decision coupon code ${JSON.stringify(code)} is ${owner}, and valid for the time of the order. That changes no decision: credit the order by hand (POST /v1/conversions/cnv_${id}/attribute) if it is theirs.`,
    ];
  });
}
