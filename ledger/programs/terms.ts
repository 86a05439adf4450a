import { InputError } from '../../core/errors.ts';
import { currencyExponent } from '../../core/money.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { answeringInput } from '../postgres/input-faults.ts';

export const COMMISSION_TYPES = ['percent', 'fixed', 'hybrid'] as const;
export type CommissionType = (typeof COMMISSION_TYPES)[number];
export const ATTRIBUTION_MODELS = ['last_click', 'first_click'] as const;
export type AttributionModel = (typeof ATTRIBUTION_MODELS)[number];
/** marginal: each part of an order at the rate of the tier it falls in; whole: the order at the rate reached before it. */
export const TIER_MODES = ['marginal', 'whole'] as const;
export type TierMode = (typeof TIER_MODES)[number];
/** When an affiliate may be paid: every day, once a week from Monday on, once a month from the first on (UTC). */
export const PAYOUT_SCHEDULES = ['daily', 'weekly', 'monthly'] as const;
export type PayoutSchedule = (typeof PAYOUT_SCHEDULES)[number];

/** From this volume of a calendar month (UTC) on, an affiliate's own rate is this one. */
export interface Tier {
  readonly fromMinor: bigint;
  readonly rateBps: number;
}

/** What an affiliate is promised, for one span of time. Terms never change; they end, and others follow. */
export interface Terms {
  readonly id: number;
  readonly programId: number;
  /** Null with `affiliateId` null: the whole program. See {@link termsInForce} for which scope wins. */
  readonly campaignId: number | null;
  readonly affiliateId: number | null;
  /** Null: from the beginning of time. */
  readonly validFrom: Date | null;
  /** Null: until others follow. */
  readonly validTo: Date | null;
  readonly currency: string;
  readonly commissionType: CommissionType;
  readonly rateBps: number;
  readonly fixedMinor: bigint;
  /** By rising `fromMinor`; below the first one `rateBps` counts. */
  readonly tiers: readonly Tier[];
  readonly tierMode: TierMode;
  /** Later orders of a customer are credited by the first one for so many months; 0: only the first. */
  readonly recurringMonths: number;
  /** Rates of level 2, 3, … in basis points; level 1 is the commission above. */
  readonly levelRatesBps: number[];
  /** Days between an order and its commission becoming available. */
  readonly holdDays: number;
  /** The attribution window: days between a click and an order. */
  readonly cookieDays: number;
  readonly attributionModel: AttributionModel;
  readonly payoutMinMinor: bigint;
  readonly payoutSchedule: PayoutSchedule;
  readonly rounding: 'half_even';
  readonly createdAt: Date;
}

/** New terms of a program, or of one campaign, one affiliate, or one affiliate within one campaign. */
export interface NewTerms {
  readonly programId: number;
  readonly campaignId?: number | null | undefined;
  readonly affiliateId?: number | null | undefined;
  /** When they begin, not in the past; default at once, and for a program's first terms the beginning of time. */
  readonly from?: Date | undefined;
  /** Default percent. */
  readonly commissionType?: CommissionType | undefined;
  /** Default 1,000 (10 %), and 0 for fixed. */
  readonly rateBps?: number | undefined;
  /** Default 0. */
  readonly fixedMinor?: bigint | undefined;
  /** Default none. */
  readonly tiers?: readonly Tier[] | undefined;
  /** Default marginal. */
  readonly tierMode?: TierMode | undefined;
  /** Default 0. */
  readonly recurringMonths?: number | undefined;
  /** Default [300, 100]. */
  readonly levelRatesBps?: readonly number[] | undefined;
  /** Default 30. */
  readonly holdDays?: number | undefined;
  /** Default 30. */
  readonly cookieDays?: number | undefined;
  /** Default last_click. */
  readonly attributionModel?: AttributionModel | undefined;
  /** Default 1,000 major units. */
  readonly payoutMinMinor?: bigint | undefined;
  /** Default daily. */
  readonly payoutSchedule?: PayoutSchedule | undefined;
}

const DEFAULT_RATE_BPS = 1_000;
const DEFAULT_LEVEL_RATES_BPS = [300, 100];
const DEFAULT_HOLD_DAYS = 30;
const DEFAULT_COOKIE_DAYS = 30;
const DEFAULT_PAYOUT_MIN_MAJOR = 1_000n;
/** How far the caller's clock may run behind the database's. */
const CLOCK_TOLERANCE_MS = 2_000;

const termsColumns = (sql: DatabaseSql) => sql`
  t.id, t.program_id, t.campaign_id, t.affiliate_id,
  lower(t.validity) as valid_from, upper(t.validity) as valid_to,
  t.currency, t.commission_type, t.rate_bps, t.fixed_minor, t.tier_from_minor, t.tier_rates_bps, t.tier_mode,
  t.recurring_months, t.level_rates_bps, t.hold_days, t.cookie_days, t.attribution_model, t.payout_min_minor,
  t.payout_schedule, t.rounding, t.created_at`;

/** As PostgreSQL keeps them: tiers are two columns. */
type StoredTerms = Omit<Terms, 'tiers'> & {
  readonly tierFromMinor: bigint[];
  readonly tierRatesBps: number[];
};

function fromStored({ tierFromMinor, tierRatesBps, ...terms }: StoredTerms): Terms {
  return {
    ...terms,
    tiers: tierFromMinor.map((fromMinor, i) => ({ fromMinor, rateBps: tierRatesBps[i] ?? 0 })),
  };
}

