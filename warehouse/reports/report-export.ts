import { Readable } from 'node:stream';
import { MINUTE_MS } from '../../core/time.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { readWatermark } from '../watermark/watermark.ts';
import { dimensionKind, exactMetricSql, idPrefix, type ReportDimension } from './report-tables.ts';
import {
  EXPORT_LIMITS,
  hasWholeHours,
  planReport,
  type ReportForm,
  type ReportOptions,
  type ReportPlan,
  readUnsettledDays,
  sortColumns,
} from './reports.ts';

/** Rows of an export that cannot be made in pieces; one with more fails. */
export const MAX_EXPORT_ROWS = 5_000_000;
export const EXPORT_FORMATS = { csv: 'CSVWithNames', arrow: 'ArrowStream', parquet: 'Parquet' } as const;
export type ExportFormat = keyof typeof EXPORT_FORMATS;

/** Rows of the table that one piece is made of: a second of work, and some 100 MB in the engine. */
const PIECE_ROWS = 250_000;

const SETTINGS = {
  ...EXPORT_LIMITS.operator,
  output_format_arrow_string_as_string: 1,
  output_format_arrow_low_cardinality_as_dictionary: 1,
  format_csv_null_representation: '',
  output_format_arrow_compression_method: 'none',
} as const;

export interface ReportExport {
  readonly stream: Readable;
  /** The table that answered. */
  readonly table: string;
  readonly completeTo: Date | undefined;
}

/**
 * A report as a stream of bytes, made while it is read: CSV with a header, an Arrow stream, or Parquet. CSV in the order
 * of hours or minutes is made one piece of time after the other, so that no limit of time or memory ends it.
 * @throws InputError as runReport; OperatingError `clickhouse_refused`, perhaps while it is read, of more rows than `limit`.
 */
export async function exportReport(
  warehouse: Warehouse,
  options: ReportOptions & {
    format: ExportFormat;
    /** For tests; by default {@link PIECE_ROWS}. */
    pieceRows?: number;
  },
): Promise<ReportExport> {
  const { format, pieceRows = PIECE_ROWS } = options;
  // One row more than there may be, so that the engine refuses what a limit would cut off without a word.
  const asked = { ...options, limit: options.limit + 1 };
  const form = formOf(format);
  const checked = planReport(asked, MAX_EXPORT_ROWS + 1, { form });
  const limits = EXPORT_LIMITS[options.role ?? 'operator'];
  const settings = {
    ...SETTINGS,
    ...limits,
    max_result_rows: options.limit,
    result_overflow_mode: 'throw',
  };
  const completeTo = await readWatermark(warehouse);
  const unsettled = await readUnsettledDays(warehouse, checked, limits);
  const plan = planReport(asked, MAX_EXPORT_ROWS + 1, { form, unsettled });
  const step = format === 'csv' ? stepOf(options, plan) : undefined;
  const pieces = step ? await piecesOf(warehouse, plan, { step, rows: pieceRows }) : [plan];
  const [first = plan, ...rest] = pieces;
  const label = format === 'arrow' ? await zoneName(warehouse, options.timeZone ?? 'UTC') : 'UTC';
  const open = (piece: Range, how: string) =>
    warehouse.stream(plan.sql, {
      format: how,
      params: { ...plan.params, from: piece.from, to: piece.to, label },
      settings,
    });
  const head = await open(first, EXPORT_FORMATS[format]);
  async function* all() {
    yield* head;
    for (const piece of rest) yield* await open(piece, 'CSV');
  }
  return {
    stream: rest.length === 0 ? head : Readable.from(all(), { objectMode: false }),
    table: plan.table.name,
    completeTo: completeTo === undefined ? undefined : new Date(completeTo),
  };
}

/** As the caller names it: Node.js knows many zones by former names, such as Asia/Calcutta, and readers of files do not. */
async function zoneName(warehouse: Warehouse, zone: string): Promise<string> {
  const { rows } = await warehouse.query<{ time_zone: string }>(
    'SELECT time_zone FROM system.time_zones WHERE lower(time_zone) = lower({zone:String})',
    { zone },
    SETTINGS,
  );
  return rows[0]?.time_zone ?? 'UTC';
}

