import { InputError } from '../../core/errors.ts';
import { currencyExponent } from '../../core/money.ts';
import { canonicalTimeZone, DAY_MS, HOUR_MS, MINUTE_MS } from '../../core/time.ts';
import type { QueryParams, Warehouse } from '../clickhouse/client.ts';
import { readWatermark } from '../watermark/watermark.ts';
import {
  CLICK_METRICS,
  CLICKS_TABLES,
  CONVERSION_COLUMNS,
  CONVERSION_COUNTS,
  CONVERSION_DIMENSIONS,
  dimensionKind,
  dimensionSql,
  IS_SETTLED,
  isMoney,
  isOfClicks,
  isOfConversions,
  isReportDimension,
  isReportMetric,
  matchSql,
  metricSql,
  NO_UNIQUES,
  OF_ORDERS_ALONE,
  ORDERS_TABLE,
  REPORT_DIMENSIONS,
  REPORT_METRICS,
  type ReportDimension,
  type ReportMetric,
  type ReportTable,
  type Source,
  textSql,
  UNIQUE_COLUMNS,
} from './report-tables.ts';

/** Rows of one page at the most; a longer report is an export. */
export const MAX_REPORT_ROWS = 10_000;
const MAX_FILTER_VALUES = 1_000;

/** Limits of one question. An affiliate's own clicks are few; an export can take longer. */
const LIMITS = {
  operator: { max_execution_time: 15, max_memory_usage: 2_000_000_000 },
  affiliate: { max_execution_time: 5, max_memory_usage: 1_000_000_000 },
} as const;
/** Decimals stay text: a number of JSON is a float. */
const EXACT = { output_format_json_quote_decimals: 1 } as const;
export const EXPORT_LIMITS = {
  operator: { max_execution_time: 55, max_memory_usage: 4_000_000_000 },
  affiliate: { max_execution_time: 30, max_memory_usage: 2_000_000_000 },
} as const;

/** clicks_minutely keeps 8 days; a report starts within 7, so that nothing expires while it is asked. */
const MINUTES_KEPT_MS = 7 * DAY_MS;

/** Only rows with one of these values; ids are numbers, everything else is text. */
export interface ReportFilter {
  readonly dimension: ReportDimension;
  readonly values: readonly (string | number)[];
  /** Only rows with none of them instead. */
  readonly exclude?: boolean;
}

export interface ReportOptions {
  /**
   * Half-open range, widened to whole hours; to whole minutes by minute, in zones whose hours begin within those of UTC,
   * and when the table that answers knows nothing else.
   */
  readonly from: Date;
  readonly to: Date;
  /** IANA name, such as "Europe/Berlin"; default UTC. */
  readonly timeZone?: string;
  readonly groupBy: readonly ReportDimension[];
  /** Default: the four counts of clicks. Amounts in units of a currency bring the metric `currency`. */
  readonly metrics?: readonly ReportMetric[];
  readonly filters?: readonly ReportFilter[];
  /** Only conversions of this event; clicks are counted in full. Default: of every event. */
  readonly eventName?: string | undefined;
  /** Default: by time, then by the first metric, the greatest first. */
  readonly orderBy?: readonly { readonly by: ReportDimension | ReportMetric; readonly descending: boolean }[];
  /** 1 to {@link MAX_REPORT_ROWS}, for an export to MAX_EXPORT_ROWS. */
  readonly limit: number;
  /** Rows to leave out at the beginning; default 0. */
  readonly offset?: number;
  readonly role?: 'operator' | 'affiliate';
}

/**
 * Values by the name of each dimension and metric. Unknown text is ''. Money is null when currencies mix; in units of the
 * currency it is text such as "12.50". Whole numbers beyond 2^53 are text.
 */
export type ReportRow = { readonly [name in ReportDimension | ReportMetric]?: string | number | null };

export interface Report {
  readonly rows: readonly ReportRow[];
  /** Every click before this time is counted; undefined before anything was loaded. */
  readonly completeTo: Date | undefined;
  /** The table that answered. */
  readonly table: ReportTable['name'];
  /** The range that was counted. */
  readonly from: Date;
  readonly to: Date;
}

