import { assert, InputError, OperatingError } from '../../core/errors.ts';
import { addMonths } from '../../core/time.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import { answeringInput } from '../postgres/input-faults.ts';
import {
  affiliateName,
  BY_AFFILIATE,
  type ListOrder,
  listClauses,
  type Page,
  type PageRequest,
  pageOf,
} from '../postgres/page.ts';
import { checkEventOf, DEFAULT_EVENT } from './events.ts';
import {
  type CustomerRates,
  checkSpecialRates,
  customerRatesFromStored,
  type ItemRate,
  type StoredCustomerRates,
  storedCustomerRates,
} from './special-rates.ts';

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
  /** Null: every event that has no terms of its own. */
  readonly eventName: string | null;
  /** Null: from the beginning of time. */
  readonly validFrom: Date | null;
  /** Null: until others follow. */
  readonly validTo: Date | null;
  readonly currency: string;
  readonly commissionType: CommissionType;
  /** Basis points with at most two decimals, as all rates of terms. */
  readonly rateBps: number;
  readonly fixedMinor: bigint;
  /** The fixed amount is cut to the amount of the order, as percentages are. */
  readonly fixedWithinOrder: boolean;
  /** By rising `fromMinor`; below the first one `rateBps` counts. */
  readonly tiers: readonly Tier[];
  readonly tierMode: TierMode;
  /** Instead of the rate and the fixed amount, by who bought. */
  readonly customerRates: CustomerRates;
  /** Instead of the rate, by what was bought. */
  readonly itemRates: readonly ItemRate[];
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
  /** Where the values come from that these terms do not name. */
  readonly origins: TermsOrigins;
  readonly createdAt: Date;
  /** Taken back before they were in force; never in force. */
  readonly withdrawnAt: Date | null;
}

/**
 * New terms of a program, or of one campaign, one affiliate, or one affiliate within one campaign. What they do not name
 * comes from the wider terms in force when they begin, else from the defaults: see {@link completeTerms}.
 */
export interface NewTerms {
  readonly programId: number;
  readonly campaignId?: number | null | undefined;
  readonly affiliateId?: number | null | undefined;
  readonly eventName?: string | null | undefined;
  /** When they begin, not in the past and within a year; default at once, and for a program's first terms the beginning of time. */
  readonly from?: Date | undefined;
  readonly commissionType?: CommissionType | undefined;
  readonly rateBps?: number | undefined;
  readonly fixedMinor?: bigint | undefined;
  readonly fixedWithinOrder?: boolean | undefined;
  readonly tiers?: readonly Tier[] | undefined;
  readonly tierMode?: TierMode | undefined;
  readonly customerRates?: CustomerRates | undefined;
  readonly itemRates?: readonly ItemRate[] | undefined;
  readonly recurringMonths?: number | undefined;
  readonly levelRatesBps?: readonly number[] | undefined;
  readonly holdDays?: number | undefined;
  readonly cookieDays?: number | undefined;
  readonly attributionModel?: AttributionModel | undefined;
  readonly payoutMinMinor?: bigint | undefined;
  readonly payoutSchedule?: PayoutSchedule | undefined;
}

/** A wrong digit in the year would freeze the terms of a scope until then. */
const MAX_MONTHS_AHEAD = 12;
/** The fields of terms that may be named, inherited, or left to a default. */
const TERMS_FIELDS = [
  'commissionType',
  'rateBps',
  'fixedMinor',
  'fixedWithinOrder',
  'tiers',
  'tierMode',
  'customerRates',
  'itemRates',
  'recurringMonths',
  'levelRatesBps',
  'holdDays',
  'cookieDays',
  'attributionModel',
  'payoutMinMinor',
  'payoutSchedule',
] as const;
export type TermsField = (typeof TERMS_FIELDS)[number];

/** Where values come from: the id of the wider terms that named them, or `default`; fields that are missing were named. */
export type TermsOrigins = { readonly [Field in TermsField]?: number | 'default' };

export type TermsValues = Pick<Terms, TermsField>;

const DEFAULTS: TermsValues = {
  commissionType: 'percent',
  rateBps: 1_000,
  fixedMinor: 0n,
  fixedWithinOrder: false,
  tiers: [],
  tierMode: 'marginal',
  customerRates: {},
  itemRates: [],
  recurringMonths: 0,
  levelRatesBps: [300, 100],
  holdDays: 30,
  cookieDays: 30,
  attributionModel: 'last_click',
  // Any amount: what is little money depends on the currency, so only the program can say.
  payoutMinMinor: 0n,
  payoutSchedule: 'daily',
};

