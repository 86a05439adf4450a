import { UNUSUAL_EXPONENTS } from '../../core/money.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../core/time.ts';
/**
 * The dimensions and metrics of a report, and the tables that can answer: the vocabulary of {@link file://./reports.ts}.
 * Every expression in a query comes from here; a caller gives a name out of these lists, or a bound value.
 */

/** A table that a report counts. `stepMs`: its finest step of time. */
export interface ReportTable {
  readonly name:
    | 'campaigns_daily'
    | 'campaigns_hourly'
    | 'clicks_hourly'
    | 'clicks_minutely'
    | 'clicks'
    | 'conversions';
  readonly time: 'day' | 'hour' | 'minute' | 'ts' | 'occurred_at';
  readonly stepMs: number;
  readonly has: ReadonlySet<string>;
  /** `m_clicks` and `m_valid`. */
  readonly counts: string;
  /**
   * `m_ips` and `m_visitors`, over valid clicks; `m_ips_unknown` and `m_visitors_unknown`: rows that cannot tell theirs.
   */
  readonly uniques: string;
  /** Where a report by these dimensions has, for each row, one of the table's rows, whose distinct are numbers already. */
  readonly settled?: Settled;
}

interface Settled {
  readonly by: readonly ReportDimension[];
  /** As `uniques`, of the days that are settled. */
  readonly uniques: string;
}

/** Rows of clicks from before their visitors were known (warehouse/migrations/0010_visitors.sql). */
const rolledUpUnknown = (time: string): string =>
  `0 AS m_ips_unknown, countIf(t.${time} < (SELECT max(since) FROM visitors_known)) AS m_visitors_unknown`;

/** The pixel's loads are in the same tables, and are no clicks. */
const ROLLED_UP = {
  counts: `sumIf(t.clicks, flag_group != 'impression') AS m_clicks,
    sumIf(t.clicks, flag_group IN ('ok', 'repeat')) AS m_valid`,
  uniques: `uniqCombinedMergeIf(14)(t.ips, flag_group IN ('ok', 'repeat')) AS m_ips,
    uniqCombinedMergeIf(14)(t.distinct_visitors, flag_group IN ('ok', 'repeat')) AS m_visitors`,
} as const;
/** A campaign's rows are not split by flag group: their states are of valid clicks. */
const CAMPAIGNS = {
  counts: 'sum(t.clicks) AS m_clicks, sum(t.valid_clicks) AS m_valid',
  uniques: 'uniqCombinedMerge(14)(t.ips) AS m_ips, uniqCombinedMerge(14)(t.distinct_visitors) AS m_visitors',
} as const;
/** Whether the distinct of a campaign's day were counted since its last valid click (warehouse/migrations/0018). */
export const IS_SETTLED = 'bitShiftRight(max(t.settled_visitors), 32) = sum(t.valid_clicks)';
const settledCount = (column: string): string => `bitAnd(max(t.${column}), 4294967295)`;
/** Addresses are removed after 90 days; those of a person who was erased count as one. */
const NO_ADDRESS = "t.ip = toIPv6('::') AND t.ts < now() - INTERVAL 90 DAY";
/** 15223: INVALID_CLICK_FLAGS, 256: an impression; a test keeps them true. */
const RAW = {
  counts: 'countIf(bitAnd(flags, 256) = 0) AS m_clicks, countIf(bitAnd(flags, 15223) = 0) AS m_valid',
  uniques: `uniqCombinedIf(14)(toUInt32(cityHash64(t.ip)), bitAnd(flags, 15223) = 0) AS m_ips,
    uniqCombinedIf(14)(t.visitor, bitAnd(flags, 15223) = 0) AS m_visitors,
    countIf(${NO_ADDRESS}) AS m_ips_unknown, countIf(${NO_ADDRESS}) AS m_visitors_unknown`,
} as const;

type Kind = 'time' | 'id' | 'text';