/**
 * Counts by any subset of the dimensions. Unique addresses and visitors are distinct ones among valid clicks: exact
 * for small numbers, within 1 % for great ones; null where a part of the clicks is too old to tell.
 * @throws InputError naming `from`, `timeZone`, `groupBy`, `metrics`, `filters`, `orderBy` or `limit`.
 */
export async function runReport(warehouse: Warehouse, options: ReportOptions): Promise<Report> {
  const checked = planReport(options, MAX_REPORT_ROWS);
  const limits = LIMITS[options.role ?? 'operator'];
  // The watermark is read first, so that the counts hold everything that it covers.
  const [completeTo, unsettled] = await Promise.all([
    readWatermark(warehouse),
    readUnsettledDays(warehouse, checked, limits),
  ]);
  const plan = planReport(options, MAX_REPORT_ROWS, { unsettled });
  const { rows } = await warehouse.query<ReportRow>(plan.sql, plan.params, {
    ...limits,
    ...EXACT,
  });
  return {
    rows: rows.map((row) => numbersOf(row, plan.metrics)),
    completeTo: completeTo === undefined ? undefined : new Date(completeTo),
    table: plan.table.name,
    from: new Date(plan.from),
    to: new Date(plan.to),
  };
}

/** The report without its dimensions: uniques do not add up, so totals are counted, not summed. */
export async function reportTotals(warehouse: Warehouse, options: ReportOptions): Promise<ReportRow> {
  const { orderBy: _order, ...rest } = options;
  const { rows } = await runReport(warehouse, { ...rest, groupBy: [], limit: 1 });
  return rows[0] ?? {};
}

/** The range of the same length that ends where the report's begins. */
export function previousPeriod({ from, to }: { from: Date; to: Date }): { from: Date; to: Date } {
  return { from: new Date(2 * from.getTime() - to.getTime()), to: from };
}

/** @throws InputError as {@link runReport}, without asking anything. */
export function checkReport(options: ReportOptions, maxRows: number): void {
  planReport(options, maxRows);
}

export interface ReportPlan {
  readonly sql: string;
  readonly params: QueryParams;
  readonly table: ReportTable;
  readonly metrics: readonly ReportMetric[];
  readonly from: number;
  readonly to: number;
  /** Finds the days of which the distinct are no numbers; '' for a report that reads no numbers. */
  readonly unsettledSql: string;
}

/** How the columns of a report are named and written. */
export interface ReportForm {
  /** The column of a dimension. */
  name(name: ReportDimension): string;
  /** Its value, which stands in `column`: an id's number, or text. */
  value(name: ReportDimension, column: string): string;
  metric(name: ReportMetric): string;
}
const PLAIN: ReportForm = { name: (name) => name, value: textSql, metric: metricSql };
/** For the keys of rows, which are compared with values. */
const KEYS: ReportForm = { ...PLAIN, value: (_name, column) => column };

/**
 * The query of a report. `unsettled`: the days whose distinct are merged from states, of {@link readUnsettledDays}; without
 * it those of every day are. @throws InputError as {@link runReport}.
 */
export function planReport(
  options: ReportOptions,
  maxRows: number,
  { form = PLAIN, unsettled }: { form?: ReportForm; unsettled?: UnsettledDays | undefined } = {},
): ReportPlan {
  const asked = checkedOptions(options, maxRows);
  const { groupBy, metrics, filters, zone } = asked;
  const table = chooseTable(options, asked);
  const from = Math.floor(options.from.getTime() / table.stepMs) * table.stepMs;
  const to = Math.ceil(options.to.getTime() / table.stepMs) * table.stepMs;
  const page = 'LIMIT {limit:UInt32} OFFSET {offset:UInt64}';
  const counted = rowsSql({ asked, table, uniques: NO_UNIQUES, within: '', form: KEYS });
  const settled = settledOf(asked, table, options.limit);
  const used = unsettled && settled;
  const rowsOfStates = used === undefined ? Number.POSITIVE_INFINITY : (unsettled?.rows ?? 0);
  const mergesStates = rowsOfStates > 0;
  const whole = { asked, table, uniques: table.uniques, settled: used, mergesStates, form };
  const sql =
    rowsOfStates > options.limit && uniquesArePaged(asked, options.limit)
      ? rowsSql({ ...whole, within: `SELECT ${groupBy.join(', ')} FROM (${counted} ${page})` })
      : `${rowsSql({ ...whole, within: '' })} ${page}`;
  const unsettledSql = settled === undefined ? '' : unsettledDaysSql(filters, table);
  const params = {
    from,
    to,
    zone,
    limit: options.limit,
    offset: options.offset ?? 0,
    ...(used && mergesStates && { unsettled: unsettled?.days }),
    ...filterParams(filters),
    ...(asked.eventName !== undefined && { event: asked.eventName }),
  };
  return { sql, params, table, metrics, from, to, unsettledSql };
}