/** Every value of new terms, and where those that they do not name come from. `wider`: the narrowest first, none for a program's terms. */
function completeTerms(
  named: NewTerms,
  wider: readonly Terms[],
): { values: TermsValues; origins: TermsOrigins } {
  const commissionType = named.commissionType ?? wider[0]?.commissionType ?? DEFAULTS.commissionType;
  const values: Record<string, unknown> = {};
  const origins: Record<string, number | 'default'> = {};
  for (const field of TERMS_FIELDS) {
    const given = named[field];
    const source = wider.find((terms) => isInherited(field, terms.commissionType, commissionType));
    if (given !== undefined) {
      values[field] = given;
    } else if (source) {
      const origin = source.origins[field];
      values[field] = source[field];
      origins[field] = typeof origin === 'number' ? origin : source.id;
    } else {
      values[field] = field === 'rateBps' && commissionType === 'fixed' ? 0 : DEFAULTS[field];
      origins[field] = 'default';
    }
  }
  return { values: values as unknown as TermsValues, origins };
}

/** A rate and tiers say nothing of fixed commissions, and an amount nothing of percentages: they are not inherited across. */
function isInherited(field: TermsField, from: CommissionType, to: CommissionType): boolean {
  if (field === 'customerRates') return from === to;
  return fits(field, from) && fits(field, to);
}

const RATE_FIELDS: ReadonlySet<TermsField> = new Set(['rateBps', 'tiers', 'tierMode', 'itemRates']);

function fits(field: TermsField, type: CommissionType): boolean {
  if (RATE_FIELDS.has(field)) return type !== 'fixed';
  return field !== 'fixedMinor' || type !== 'percent';
}

/** What terms of this scope and type have that name nothing else, and where it comes from: see {@link setTerms}. */
export async function inheritedTerms(
  sql: DatabaseSql,
  terms: Scope & Pick<NewTerms, 'from' | 'commissionType'>,
): Promise<TermsValues & Pick<Terms, 'origins'>> {
  const { values, origins } = completeTerms(terms, await widerTerms(sql, terms));
  return { ...values, origins };
}

/** How far the caller's clock may run behind the database's. */
const CLOCK_TOLERANCE_MS = 2_000;

/** Rates are kept as decimals, and read as the doubles next to them: see core/money/rates.ts. */
const termsColumns = (sql: DatabaseSql) => sql`
  t.id, t.program_id, t.campaign_id, t.affiliate_id, t.event_name,
  lower(t.validity) as valid_from, upper(t.validity) as valid_to,
  t.currency, t.commission_type, t.rate_bps::float8 as rate_bps, t.fixed_minor, t.fixed_within_order,
  t.tier_from_minor, t.tier_rates_bps::float8[] as tier_rates_bps, t.tier_mode,
  t.customer_rates, t.item_rates,
  t.recurring_months, t.level_rates_bps::float8[] as level_rates_bps, t.hold_days, t.cookie_days, t.attribution_model, t.payout_min_minor,
  t.payout_schedule, t.rounding, t.origins, t.created_at, t.withdrawn_at`;

/** As PostgreSQL keeps them: tiers are two columns. */
type StoredTerms = Omit<Terms, 'tiers' | 'customerRates'> & {
  readonly customerRates: StoredCustomerRates;
  readonly tierFromMinor: bigint[];
  readonly tierRatesBps: number[];
};

function fromStored({ tierFromMinor, tierRatesBps, customerRates, ...terms }: StoredTerms): Terms {
  return {
    ...terms,
    customerRates: customerRatesFromStored(customerRates),
    tiers: tierFromMinor.map((fromMinor, i) => ({ fromMinor, rateBps: tierRatesBps[i] ?? 0 })),
  };
}