/** Half-open, Unix milliseconds. */
interface Range {
  readonly from: number;
  readonly to: number;
}

const STEPS = { minute: MINUTE_MS, hour: 60 * MINUTE_MS } as const;

/**
 * The step of time of each row, for rows in the order of time: a piece of whole steps has complete rows. Undefined for
 * any other order, and where hours do not begin with those of UTC.
 */
function stepOf(options: ReportOptions, { metrics }: ReportPlan): keyof typeof STEPS | undefined {
  const { groupBy, timeZone = 'UTC' } = options;
  const step = (['minute', 'hour'] as const).find((name) => groupBy.includes(name));
  if (step === undefined || (step === 'hour' && !hasWholeHours(timeZone, options))) return undefined;
  const columns = sortColumns({ groupBy, metrics, orderBy: options.orderBy ?? [] });
  const before = columns.slice(0, columns.findIndex(({ by }) => by === step) + 1);
  const inOrder = before.every(
    ({ by, descending }) => !descending && dimensionKind(by as ReportDimension) === 'time',
  );
  return inOrder ? step : undefined;
}

/** The range in pieces of whole steps, each with about `rows` rows of the table if these are spread evenly. */
async function piecesOf(
  warehouse: Warehouse,
  { table, from, to }: ReportPlan,
  { step, rows }: { step: keyof typeof STEPS; rows: number },
): Promise<Range[]> {
  const counted = await warehouse.query<{ n: string }>(
    `SELECT count() AS n FROM ${table.name} AS t
     WHERE t.${table.time} >= fromUnixTimestamp64Milli({from:Int64}) AND t.${table.time} < fromUnixTimestamp64Milli({to:Int64})`,
    { from, to },
    SETTINGS,
  );
  const stepMs = STEPS[step];
  const count = Math.min((to - from) / stepMs, Math.ceil(Number(counted.rows[0]?.n ?? 0) / rows));
  const starts = Array.from(
    { length: Math.max(1, Math.ceil(count)) },
    (_, i) => Math.floor((from + (i * (to - from)) / count) / stepMs) * stepMs,
  );
  const bounds = [from, ...new Set(starts.filter((start) => start > from)), to];
  return bounds.slice(1).map((end, i) => ({ from: bounds[i] ?? from, to: end }));
}

/**
 * Ids have the names and the text that they have in JSON; times are text in CSV only, and no amount is a float. In Arrow
 * texts are dictionaries: the same few names stand in thousands of rows.
 */
function formOf(format: ExportFormat): ReportForm {
  const text = (sql: string): string => (format === 'arrow' ? `CAST(${sql} AS LowCardinality(String))` : sql);
  return {
    name: (name) => (dimensionKind(name) === 'id' ? `${name}_id` : name),
    value(name, column) {
      const kind = dimensionKind(name);
      if (kind === 'id') return text(`concat('${idPrefix(name)}_', toString(${column}))`);
      if (format === 'csv') return kind === 'text' ? withoutFormula(column) : column;
      return TYPED[name]?.(column) ?? text(column);
    },
    metric: (name) => (name === 'currency' ? text(exactMetricSql(name)) : exactMetricSql(name)),
  };
}

const instant = (column: string): string =>
  `toTimeZone(parseDateTime64BestEffort(${column}, 3, 'UTC'), {label:String})`;
const date = (column: string): string => `toDate32(${column})`;
/**
 * Times of Arrow and Parquet: timestamps in the report's zone (Parquet knows no zones: in UTC), and dates; a month is its
 * first day.
 */
const TYPED: { readonly [name in ReportDimension]?: (column: string) => string } = {
  minute: instant,
  hour: instant,
  day: date,
  week: date,
  month: (column) => date(`concat(${column}, '-01')`),
};

/** Spreadsheets execute a cell that begins like this, and visitors choose its content. An apostrophe makes it text. */
function withoutFormula(column: string): string {
  return `if(match(${column}, '^[=+@\\t\\r\\n-]'), concat('\\'', ${column}), ${column})`;
}