export interface UnsettledDays {
  /** Their beginnings, Unix seconds. */
  readonly days: readonly number[];
  /** How many rows by day and campaign they have. */
  readonly rows: number;
}

/**
 * The days on which a row of the report is not settled; undefined for a report that reads no numbers, and on a cluster,
 * where there are none. To be read before the report: a query sees each table more than once, and not always as of one
 * moment (ClickHouse's enable_shared_storage_snapshot_in_query), so that each part of it would find another answer. A day
 * that gets a click after this has the distinct of the moment before.
 */
export async function readUnsettledDays(
  warehouse: Warehouse,
  { unsettledSql, params }: ReportPlan,
  limits: Readonly<Record<string, number>>,
): Promise<UnsettledDays | undefined> {
  if (unsettledSql === '' || warehouse.cluster !== '') return undefined;
  const { rows } = await warehouse.query<{ day: number; campaigns: string }>(unsettledSql, params, limits);
  return {
    days: rows.map(({ day }) => day),
    rows: rows.reduce((sum, { campaigns }) => sum + Number(campaigns), 0),
  };
}

function unsettledDaysSql(filters: readonly ReportFilter[], table: ReportTable): string {
  return `SELECT toUnixTimestamp(day) AS day, count() AS campaigns
    FROM (SELECT t.day AS day, ${IS_SETTLED} AS is_settled FROM ${table.name} AS t
      ${whereSql(filters, { ...table, unevenHours: false })}
      GROUP BY t.day, t.campaign_id)
    GROUP BY day HAVING min(is_settled) = 0`;
}

const UNIQUES: readonly string[] = ['unique_ips', 'unique_visitors'];

function hasUniques({ metrics }: Pick<Asked, 'metrics'>): boolean {
  return metrics.some((name) => UNIQUES.includes(name));
}

/** A page of fewer rows merges their states sooner than it finds out which days are settled. */
const MIN_ROWS_OF_NUMBERS = 1_000;

/** How the distinct are read as numbers, where they are wanted and the table has them for the rows of the report. */
function settledOf(asked: Asked, { settled }: ReportTable, limit: number): ReportTable['settled'] {
  if (!hasUniques(asked) || (limit < MIN_ROWS_OF_NUMBERS && uniquesArePaged(asked, limit))) return undefined;
  return settled?.by.every((name) => asked.groupBy.includes(name)) ? settled : undefined;
}

/**
 * Distinct visitors cost some twenty times what counts do. Where they do not decide the order, counts alone find the
 * rows of the page first, and the distinct are counted for these only. By times alone the page is everything, and where
 * states are those of today alone, there may be no more of them than the page has rows: of 30 days, 1,000 campaigns and
 * 10 million clicks 5,000 rows took 76 ms without that look instead of 99.
 */
function uniquesArePaged({ groupBy, metrics, orderBy }: Asked, limit: number): boolean {
  return (
    limit <= MAX_REPORT_ROWS &&
    hasUniques({ metrics }) &&
    groupBy.some((name) => dimensionKind(name) !== 'time') &&
    !sortColumns({ groupBy, metrics, orderBy }).some(({ by }) => UNIQUES.includes(by))
  );
}

/** Of the same type as the column: by its place in the table's order other days are not read. */
const UNSETTLED = "t.day IN {unsettled:Array(DateTime('UTC'))}";

/**
 * Every row of a report in its order. `uniques`: how the distinct are counted; `settled`: those that are numbers already,
 * so that they are counted for the days of the parameter `unsettled` alone, if it has any (`mergesStates`); `within`: a query of the keys to which the rows
 * are confined, or ''.
 */