interface Dimension {
  readonly kind: Kind;
  /** Its value from a row; `{time}` stands for the table's time column. */
  readonly sql: string;
  /** By what a filter compares it; default: its value. */
  readonly match?: string;
  /** The function that makes its text; default: its value is what is shown. Numbers group faster than texts. */
  readonly text?: string;
  /** Of an id: what stands before its number outside. */
  readonly prefix?: string;
}

/** An autonomous system with its owner; '' for 0. */
export function networkText(asn: string): string {
  return `if(${asn} = 0, '', concat('AS', toString(${asn}), ' ', dictGet('organisations', 'organisation', ${asn})))`;
}

const inZone = (start: string): string => `${start}({time}, {zone:String})`;
const instant = (start: string): string =>
  `formatDateTime(toTimeZone(${inZone(start)}, 'UTC'), '%Y-%m-%dT%H:%i:00Z')`;

/** How far the zone is ahead of UTC at a time, in seconds. */
const offset = (at: string): string => `timezoneOffset(toTimeZone(${at}, {zone:String}))`;
const SECONDS = 'toUnixTimestamp({time})';
const CLOCKS_HOUR = `(${SECONDS} - (${SECONDS} + ${offset('{time}')}) % 3600)`;
/**
 * The hour where clocks are changed by half an hour: it begins when they show a whole hour, or with the change.
 * toStartOfHour goes on from the first hour of the day.
 */
const UNEVEN_HOUR = `formatDateTime(toDateTime(${CLOCKS_HOUR}
  + abs(${offset('{time}')} - ${offset(`toDateTime(${CLOCKS_HOUR}, 'UTC')`)}) % 3600, 'UTC'), '%Y-%m-%dT%H:%i:00Z')`;

/** Days, weeks (by their Monday) and months are those of the report's time zone; hours and minutes are instants. */
const TIME = {
  minute: { kind: 'time', sql: instant('toStartOfMinute') },
  hour: { kind: 'time', sql: instant('toStartOfHour') },
  day: { kind: 'time', sql: 'toDate({time}, {zone:String})', text: 'toString' },
  week: { kind: 'time', sql: `toString(toMonday({time}, {zone:String}))` },
  month: { kind: 'time', sql: `formatDateTime({time}, '%Y-%m', {zone:String})` },
} as const satisfies Record<string, Dimension>;

const id = (column: string, prefix: string) => ({ kind: 'id', sql: column, prefix }) as const;
const word = (column: string) => ({ kind: 'text', sql: `toString(${column})` }) as const;

const DIMENSIONS = {
  ...TIME,
  program: id('program_id', 'prg'),
  campaign: id('campaign_id', 'cmp'),
  affiliate: id('affiliate_id', 'aff'),
  link: id('link_id', 'lnk'),
  country: word('country'),
  device: word('device'),
  flag_group: word('flag_group'),
  os: word('os'),
  browser: word('browser'),
  language: word('language'),
  /** The autonomous system that announces the visitor's address, such as "AS680 DFN"; '' where none is known. */
  network: word(networkText('asn')),
  referrer_domain: word('referrer_domain'),
  sub1: word('sub1'),
  sub2: word('sub2'),
  sub3: word('sub3'),
  sub4: word('sub4'),
  sub5: word('sub5'),
  utm_source: word('utm_source'),
  utm_medium: word('utm_medium'),
  utm_campaign: word('utm_campaign'),
  utm_term: word('utm_term'),
  utm_content: word('utm_content'),
  /** The code of the coupon that credits an order, as it was first made; '' where none does. */
  coupon: { ...word('coupon'), match: 'lowerUTF8(coupon)' },
} as const satisfies Record<string, Dimension>;

export type ReportDimension = keyof typeof DIMENSIONS;
export const REPORT_DIMENSIONS = Object.keys(DIMENSIONS) as readonly ReportDimension[];

export function isReportDimension(name: string): name is ReportDimension {
  return Object.hasOwn(DIMENSIONS, name);
}

export function dimensionKind(name: ReportDimension): Kind {
  return DIMENSIONS[name].kind;
}

