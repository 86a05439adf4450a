import { OperatingError } from '../../core/errors.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../core/time.ts';
import {
  type ClickToOrder,
  readSharedCustomers,
  readUndecided,
  SETTLED_MINUTES,
  type Undecided,
  type UsualTimes,
} from '../../ledger/conversions/order-history.ts';
import { readPredecessors } from '../../ledger/programs/affiliates.ts';
import { type FraudRuleName, isWatching, thresholdOf } from '../../ledger/programs/fraud-rules.ts';
import { type CampaignTraffic, hourOf, TRAFFIC_HOURS } from '../../warehouse/lookups/campaign-traffic.ts';
import { ownClick, type Won } from '../decide/choose.ts';
import { type ComparedDays, isCompared, type OrderHistory } from '../decide/compare-history.ts';
import { HISTORY_PARTS, type HistoryPart } from '../decide/evidence.ts';
import type { FactSources } from './click-facts.ts';
import type { SoldBy } from './kept/campaign-sales.ts';
import type { Days, DaysQuestion } from './kept/order-counts.ts';
import { withinTime } from './kept/within-time.ts';

/**
 * What an affiliate's orders and clicks were like before the order that is decided. Orders count once they are a quarter of
 * an hour old: they are decided by then, unless their click is missing. So what is found of an order does not depend on
 * the batches that orders fall into. What cannot be read in its time is left out, and the decision says so.
 */

/** The steps in which time is cut: orders of one step share their questions. */
const STEP_MS = SETTLED_MINUTES * MINUTE_MS;
/** An order waits so long for those that it is compared with, as for its pace. */
const LONGEST_WAIT_MS = 15 * MINUTE_MS;
/** What one question may take: a batch is delayed by no more. */
const LIMIT_MS = 1_000;
/** Days with which a day is compared. */
const DAYS = 28;
/** Of all orders of a program fewer days are read: they say what is usual for it. */
const PROGRAM_DAYS = 7;

/** Orders received before this count in what the order is compared with: 15 to 30 minutes before its own receipt. */
export function settledBefore(receivedAt: Date): Date {
  return new Date(Math.floor(receivedAt.getTime() / STEP_MS) * STEP_MS - STEP_MS);
}

const COMPARING_RULES = [
  'shared_payout_account',
  'leaked_coupon',
  'regular_click_to_order',
  'conversion_rate',
  'anomaly',
] as const satisfies readonly FraudRuleName[];

/**
 * Ids of the conversions that wait for older ones of their program, with which a rule that may hold them compares: those
 * come first after a stop. A rule that only watches delays nothing.
 */
export async function haveToWaitForHistory(
  sql: FactSources['sql'],
  { won, now }: { won: readonly Won[]; now: Date },
): Promise<Set<bigint>> {
  const comparing = won.filter(
    (one) =>
      isCompared(one) &&
      now.getTime() - one.conversion.receivedAt.getTime() < LONGEST_WAIT_MS &&
      COMPARING_RULES.some((rule) => isOn(one, rule) && !isWatching(one.conversion.fraudRules, rule)),
  );
  if (comparing.length === 0) return new Set();
  const undecided = await readUndecided(sql, programsOf(comparing));
  const waiting = comparing.filter(({ conversion: { programId, receivedAt } }) =>
    isBefore(undecided.get(programId)?.oldestUntried, settledBefore(receivedAt)),
  );
  return new Set(waiting.map(({ conversion }) => conversion.id));
}