function rowsSql(options: {
  asked: Asked;
  table: ReportTable;
  uniques: string;
  settled?: ReportTable['settled'];
  mergesStates?: boolean;
  within: string;
  form: ReportForm;
}): string {
  const { asked, table, uniques, settled, mergesStates = true, within, form } = options;
  const { groupBy, metrics, filters } = asked;
  const keyList = groupBy.map((name) => `k_${name}`);
  const grouped = keyList.length > 0 ? `GROUP BY ${keyList.join(', ')}` : '';
  const ofEvent = asked.eventName === undefined ? '' : 'AND t.event_name = {event:String}';
  const sourceOf = (of: ReportTable): Source => ({ ...of, unevenHours: asked.unevenHours });
  const select = (of: ReportTable, counts: string, from: string, only = ''): string => {
    const source = sourceOf(of);
    const keys = groupBy.map((name) => dimensionSql(name, source));
    return `SELECT ${[...keys.map((key, i) => `${key} AS ${keyList[i]}`), counts].join(', ')} FROM ${from}
     ${whereSql(filters, source)} ${of === ORDERS_TABLE ? ofEvent : ''} ${within === '' ? '' : `AND (${keys.join(', ')}) IN (${within})`} ${only} ${grouped}`;
  };
  const fromClicks = (counts: string, only?: string): string =>
    select(table, counts, `${table.name} AS t`, only);
  const clicksPart = (): string => {
    if (settled === undefined) return fromClicks(`${table.counts}, ${uniques}`);
    const numbers = `${table.counts}, ${settled.uniques}`;
    if (!mergesStates) return fromClicks(numbers);
    return `${fromClicks(numbers, `AND NOT (${UNSETTLED})`)} UNION ALL
      ${fromClicks(`${table.counts}, ${uniques}`, `AND ${UNSETTLED}`)}`;
  };
  const nothing = CONVERSION_COLUMNS.map((name) => `0 AS m_${name}`).join(', ');
  const ordersPart = () =>
    `SELECT ${[...keyList, `${ORDERS_TABLE.counts}, ${ORDERS_TABLE.uniques}`, ...CONVERSION_COLUMNS.map((name) => `m_${name}`), 'm_currencies'].join(', ')}
     FROM (${select(ORDERS_TABLE, CONVERSION_COUNTS, 'conversions AS t FINAL')})`;
  const bothParts = () =>
    `SELECT *, ${nothing}, emptyArrayString() AS m_currencies FROM (${clicksPart()}) UNION ALL ${ordersPart()}`;
  const source = !asked.conversions
    ? clicksPart()
    : table.name === ORDERS_TABLE.name
      ? ordersPart()
      : bothParts();
  // What has one part is grouped already, and by day each row is in one of the parts of clicks: summing single rows once
  // more took a twentieth of the query's time.
  const hasParts = asked.conversions;
  const total = (name: string): string => `${hasParts ? `sum(m_${name})` : `m_${name}`} AS s_${name}`;
  const totals = ['clicks', 'valid', ...UNIQUE_COLUMNS, ...(asked.conversions ? CONVERSION_COLUMNS : [])]
    .map(total)
    .concat(asked.conversions ? ['arraySort(groupUniqArrayArray(m_currencies)) AS s_currencies'] : []);
  return `SELECT ${[...groupBy.map((name) => `${form.value(name, `k_${name}`)} AS ${form.name(name)}`), ...metrics.map((name) => `${form.metric(name)} AS ${name}`)].join(', ')}
    FROM (SELECT ${[...keyList, ...totals].join(', ')} FROM (${source}) ${hasParts ? grouped : ''})
    ORDER BY ${sortColumns(asked)
      .map(({ by, descending }) => `${isReportDimension(by) ? `k_${by}` : by}${descending ? ' DESC' : ''}`)
      .join(', ')}`;
}

interface Asked {
  readonly groupBy: readonly ReportDimension[];
  readonly metrics: readonly ReportMetric[];
  readonly filters: readonly ReportFilter[];
  readonly orderBy: NonNullable<ReportOptions['orderBy']>;
  readonly zone: string;
  /** See {@link Source}. */
  readonly unevenHours: boolean;
  readonly eventName: string | undefined;
  /** Whether a metric needs the conversions. */
  readonly conversions: boolean;
}