/** What stands before the number of an id outside, as the API writes it; '' for what is no id. */
export function idPrefix(name: ReportDimension): string {
  const { prefix = '' }: Dimension = DIMENSIONS[name];
  return prefix;
}

/** The raw table has no column for the flag group: it is computed as the rollups' feeds compute it. */
export const RAW_FLAG_GROUP = `multiIf(bitAnd(flags, 256) != 0, 'impression', bitAnd(flags, 8192) != 0, 'blocked',
  bitAnd(flags, 1) != 0, 'bot',
  bitAnd(flags, 2) != 0, 'prefetch', bitAnd(flags, 4) != 0, 'head', bitAnd(flags, 624) != 0, 'inactive',
  bitAnd(flags, 2048) != 0, 'forced', bitAnd(flags, 4096) != 0, 'flood', bitAnd(flags, 8) != 0, 'repeat', 'ok')`;

/** Where a dimension is read. `unevenHours`: within the report the zone's clocks are changed by a part of an hour. */
export interface Source {
  readonly name: string;
  readonly time: string;
  readonly unevenHours: boolean;
}

/** The expression of a dimension over the rows of a table. */
export function dimensionSql(name: ReportDimension, table: Source): string {
  if (name === 'flag_group' && table.name === 'clicks') return RAW_FLAG_GROUP;
  const sql = name === 'hour' && table.unevenHours ? UNEVEN_HOUR : DIMENSIONS[name].sql;
  return sql.replaceAll('{time}', `t.${table.time}`);
}

/** What is shown of a dimension whose value stands in `column`. */
export function textSql(name: ReportDimension, column: string): string {
  const { text }: Dimension = DIMENSIONS[name];
  return text === undefined ? column : `${text}(${column})`;
}

/** The expression by which a filter compares a dimension. */
export function matchSql(name: ReportDimension, table: Source): string {
  const dimension: Dimension = DIMENSIONS[name];
  return dimension.match ?? dimensionSql(name, table);
}

const names = (...list: ReportDimension[]): ReadonlySet<string> => new Set(list);
const TIMES = ['hour', 'day', 'week', 'month'] as const;
const ROLLUP_KEYS = ['program', 'campaign', 'affiliate', 'link', 'country', 'device', 'flag_group'] as const;

/** Dimensions that no click has. */
export const OF_ORDERS_ALONE: ReadonlySet<string> = names('coupon');

/** The tables that hold clicks, the smallest first. */
export const CLICKS_TABLES: readonly ReportTable[] = [
  {
    name: 'campaigns_daily',
    time: 'day',
    stepMs: DAY_MS,
    has: names('day', 'week', 'month', 'program', 'campaign'),
    ...CAMPAIGNS,
    uniques: `${CAMPAIGNS.uniques}, ${rolledUpUnknown('day')}`,
    settled: {
      by: ['day', 'campaign'],
      uniques: `${settledCount('settled_ips')} AS m_ips, ${settledCount('settled_visitors')} AS m_visitors,
        ${rolledUpUnknown('day')}`,
    },
  },
  {
    name: 'campaigns_hourly',
    time: 'hour',
    stepMs: HOUR_MS,
    has: names(...TIMES, 'program', 'campaign'),
    ...CAMPAIGNS,
    uniques: `${CAMPAIGNS.uniques}, ${rolledUpUnknown('hour')}`,
  },
  {
    name: 'clicks_hourly',
    time: 'hour',
    stepMs: HOUR_MS,
    has: names(...TIMES, ...ROLLUP_KEYS),
    ...ROLLED_UP,
    uniques: `${ROLLED_UP.uniques}, ${rolledUpUnknown('hour')}`,
  },
  {
    name: 'clicks_minutely',
    time: 'minute',
    stepMs: MINUTE_MS,
    has: names('minute', ...TIMES, ...ROLLUP_KEYS),
    ...ROLLED_UP,
    uniques: `${ROLLED_UP.uniques}, ${rolledUpUnknown('minute')}`,
  },
  {
    name: 'clicks',
    time: 'ts',
    stepMs: MINUTE_MS,
    has: names(...REPORT_DIMENSIONS.filter((name) => !OF_ORDERS_ALONE.has(name))),
    ...RAW,
  },
];