/** Ends the terms of the same scope in force at `from` and opens these. @throws InputError. */
export async function setTerms(sql: DatabaseSql, terms: NewTerms): Promise<Terms> {
  const { programId, campaignId = null, affiliateId = null, eventName = null, from = null } = terms;
  checkBeginning(from);
  const [program] = await sql<{ currency: string; events: string[] }[]>`
    select currency, events from programs where id = ${programId}`;
  if (!program) throw new InputError('program_id', 'there is no such program');
  if (eventName !== null) checkEventOf(program.events, eventName);
  const { values, origins } = completeTerms(terms, await widerTerms(sql, terms));
  checkSpecialRates(values.commissionType, values);
  const { tiers } = values;
  const scope = scopeOf(sql, terms);
  // One statement, so that it is atomic also without a transaction; reading from `ended` makes the end come first.
  const [opened] = await answeringInput(
    sql<[StoredTerms]>`
      with start as (
        select coalesce(${from}::timestamptz, case
          when ${campaignId}::integer is null and ${affiliateId}::integer is null and ${eventName}::text is null
            and not exists (select from terms where ${scope} and withdrawn_at is null) then null
          else clock_timestamp()
        end) as at
      ), ended as (
        update terms set validity = tstzrange(lower(validity), start.at)
        from start
        where ${scope} and start.at is not null and validity @> start.at and upper(validity) is null
          and lower(validity) is distinct from start.at
        returning id
      ), t as (
        insert into terms (program_id, campaign_id, affiliate_id, event_name, currency, validity, commission_type, rate_bps,
          fixed_minor, fixed_within_order, tier_from_minor, tier_rates_bps, tier_mode, customer_rates, item_rates, recurring_months,
          level_rates_bps, hold_days, cookie_days, attribution_model, payout_min_minor, payout_schedule, origins)
        select ${programId}, ${campaignId}::integer, ${affiliateId}::integer, ${eventName}::text, ${program.currency},
          tstzrange(start.at, null), ${values.commissionType}, ${values.rateBps}, ${values.fixedMinor},
          ${values.fixedWithinOrder}, ${tiers.map(({ fromMinor }) => fromMinor)}::bigint[],
          ${tiers.map((tier) => tier.rateBps)}::numeric[], ${values.tierMode},
          ${sql.json(storedCustomerRates(values.customerRates))}::jsonb, ${sql.json(values.itemRates)}::jsonb, ${values.recurringMonths},
          ${[...values.levelRatesBps]}::numeric[], ${values.holdDays}, ${values.cookieDays},
          ${values.attributionModel}, ${values.payoutMinMinor}, ${values.payoutSchedule}, ${sql.json(origins)}::jsonb
        from start where (select count(*) from ended) >= 0
        returning *
      )
      select ${termsColumns(sql)} from t`,
  );
  return fromStored(opened);
}

function checkBeginning(from: Date | null): void {
  if (from === null) return;
  const now = new Date();
  if (from.getTime() < now.getTime() - CLOCK_TOLERANCE_MS) {
    throw new InputError('from', 'must not be in the past: what was earned keeps its terms');
  }
  if (from > addMonths(now, MAX_MONTHS_AHEAD)) throw new InputError('from', 'must be within a year');
}

type Scope = Pick<NewTerms, 'programId' | 'campaignId' | 'affiliateId' | 'eventName'>;

const scopeOf = (
  sql: DatabaseSql,
  { programId, campaignId = null, affiliateId = null, eventName = null }: Scope,
) => sql`
  program_id = ${programId} and campaign_id is not distinct from ${campaignId}::integer
  and affiliate_id is not distinct from ${affiliateId}::integer and event_name is not distinct from ${eventName}::text`;

/** In which order terms count for an order: those for its event, then the narrower scope. */
const narrowestFirst = (sql: DatabaseSql) =>
  sql`event_name is null, affiliate_id is null, campaign_id is null`;

/** The terms of wider scopes that are in force when these begin, the narrowest first. */
async function widerTerms(sql: DatabaseSql, terms: NewTerms): Promise<Terms[]> {
  const { programId, campaignId = null, affiliateId = null, eventName = null, from = null } = terms;
  const wider = await sql<StoredTerms[]>`
    select ${termsColumns(sql)} from terms t
    where program_id = ${programId} and validity @> coalesce(${from}::timestamptz, clock_timestamp())
      and (campaign_id is null or campaign_id = ${campaignId}::integer)
      and (affiliate_id is null or affiliate_id = ${affiliateId}::integer)
      and (event_name is null or event_name = ${eventName}::text) and not (${scopeOf(sql, terms)})
    order by ${narrowestFirst(sql)}`;
  return wider.map(fromStored);
}

/**
 * Takes terms back that are not in force yet; those before them go on instead. Withdrawing again changes nothing.
 * @throws OperatingError `wrong_state` for terms that are in force, or were. The caller knows that they exist.
 */