/** Reads the histories of a batch, by conversion id: a few questions, however many orders it has. */
export async function gatherHistories(
  sources: Pick<FactSources, 'sql' | 'clicks' | 'counts' | 'sales' | 'times'>,
  won: readonly Won[],
  mergesOf: (one: Won) => number,
): Promise<Map<bigint, OrderHistory>> {
  const compared = won.filter(isCompared);
  if (compared.length === 0) return new Map();
  // Before anything is counted: an order that is decided in between is counted, and makes nothing incomplete.
  const undecided = await readUndecided(sources.sql, programsOf(compared));
  const predecessors = await readPredecessors(
    sources.sql,
    compared.map(({ winner }) => winner.click.affiliateId),
  );
  const subjects = compared.flatMap((one): Subject[] => {
    const { affiliateId } = one.winner.click;
    const subject = subjectOf(one, [affiliateId, ...predecessors(affiliateId, mergesOf(one))]);
    return subject.parts.length === 0 ? [] : [subject];
  });
  const [days, times, clicks, shared] = await Promise.all([
    readDays(sources, subjects, undecided),
    readTimes(sources, subjects, undecided),
    readClicks(sources, subjects, undecided),
    readShared(sources.sql, subjects),
  ]);
  return new Map(
    subjects.map((subject): [bigint, OrderHistory] => {
      const { id, until, parts } = subject;
      const read = { ...NOTHING, ...days.get(subject), ...times.get(subject), ...clicks.get(subject) };
      const history = { ...read, ...shared.get(subject) };
      const basis = {
        until: until.toISOString(),
        complete: isSettled(subject, undecided),
        unread: parts.filter((part) => history[MEMBER_OF[part]] === undefined),
      };
      return [id, { ...history, basis }];
    }),
  );
}

const NOTHING: OrderHistory = {
  affiliateDays: undefined,
  couponDays: undefined,
  clickToOrder: undefined,
  traffic: undefined,
  sales: undefined,
  sharedCustomer: undefined,
};

const MEMBER_OF = {
  affiliate_days: 'affiliateDays',
  coupon_days: 'couponDays',
  click_to_order: 'clickToOrder',
  clicks: 'traffic',
  campaign_sales: 'sales',
  shared_customers: 'sharedCustomer',
} as const satisfies Record<HistoryPart, keyof OrderHistory>;

/** An order with what is asked about it. */
interface Subject {
  readonly id: bigint;
  readonly programId: number;
  readonly campaignId: number;
  readonly affiliateId: number;
  /** The affiliate, and those that were merged into it. */
  readonly affiliateIds: readonly number[];
  readonly couponId: number | undefined;
  readonly customerId: string | null;
  readonly until: Date;
  /** Beginning of the day of the order's receipt, Unix ms. */
  readonly day: number;
  /** Beginning of the hour of the order's click, Unix ms. */
  readonly hour: number;
  readonly parts: readonly HistoryPart[];
}

function subjectOf(one: Won, affiliateIds: readonly number[]): Subject {
  const { conversion, winner } = one;
  const { id, programId, customerId, receivedAt } = conversion;
  const { affiliateId, campaignId } = winner.click;
  const click = ownClick(winner);
  // An older click says less of today, and would make one question read many days.
  const isRecent = click !== undefined && click.ts >= receivedAt.getTime() - TRAFFIC_HOURS * HOUR_MS;
  const isByCode = winner.source === 'coupon' && conversion.clickId === null;
  const asked: Record<HistoryPart, boolean> = {
    affiliate_days: isOn(one, 'anomaly'),
    coupon_days: isByCode && isOn(one, 'leaked_coupon'),
    click_to_order: click !== undefined && isOn(one, 'regular_click_to_order'),
    clicks: isRecent && (isOn(one, 'forced_clicks_share') || isOn(one, 'conversion_rate')),
    campaign_sales: isRecent && isOn(one, 'conversion_rate'),
    shared_customers: customerId !== null && isOn(one, 'shared_payout_account'),
  };
  return {
    ...{ id, programId, campaignId, affiliateId, affiliateIds, customerId },
    couponId: winner.source === 'coupon' ? winner.couponId : undefined,
    until: settledBefore(receivedAt),
    day: Math.floor(receivedAt.getTime() / DAY_MS) * DAY_MS,
    hour: hourOf(click?.ts ?? 0),
    parts: HISTORY_PARTS.filter((part) => asked[part]),
  };
}

function isOn({ conversion }: Won, rule: FraudRuleName): boolean {
  return thresholdOf(conversion.fraudRules, rule) !== false;
}

function programsOf(won: readonly Won[]): number[] {
  return [...new Set(won.map(({ conversion }) => conversion.programId))];
}

function isBefore(time: Date | null | undefined, other: Date): boolean {
  return time !== null && time !== undefined && time < other;
}