/** The dimensions of a conversion: its own time (of the order), and those of the click that won it. */
export const CONVERSION_DIMENSIONS: ReadonlySet<string> = names(
  ...(Object.keys(TIME) as ReportDimension[]),
  'program',
  'campaign',
  'affiliate',
  'link',
  'country',
  'sub1',
  'sub2',
  'sub3',
  'sub4',
  'sub5',
  'coupon',
);

export const UNIQUE_COLUMNS = ['ips', 'visitors', 'ips_unknown', 'visitors_unknown'] as const;
export const NO_UNIQUES = UNIQUE_COLUMNS.map((name) => `0 AS m_${name}`).join(', ');

/** Counts conversions alone, by dimensions that no click has. */
export const ORDERS_TABLE: ReportTable = {
  name: 'conversions',
  time: 'occurred_at',
  stepMs: HOUR_MS,
  has: CONVERSION_DIMENSIONS,
  counts: '0 AS m_clicks, 0 AS m_valid',
  uniques: NO_UNIQUES,
};

interface Metric {
  /** Over the summed columns `m_*`. */
  readonly sql: string;
  /** The same without floats, for files: JSON numbers are floats, and money is none. Default: `sql`. */
  readonly exact?: string;
  readonly ofClicks: boolean;
  readonly ofConversions: boolean;
  /** An amount in units of its currency. */
  readonly isMoney?: boolean;
}

const ofClicks = (sql: string): Metric => ({ sql, ofClicks: true, ofConversions: false });
const ofConversions = (sql: string): Metric => ({ sql, ofClicks: false, ofConversions: true });
/** `sql` for each valid click; null without one. */
const perClick = (sql: string): string => `if(s_valid = 0, NULL, ${sql})`;
/** Amounts of several currencies have no sum. */
const ofOneCurrency = (sql: string): string => `if(length(s_currencies) > 1, NULL, ${sql})`;
/** The finest minor unit of a currency has four digits: one scale holds every currency, and files of all months fit. */
const MONEY_SCALE = 4;
/** Digits of an amount per click behind those of the currency. */
const PER_CLICK_DIGITS = 4;
/** Minor units in one unit of the only currency; arrays begin at 1, and the currency of none is ''. */
const UNIT = `transform(s_currencies[1], [${[...UNUSUAL_EXPONENTS.keys()].map((code) => `'${code}'`).join(', ')}],
  [${[...UNUSUAL_EXPONENTS.values()].map((exponent) => `toUInt64(${10 ** exponent})`).join(', ')}], toUInt64(100))`;

const minor = (sum: string): Metric => ofConversions(ofOneCurrency(`toInt64(${sum})`));
/** In units of the currency, exact. */
const money = (sum: string): Metric => ({
  ...ofConversions(ofOneCurrency(`toDecimal128(${sum}, ${MONEY_SCALE}) / ${UNIT}`)),
  isMoney: true,
});
/** With four digits behind the minor unit in files. */
const minorPerClick = (sum: string): Metric => ({
  sql: perClick(ofOneCurrency(`toFloat64(${sum}) / s_valid`)),
  exact: perClick(ofOneCurrency(`toDecimal128(${sum}, ${PER_CLICK_DIGITS}) / s_valid`)),
  ofClicks: true,
  ofConversions: true,
});
const moneyPerClick = (sum: string): Metric => ({
  sql: perClick(
    ofOneCurrency(`toDecimal128(${sum}, ${MONEY_SCALE + PER_CLICK_DIGITS}) / (s_valid * ${UNIT})`),
  ),
  ofClicks: true,
  ofConversions: true,
  isMoney: true,
});