function checkedOptions(options: ReportOptions, maxRows: number): Asked {
  const { limit } = options;
  if (!(options.from.getTime() < options.to.getTime())) throw new InputError('from', 'must be before "to"');
  if (!Number.isInteger(limit) || limit < 1 || limit > maxRows) {
    throw new InputError('limit', `must be a whole number from 1 to ${maxRows}`);
  }
  const zone = checkedZone(options.timeZone ?? 'UTC');
  const groupBy = [...new Set(options.groupBy)];
  if (!groupBy.every(isReportDimension)) {
    throw new InputError('groupBy', `must be among ${REPORT_DIMENSIONS.join(', ')}`);
  }
  const given = options.metrics ?? CLICK_METRICS;
  const hasMoney = given.some((name) => isReportMetric(name) && isMoney(name));
  const metrics = [...new Set<ReportMetric>(hasMoney ? [...given, 'currency'] : given)];
  if (metrics.length === 0 || !metrics.every(isReportMetric)) {
    throw new InputError('metrics', `must be among ${REPORT_METRICS.join(', ')}`);
  }
  const filters = options.filters ?? [];
  for (const filter of filters) checkFilter(filter);
  const orderBy = options.orderBy ?? [];
  const sortable = new Set<string>([...groupBy, ...metrics]);
  if (!orderBy.every(({ by }) => sortable.has(by))) {
    throw new InputError('orderBy', 'must be dimensions or metrics of the report');
  }
  const conversions = metrics.some(isOfConversions);
  const dimensions = [...groupBy, ...filters.map(({ dimension }) => dimension)];
  const foreign = dimensions.find((name) => !CONVERSION_DIMENSIONS.has(name));
  if (conversions && foreign !== undefined) {
    throw new InputError('metrics', `conversions cannot be grouped or filtered by ${foreign}`);
  }
  const ofOrders = dimensions.find((name) => OF_ORDERS_ALONE.has(name));
  const ofClicks = metrics.find(isOfClicks);
  if (ofOrders !== undefined && ofClicks !== undefined) {
    throw new InputError('metrics', `${ofClicks} cannot be grouped or filtered by ${ofOrders}`);
  }
  const unevenHours = groupBy.includes('hour') && partsOfHours(zone, options).size > 1;
  return { groupBy, metrics, filters, orderBy, zone, unevenHours, eventName: options.eventName, conversions };
}

function checkedZone(zone: string): string {
  const canonical = canonicalTimeZone(zone);
  if (canonical === undefined)
    throw new InputError('timeZone', 'must be an IANA time zone such as Europe/Berlin');
  return canonical;
}

function checkFilter({ dimension, values }: ReportFilter): void {
  if (!isReportDimension(dimension) || dimensionKind(dimension) === 'time') {
    throw new InputError('filters', 'must name dimensions other than times');
  }
  if (values.length === 0 || values.length > MAX_FILTER_VALUES) {
    throw new InputError('filters', `must have 1 to ${MAX_FILTER_VALUES} values`);
  }
  const isId = dimensionKind(dimension) === 'id';
  const fits = (value: string | number): boolean =>
    isId
      ? typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff
      : typeof value === 'string' && !value.includes('\0');
  if (!values.every(fits)) throw new InputError('filters', `has a value that ${dimension} cannot have`);
}

/** The smallest table that has every dimension and is fine enough for the range and the time zone's days. */
function chooseTable(options: ReportOptions, { groupBy, filters, zone }: Asked): ReportTable {
  const needed = [...groupBy, ...filters.map(({ dimension }) => dimension)];
  const timed = groupBy.some((name) => dimensionKind(name) === 'time');
  const isHour = (time: Date): boolean => time.getTime() % HOUR_MS === 0;
  // Totals are of the same range as the days that they stand beside.
  const fine = !hasWholeHours(zone, options) && (timed || !isHour(options.from) || !isHour(options.to));
  if (needed.some((name) => OF_ORDERS_ALONE.has(name))) {
    return { ...ORDERS_TABLE, stepMs: fine || groupBy.includes('minute') ? MINUTE_MS : HOUR_MS };
  }
  const wholeDays =
    [options.from, options.to].every((time) => time.getTime() % DAY_MS === 0) && (!timed || zone === 'UTC');
  const recent = options.from.getTime() > Date.now() - MINUTES_KEPT_MS;
  const table = CLICKS_TABLES.find(
    ({ name, time, has }) =>
      needed.every((dimension) => has.has(dimension)) &&
      !(fine && time === 'hour') &&
      (wholeDays || time !== 'day') &&
      (recent || name !== 'clicks_minutely'),
  );
  if (!table) throw new InputError('groupBy', 'no table has all of these dimensions');
  return table;
}