/** Ends the terms of the same scope in force at `from` and opens these. @throws InputError. */
export async function setTerms(sql: DatabaseSql, terms: NewTerms): Promise<Terms> {
  const { programId, campaignId = null, affiliateId = null, from = null } = terms;
  const { commissionType = 'percent', fixedMinor = 0n, attributionModel = 'last_click' } = terms;
  const { tiers = [], tierMode = 'marginal', recurringMonths = 0, payoutSchedule = 'daily' } = terms;
  const { holdDays = DEFAULT_HOLD_DAYS, cookieDays = DEFAULT_COOKIE_DAYS } = terms;
  if (from !== null && from.getTime() < Date.now() - CLOCK_TOLERANCE_MS) {
    throw new InputError('from', 'must not be in the past: what was earned keeps its terms');
  }
  const [program] = await sql<{ currency: string }[]>`select currency from programs where id = ${programId}`;
  if (!program) throw new InputError('program_id', 'there is no such program');
  const unit = 10n ** BigInt(currencyExponent(program.currency) ?? 2);
  const rateBps = terms.rateBps ?? (commissionType === 'fixed' ? 0 : DEFAULT_RATE_BPS);
  const levelRatesBps = [...(terms.levelRatesBps ?? DEFAULT_LEVEL_RATES_BPS)];
  const payoutMinMinor = terms.payoutMinMinor ?? DEFAULT_PAYOUT_MIN_MAJOR * unit;
  const scope = sql`
    program_id = ${programId} and campaign_id is not distinct from ${campaignId}::integer
    and affiliate_id is not distinct from ${affiliateId}::integer`;
  // One statement, so that it is atomic also without a transaction; reading from `ended` makes the end come first.
  const [opened] = await answeringInput(
    sql<[StoredTerms]>`
      with start as (
        select coalesce(${from}::timestamptz, case
          when ${campaignId}::integer is null and ${affiliateId}::integer is null
            and not exists (select from terms where ${scope}) then null
          else clock_timestamp()
        end) as at
      ), ended as (
        update terms set validity = tstzrange(lower(validity), start.at)
        from start
        where ${scope} and start.at is not null and validity @> start.at and upper(validity) is null
          and lower(validity) is distinct from start.at
        returning id
      ), t as (
        insert into terms (program_id, campaign_id, affiliate_id, currency, validity, commission_type, rate_bps,
          fixed_minor, tier_from_minor, tier_rates_bps, tier_mode, recurring_months, level_rates_bps, hold_days,
          cookie_days, attribution_model, payout_min_minor, payout_schedule)
        select ${programId}, ${campaignId}::integer, ${affiliateId}::integer, ${program.currency},
          tstzrange(start.at, null), ${commissionType}, ${rateBps}, ${fixedMinor},
          ${tiers.map(({ fromMinor }) => fromMinor)}::bigint[],
          ${tiers.map((tier) => tier.rateBps)}::integer[], ${tierMode}, ${recurringMonths},
          ${levelRatesBps}::integer[], ${holdDays}, ${cookieDays}, ${attributionModel}, ${payoutMinMinor},
          ${payoutSchedule}
        from start where (select count(*) from ended) >= 0
        returning *
      )
      select ${termsColumns(sql)} from t`,
  );
  return fromStored(opened);
}

/** Every version of the terms of a program, the newest first. */
export async function listTerms(sql: DatabaseSql, options: { programId: number }): Promise<Terms[]> {
  const rows = await sql<StoredTerms[]>`
    select ${termsColumns(sql)} from terms t where program_id = ${options.programId} order by id desc`;
  return rows.map(fromStored);
}

/** The terms with these ids, by id; unknown ids are left out. */
export async function getTerms(sql: DatabaseSql, ids: readonly number[]): Promise<Terms[]> {
  const rows = await sql<StoredTerms[]>`
    select ${termsColumns(sql)} from terms t where id = any(${[...ids]}::integer[]) order by id`;
  return rows.map(fromStored);
}

export interface TermsQuestion {
  readonly programId: number;
  readonly campaignId: number;
  readonly affiliateId: number;
  /** Usually the time of the click. */
  readonly at: Date;
}

/**
 * The terms in force, one answer per question in the same order, in one query.
 * The most specific scope wins: affiliate within campaign, affiliate, campaign, program.
 */
export async function termsInForce(
  sql: DatabaseSql,
  questions: readonly TermsQuestion[],
): Promise<(Terms | undefined)[]> {
  const asked = questions.map(({ programId, campaignId, affiliateId, at }, index) => ({
    index,
    program_id: programId,
    campaign_id: campaignId,
    affiliate_id: affiliateId,
    at: at.toISOString(),
  }));
  const rows = await sql<(StoredTerms & { index: number })[]>`
    select q.index, ${termsColumns(sql)}
    from jsonb_to_recordset(${sql.json(asked)}::jsonb)
      as q (index integer, program_id integer, campaign_id integer, affiliate_id integer, at timestamptz)
    cross join lateral (
      select * from terms
      where program_id = q.program_id and (campaign_id is null or campaign_id = q.campaign_id)
        and (affiliate_id is null or affiliate_id = q.affiliate_id) and validity @> q.at
      order by affiliate_id is null, campaign_id is null
      limit 1
    ) t`;
  const answers: (Terms | undefined)[] = questions.map(() => undefined);
  for (const { index, ...terms } of rows) answers[index] = fromStored(terms);
  return answers;
}