const METRICS = {
  clicks: ofClicks('s_clicks'),
  valid_clicks: ofClicks('s_valid'),
  /** Null where a part of the clicks has no address any more. */
  unique_ips: ofClicks('if(s_ips_unknown > 0, NULL, s_ips)'),
  unique_visitors: ofClicks('if(s_visitors_unknown > 0, NULL, s_visitors)'),
  conversions: ofConversions('s_conversions'),
  conversions_attributed: ofConversions('s_attributed'),
  conversions_in_review: ofConversions('s_review'),
  conversions_rejected: ofConversions('s_rejected'),
  conversions_refunded: ofConversions('s_refunded'),
  conversions_open: ofConversions('s_open'),
  conversion_rate: { sql: perClick('s_attributed / s_valid'), ofClicks: true, ofConversions: true },
  revenue: money('s_revenue'),
  revenue_minor: minor('s_revenue'),
  commission: money('s_commission'),
  commission_minor: minor('s_commission'),
  epc: moneyPerClick('s_commission'),
  epc_minor: minorPerClick('s_commission'),
  own_commission: money('s_own_commission'),
  own_commission_minor: minor('s_own_commission'),
  own_epc: moneyPerClick('s_own_commission'),
  own_epc_minor: minorPerClick('s_own_commission'),
  seconds_to_convert: ofConversions('if(s_timed = 0, NULL, s_seconds / s_timed)'),
  currency: ofConversions(
    "multiIf(length(s_currencies) > 1, 'mixed', length(s_currencies) = 0, '', s_currencies[1])",
  ),
} as const satisfies Record<string, Metric>;

export type ReportMetric = keyof typeof METRICS;
export const REPORT_METRICS = Object.keys(METRICS) as readonly ReportMetric[];
export const CLICK_METRICS = ['clicks', 'valid_clicks', 'unique_ips', 'unique_visitors'] as const;

export function isReportMetric(name: string): name is ReportMetric {
  return Object.hasOwn(METRICS, name);
}

export function metricSql(name: ReportMetric): string {
  return METRICS[name].sql;
}

/** See `exact` of a metric. */
export function exactMetricSql(name: ReportMetric): string {
  const { sql, exact = sql }: Metric = METRICS[name];
  return exact;
}

/** Whether it is an amount in units of its currency. */
export function isMoney(name: ReportMetric): boolean {
  const { isMoney = false }: Metric = METRICS[name];
  return isMoney;
}

/** Whether it needs clicks, alone or beside conversions. */
export function isOfClicks(name: ReportMetric): boolean {
  return METRICS[name].ofClicks;
}

export function isOfConversions(name: ReportMetric): boolean {
  return METRICS[name].ofConversions;
}

/** Columns of a conversion's part, in the order in which {@link CONVERSION_COUNTS} makes them. */
export const CONVERSION_COLUMNS = [
  'conversions',
  'attributed',
  'review',
  'rejected',
  'refunded',
  'open',
  'revenue',
  'commission',
  'own_commission',
  'timed',
  'seconds',
] as const;

/**
 * Revenue is the part of credited orders that was not refunded; commissions are what was earned by them, of all levels and
 * of the winning affiliate, as the mirror has it. docs/glossary.md defines every figure.
 */
export const CONVERSION_COUNTS = `
  count() AS m_conversions,
  countIf(state IN ('attributed', 'partially_refunded')) AS m_attributed,
  countIf(state = 'review') AS m_review,
  countIf(state IN ('rejected', 'unattributed')) AS m_rejected,
  countIf(state = 'refunded') AS m_refunded,
  countIf(state IN ('received', 'awaiting_click', 'awaiting_shop')) AS m_open,
  sumIf(amount_minor - refunded_minor, state IN ('attributed', 'partially_refunded', 'refunded')) AS m_revenue,
  sum(commission_minor) AS m_commission,
  sum(own_commission_minor) AS m_own_commission,
  countIf(isNotNull(click_ts)) AS m_timed,
  sumIf(dateDiff('millisecond', assumeNotNull(click_ts), occurred_at), isNotNull(click_ts)) / 1000 AS m_seconds,
  groupUniqArray(4)(toString(currency)) AS m_currencies`;