export async function withdrawTerms(
  tx: DatabaseTransaction,
  { id, now }: { id: number; now: Date },
): Promise<{ withdrawn: boolean }> {
  const [row] = await tx<StoredTerms[]>`
    select ${termsColumns(tx)} from terms t where id = ${id} for no key update`;
  assert(row, `terms ${id} exist`);
  const terms = fromStored(row);
  if (terms.withdrawnAt !== null) return { withdrawn: false };
  const { validFrom, validTo } = terms;
  if (validFrom === null || validFrom <= now) {
    throw new OperatingError('wrong_state', 'the terms are in force already: other terms can follow them');
  }
  await tx`update terms set validity = 'empty', withdrawn_at = ${now} where id = ${id}`;
  await tx`
    update terms set validity = tstzrange(lower(validity), ${validTo}::timestamptz)
    where ${scopeOf(tx, terms)} and upper(validity) = ${validFrom}`;
  return { withdrawn: true };
}

/** Every version of the terms of a program but those withdrawn, the newest first. */
export async function listTerms(sql: DatabaseSql, options: { programId: number }): Promise<Terms[]> {
  const rows = await sql<StoredTerms[]>`
    select ${termsColumns(sql)} from terms t
    where program_id = ${options.programId} and withdrawn_at is null order by id desc`;
  return rows.map(fromStored);
}

export const TERMS_LIST: ListOrder = {
  id: (sql) => sql`id`,
  newestFirst: true,
  sorts: {
    created_at: 'id',
    valid_from: {
      type: 'bigint',
      by: (sql) => sql`
        case when isfinite(lower(validity)) then (extract(epoch from lower(validity)) * 1000000)::bigint else 0 end`,
    },
    rate: { type: 'bigint', by: (sql) => sql`(rate_bps * 100)::bigint` },
    affiliate: BY_AFFILIATE,
  },
  search: (sql, { pattern, id }) => sql`
    ${affiliateName(sql)} ilike ${pattern} or event_name ilike ${pattern} or id = ${id}::integer
    or exists (select from campaigns c where c.id = t.campaign_id and c.name ilike ${pattern})`,
};

/** A page of the versions of a program, or of those that an affiliate has got. */
export async function listTermsPage(
  sql: DatabaseSql,
  request: PageRequest<number> & {
    programId: number;
    campaignId?: number | undefined;
    affiliateId?: number | undefined;
    /** An affiliate sees what is promised to everyone and to itself, not what was promised to another. */
    promisedTo?: number | undefined;
    /** In force at this time. */
    at?: Date | undefined;
  },
): Promise<Page<Terms, number>> {
  const { programId, campaignId = null, affiliateId = null, promisedTo = null, at = null } = request;
  const page = listClauses(sql, TERMS_LIST, request);
  const rows = await sql<StoredTerms[]>`
    select ${termsColumns(sql)}, ${page.key} from terms t
    where program_id = ${programId} and withdrawn_at is null and ${page.where}
      and (${campaignId}::integer is null or campaign_id = ${campaignId})
      and (${affiliateId}::integer is null or affiliate_id = ${affiliateId})
      and (${promisedTo}::integer is null or affiliate_id is null or affiliate_id = ${promisedTo})
      and (${at}::timestamptz is null or validity @> ${at}::timestamptz)
    ${page.order}`;
  const read = pageOf(rows, request);
  return { ...read, rows: read.rows.map(fromStored) };
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
  /** Default: a sale. */
  readonly eventName?: string | undefined;
  /** Usually the time of the click. */
  readonly at: Date;
}

/**
 * The terms in force, one answer per question in the same order, in one query.
 * Terms for the event win over those for every event; of these the most specific scope: affiliate within campaign,
 * affiliate, campaign, program.
 */
export async function termsInForce(
  sql: DatabaseSql,
  questions: readonly TermsQuestion[],
): Promise<(Terms | undefined)[]> {
  const asked = questions.map(({ programId, campaignId, affiliateId, eventName, at }, index) => ({
    index,
    program_id: programId,
    campaign_id: campaignId,
    affiliate_id: affiliateId,
    event_name: eventName ?? DEFAULT_EVENT,
    at: at.toISOString(),
  }));
  const rows = await sql<(StoredTerms & { index: number })[]>`
    select q.index, ${termsColumns(sql)}
    from jsonb_to_recordset(${sql.json(asked)}::jsonb)
      as q (index integer, program_id integer, campaign_id integer, affiliate_id integer, event_name text, at timestamptz)
    cross join lateral (
      select * from terms
      where program_id = q.program_id and (campaign_id is null or campaign_id = q.campaign_id)
        and (affiliate_id is null or affiliate_id = q.affiliate_id)
        and (event_name is null or event_name = q.event_name) and validity @> q.at
      order by ${narrowestFirst(sql)}
      limit 1
    ) t`;
  const answers: (Terms | undefined)[] = questions.map(() => undefined);
  for (const { index, ...terms } of rows) answers[index] = fromStored(terms);
  return answers;
}