function asking(subjects: readonly Subject[], ...parts: HistoryPart[]): Subject[] {
  return subjects.filter((subject) => parts.some((part) => subject.parts.includes(part)));
}

/** Asks what several subjects share once. Undefined: it was not read in the time. */
async function askShared<Question, Answer>(
  subjects: readonly Subject[],
  questionOf: (subject: Subject) => Question,
  ask: (questions: readonly Question[]) => Promise<readonly (Answer | undefined)[] | undefined>,
): Promise<(subject: Subject) => Answer | undefined> {
  const keys = new Map(subjects.map((subject) => [subject, JSON.stringify(questionOf(subject))]));
  const questions = new Map(subjects.map((subject) => [keys.get(subject), questionOf(subject)]));
  const answers = questions.size === 0 ? [] : await ask([...questions.values()]);
  const byKey = new Map([...questions.keys()].map((key, i) => [key, answers?.[i]]));
  return (subject) => byKey.get(keys.get(subject));
}

type Read = Map<Subject, Partial<OrderHistory>>;

/** Whether all older orders are decided: what is counted then stays so, and the decision says that it is complete. */
function isSettled({ programId, until }: Subject, undecided: ReadonlyMap<number, Undecided>): boolean {
  return !isBefore(undecided.get(programId)?.oldest, until);
}

async function readDays(
  { sql, counts }: Pick<FactSources, 'sql' | 'counts'>,
  subjects: readonly Subject[],
  undecided: ReadonlyMap<number, Undecided>,
): Promise<Read> {
  const asked = asking(subjects, 'affiliate_days', 'coupon_days').map((subject) => {
    const { affiliateIds, couponId, programId, parts, day } = subject;
    const of = {
      ...{ day, days: DAYS, until: subject.until.getTime() },
      isSettled: isSettled(subject, undecided),
    };
    return {
      subject,
      affiliate: affiliateIds.map((id) => ({ ...of, of: 'affiliate' as const, id })),
      coupon:
        couponId === undefined || !parts.includes('coupon_days')
          ? []
          : [{ ...of, of: 'coupon' as const, id: couponId }],
      program: { ...of, of: 'program' as const, id: programId, days: PROGRAM_DAYS },
    };
  });
  const questions: DaysQuestion[] = asked.flatMap(({ affiliate, coupon, program }) => [
    ...affiliate,
    ...coupon,
    program,
  ]);
  const answers = await counts.read(sql, questions);
  const answerOf = new Map(questions.map((question, i) => [question, answers[i]]));
  return new Map(
    asked.map(({ subject, affiliate, coupon, program }): [Subject, Partial<OrderHistory>] => {
      const all = answerOf.get(program);
      const own = sumOf(affiliate.map((question) => answerOf.get(question)));
      const code = sumOf(coupon.map((question) => answerOf.get(question)));
      const isAsked = subject.parts.includes('affiliate_days');
      return [
        subject,
        {
          affiliateDays: isAsked ? comparedDays(subject, own, all) : undefined,
          couponDays: comparedDays(subject, code, all),
        },
      ];
    }),
  );
}

/** Undefined: one of them is not known, or there is none. */
function sumOf(parts: readonly (Days | undefined)[]): Days | undefined {
  const known = parts.filter((part) => part !== undefined);
  const [first] = known;
  if (!first || known.length < parts.length) return undefined;
  return {
    today: known.reduce((sum, { today }) => sum + today, 0),
    before: first.before.map((_, i) => known.reduce((sum, { before }) => sum + (before[i] ?? 0), 0)),
  };
}

function comparedDays(
  { until }: Subject,
  own: Days | undefined,
  all: Days | undefined,
): ComparedDays | undefined {
  if (!own || !all) return undefined;
  const total = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count, 0);
  const week = total(all.before) - total(own.before.slice(-PROGRAM_DAYS));
  return {
    ...own,
    until: until.getTime(),
    others: { today: Math.max(0, all.today - own.today), mean: Math.max(0, week) / PROGRAM_DAYS },
  };
}