/**
 * By how many minutes the zone's hours begin after those of UTC within the range, each number once: half an hour may be
 * that of a part of the year only (Lord Howe Island). No zone has had another offset for less than a day.
 */
function partsOfHours(zone: string, { from, to }: { from: Date; to: Date }): ReadonlySet<number> {
  if (zone === 'UTC') return new Set([0]);
  const clock = new Intl.DateTimeFormat('en', { timeZone: zone, minute: 'numeric' });
  const partAt = (time: number): number =>
    (Number(clock.format(time)) - (Math.floor(time / MINUTE_MS) % 60) + 60) % 60;
  const parts = new Set([partAt(to.getTime())]);
  for (let time = from.getTime(); time < to.getTime(); time += DAY_MS) parts.add(partAt(time));
  return parts;
}

/** Whether hours and days of the zone begin with hours of UTC all the time. */
export function hasWholeHours(zone: string, range: { from: Date; to: Date }): boolean {
  return [...partsOfHours(zone, range)].every((part) => part === 0);
}

/** The rows of a table that a report counts. */
function whereSql(filters: readonly ReportFilter[], source: Source): string {
  return `WHERE t.${source.time} >= fromUnixTimestamp64Milli({from:Int64}) AND t.${source.time} < fromUnixTimestamp64Milli({to:Int64})
     ${whereFilters(filters, source)}`;
}

function whereFilters(filters: readonly ReportFilter[], source: Source): string {
  return filters
    .map(({ dimension, exclude }, i) => {
      const type = dimensionKind(dimension) === 'id' ? 'UInt32' : 'String';
      return `AND ${matchSql(dimension, source)} ${exclude ? 'NOT IN' : 'IN'} {filter${i}:Array(${type})}`;
    })
    .join(' ');
}

function filterParams(filters: readonly ReportFilter[]): QueryParams {
  return Object.fromEntries(filters.map(({ values }, i) => [`filter${i}`, values]));
}

/** Empty for a report of one row. */
export function sortColumns({
  groupBy,
  metrics,
  orderBy,
}: Pick<Asked, 'groupBy' | 'metrics' | 'orderBy'>): Asked['orderBy'] {
  const ascending = (by: ReportDimension) => ({ by, descending: false });
  const asked =
    orderBy.length > 0
      ? orderBy
      : [
          ...groupBy.filter((name) => dimensionKind(name) === 'time').map(ascending),
          ...metrics.slice(0, 1).map((by) => ({ by, descending: true })),
        ];
  // The rest makes the order of equals the same every time.
  return [...asked, ...groupBy.map(ascending)];
}

function numbersOf(row: ReportRow, metrics: readonly ReportMetric[]): ReportRow {
  const shown: Record<string, string | number | null> = { ...row };
  for (const name of metrics) {
    const value = row[name] ?? null;
    if (name === 'currency') continue;
    if (value === null) shown[name] = null;
    else shown[name] = isMoney(name) ? amountText(String(value), row) : exactNumber(value);
  }
  return shown;
}

/** Text where a number of JavaScript would be another one. */
function exactNumber(value: string | number): string | number {
  const number = Number(value);
  return Number.isInteger(number) && !Number.isSafeInteger(number) ? value : number;
}

/** With the digits of its currency at least: an amount per click has more. */
function amountText(decimal: string, { currency }: ReportRow): string {
  const [whole = '', fraction = ''] = decimal.split('.');
  const digits = currencyExponent(String(currency)) ?? 2;
  return fraction === '' && digits === 0 ? whole : `${whole}.${fraction.padEnd(digits, '0')}`;
}
