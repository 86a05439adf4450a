import { UNUSUAL_EXPONENTS } from '../../core/money.ts';

/**
 * Pieces that the queries on ClickHouse are made of. Two facts shape them. A rollup's hour belongs to a range that
 * begins within it, so ranges begin at the start of an hour. And a DateTime64 sort key is compared with milliseconds,
 * because ClickHouse 26.7 leaves out rows when it is compared with a DateTime.
 */

/** The dashboards' variables that filter. */
export type Filter = 'program' | 'campaign' | 'affiliate' | 'country' | 'device';

/**
 * Ids that are no numbers match nothing, instead of failing the query. A subquery, because the primary key is used with
 * it and not with an array that a function makes.
 */
const isOneOf = (column: string, variable: Filter): string =>
  `${column} IN (SELECT toUInt32OrZero(arrayJoin([\${${variable}:singlequote}])))`;

/** The ids that a variable chooses, as an array. */
export const idsOf = (variable: Filter): string =>
  `arrayMap(id -> toUInt32OrZero(id), [\${${variable}:singlequote}])`;

/** What each variable asks of a row, whatever it is set to. */
export const CONDITIONS: Readonly<Record<Filter, string>> = {
  program: isOneOf('program_id', 'program'),
  campaign: isOneOf('campaign_id', 'campaign'),
  affiliate: isOneOf('affiliate_id', 'affiliate'),
  country: `toString(country) IN (\${country:singlequote})`,
  device: `toString(device) IN (\${device:singlequote})`,
};

/** What the variables at the top choose; a variable at All leaves no condition. */
export function chosen(...filters: readonly Filter[]): string {
  return filters.map((filter) => `$__conditionalAll(${CONDITIONS[filter]}, $${filter})`).join('\n  AND ');
}

/** What stands in a query on PostgreSQL for a variable at All; ClickHouse's queries lose the condition instead. */
export const ALL_IN_LEDGER = `'*'`;

/** The variables that the ledger's views know. */
export type LedgerFilter = 'program' | 'campaign' | 'affiliate';

/** What the variables choose in a query on the ledger's views. */
export function chosenInLedger(...filters: readonly LedgerFilter[]): string {
  return filters
    .map(
      (filter) =>
        `(${ALL_IN_LEDGER} IN (\${${filter}:sqlstring}) OR ${filter}_id::text IN (\${${filter}:sqlstring}))`,
    )
    .join('\n  AND ');
}

/** Rows of the hourly rollups within the dashboard's range. */
export const HOURS_IN_RANGE = 'hour >= toStartOfHour($__fromTime) AND hour <= $__toTime';
/** Rows of the rollup by minute within the dashboard's range. */
export const MINUTES_IN_RANGE = 'minute >= toStartOfMinute($__fromTime) AND minute <= $__toTime';
/** Conversions by the time of the order. */
export const ORDERS_IN_RANGE = '$__timeFilter_ms(occurred_at)';

/** The range and the one of equal length before it; {@link period} tells them apart. */
const RANGE_START = 'toStartOfHour($__fromTime)';
const PREVIOUS_START = `(${RANGE_START} - ($__toTime - ${RANGE_START}))`;
export const HOURS_IN_BOTH = `hour >= ${PREVIOUS_START} AND hour <= $__toTime`;
export const ORDERS_IN_BOTH = `occurred_at >= toDateTime64(${PREVIOUS_START}, 3) AND occurred_at <= $__toTime_ms`;
/** The start of the range a row belongs to, for `time` being its column. */
export const period = (time: 'hour' | 'occurred_at'): string =>
  `if(toDateTime(${time}) >= ${RANGE_START}, ${RANGE_START}, ${PREVIOUS_START})`;

/**
 * The range before and this one, a row each, also when there is nothing in one of them: without its row the other's value
 * would be taken for it. `inner` gives `period` and a value `v`, and with `by` a text of that name for each series.
 */
export function bothPeriods(inner: string, options: { as: string; by?: string }): string {
  const { as, by } = options;
  const pairs = [PREVIOUS_START, RANGE_START].map((at) => `(${at}, sumIf(v, period = ${at}))`);
  return `
SELECT pair.1 AS time, ${by ? `${by}, ` : ''}pair.2 AS "${as}"
FROM (
  SELECT ${by ? `${by}, ` : ''}arrayJoin([${pairs.join(', ')}]) AS pair
  FROM (${inner}
  )${by ? `\n  GROUP BY ${by}` : ''}
)
ORDER BY time${by ? `, ${by}` : ''}`;
}

/** A filter that people add by hand holds in these tables. */
export function adHoc(...tables: readonly string[]): string {
  return `SETTINGS $__adHocFilters(${tables.map((table) => `'${table}'`).join(', ')})`;
}

/** Clicks without the pixel's loads, and those that count for an affiliate. */
export const ALL_CLICKS = `sumIf(t.clicks, flag_group != 'impression')`;
export const VALID_CLICKS = `sumIf(t.clicks, flag_group IN ('ok', 'repeat'))`;

/** The figures of docs/glossary.md: credited conversions, what refunds left of their orders, and what was earned by them. */
export const CREDITED = `state IN ('attributed', 'partially_refunded')`;
export const REVENUE = major(
  `sumIf(amount_minor - refunded_minor, state IN ('attributed', 'partially_refunded', 'refunded'))`,
);
export const COMMISSION = major('sum(commission_minor)');
/** A rate or an amount per valid click: none without clicks. */
export const perClick = (figure: string, valid: string): string =>
  `if(${valid} = 0, NULL, ${figure} / ${valid})`;

/** Minor units as units of their currency. */
export function major(minor: string, currency = 'currency'): string {
  const cases = [0, 3, 4].map((exponent) => {
    const currencies = [...UNUSUAL_EXPONENTS].filter(([, e]) => e === exponent).map(([code]) => `'${code}'`);
    return `${currency} IN (${currencies.join(', ')}), ${10 ** exponent}`;
  });
  return `toFloat64(${minor}) / multiIf(${cases.join(', ')}, 100)`;
}

/** What ids are called; something without a name is called by its id. */
export type Named = 'program' | 'campaign' | 'affiliate' | 'link';

/** Names as a table to be joined: `id`, `name`. */
export const namesOf = (kind: Named): string => `(SELECT id, name FROM names FINAL WHERE kind = '${kind}')`;
/** The name of the table joined as `n`, else the id. */
export const nameOr = (id: string): string => `if(n.name = '', toString(${id}), n.name)`;

/** The rows of `inner`, which has an `id`, as `c`, with what the ids are called before its `columns`. */
export function withNames(options: {
  readonly kind: Named;
  /** The column with the name. */
  readonly as: string;
  readonly inner: string;
  readonly columns: string;
  readonly orderBy: string;
  readonly join?: string;
}): string {
  const { kind, as, inner, columns, orderBy, join = '' } = options;
  return `
SELECT ${nameOr('c.id')} AS ${as}, c.id AS ID, ${columns}
FROM (${inner}
) AS c${join}
LEFT JOIN ${namesOf(kind)} AS n ON n.id = c.id
ORDER BY ${orderBy}, ID`;
}

/** Every click before it is counted. */
export const WATERMARK = `SELECT min(at) FROM (SELECT max(complete_to) AS at FROM watermarks GROUP BY shard)`;

/** `minutes` before now, exactly. */
export const minutesAgo = (minutes: number): string =>
  `fromUnixTimestamp64Milli(toUnixTimestamp64Milli(now64(3)) - ${minutes * 60_000})`;