async function readTimes(
  { sql, times }: Pick<FactSources, 'sql' | 'times'>,
  subjects: readonly Subject[],
  undecided: ReadonlyMap<number, Undecided>,
): Promise<Read> {
  const asked = asking(subjects, 'click_to_order');
  const [ownOf, usualOf] = await Promise.all([
    askShared(
      asked,
      (subject) => {
        const { affiliateIds, campaignId, until } = subject;
        return { affiliateIds, campaignId, until, isSettled: isSettled(subject, undecided) };
      },
      (questions) => times.own(sql, questions),
    ),
    askShared(
      asked,
      (subject) => {
        const { programId, until } = subject;
        return { programId, until, isSettled: isSettled(subject, undecided) };
      },
      (questions) => times.usual(sql, questions),
    ),
  ]);
  return new Map(
    asked.map((subject) => {
      const [own, usual] = [ownOf(subject), usualOf(subject)];
      return [subject, { clickToOrder: own && usual && { own, others: othersTimes(subject, usual) } }];
    }),
  );
}

function othersTimes({ affiliateIds, campaignId }: Subject, usual: readonly UsualTimes[]): ClickToOrder {
  const others = usual.filter(
    (one) => one.campaignId === campaignId && !affiliateIds.includes(one.affiliateId),
  );
  return others.reduce(
    (sum, { orders, seconds, squares }) => ({
      orders: sum.orders + orders,
      seconds: sum.seconds + seconds,
      squares: sum.squares + squares,
    }),
    { orders: 0, seconds: 0, squares: 0 },
  );
}

async function readClicks(
  { sql, clicks, sales }: Pick<FactSources, 'sql' | 'clicks' | 'sales'>,
  subjects: readonly Subject[],
  undecided: ReadonlyMap<number, Undecided>,
): Promise<Read> {
  const asked = asking(subjects, 'clicks');
  const selling = asking(asked, 'campaign_sales');
  const [trafficOf, salesOf] = await Promise.all([
    askShared(
      asked,
      ({ hour, campaignId, affiliateIds }) => ({ ts: hour, campaignId, affiliateIds }),
      (questions) => trafficInTime(clicks.traffic(questions)),
    ),
    askShared(
      selling,
      (subject) => {
        const { campaignId, hour } = subject;
        return { campaignId, hour, isSettled: isSettled(subject, undecided) };
      },
      (questions) => sales.read(sql, questions),
    ),
  ]);
  return new Map(
    asked.map((subject) => {
      const traffic = trafficOf(subject);
      const sold = subject.parts.includes('campaign_sales') ? salesOf(subject) : undefined;
      return [subject, { traffic, sales: traffic && sold && salesIn(subject, traffic, sold) }];
    }),
  );
}

/** One that cannot answer this in its time leaves it out; of one that is gone nothing is concluded. */
async function trafficInTime(
  answers: Promise<readonly CampaignTraffic[]>,
): Promise<readonly CampaignTraffic[] | undefined> {
  try {
    return await answers;
  } catch (error) {
    if (!(error instanceof OperatingError) || error.code === 'clickhouse_unreachable') throw error;
    return undefined;
  }
}

function salesIn(
  { affiliateIds }: Subject,
  { clicks, byAffiliate }: CampaignTraffic,
  sold: SoldBy,
): OrderHistory['sales'] {
  const others = [...byAffiliate].filter(([affiliateId]) => !affiliateIds.includes(affiliateId));
  return {
    own: { orders: affiliateIds.reduce((sum, id) => sum + (sold.get(id) ?? 0), 0), clicks },
    others: others.map(([affiliateId, valid]) => ({ orders: sold.get(affiliateId) ?? 0, clicks: valid })),
  };
}

async function readShared(sql: FactSources['sql'], subjects: readonly Subject[]): Promise<Read> {
  const asked = asking(subjects, 'shared_customers');
  const sharedOf = await askShared(
    asked,
    ({ affiliateId, programId, customerId, until }) => ({
      ...{ affiliateId, programId, until },
      customerId: customerId ?? '',
    }),
    (questions) => withinTime(sql, LIMIT_MS, (tx) => readSharedCustomers(tx, questions)),
  );
  return new Map(asked.map((subject) => [subject, { sharedCustomer: sharedOf(subject) }]));
}
