import { TIME_ZONE } from '../text/format.ts';
import { api, type Schemas, take } from './api.ts';
import { daysOf, type Range } from './period.ts';

/** Reading reports: figures by name, days without a row as zero. */

type Row = Schemas['Report']['rows'][number];

export function figure(row: Row | undefined, name: string): number {
  return Number(row?.[name] ?? 0);
}

/** A rate or an amount per click, which there is none of without clicks. */
export function ratio(row: Row | undefined, name: string): number | undefined {
  const value = row?.[name] ?? undefined;
  return value === undefined ? undefined : Number(value);
}

export interface Trend {
  readonly report: Schemas['Report'];
  readonly days: readonly string[];
  /** A metric by day. */
  readonly course: (metric: string) => number[];
  readonly total: (metric: string) => number;
  readonly before: (metric: string) => number;
  /** Undefined where there is nothing to divide by. */
  readonly ratio: (metric: string) => number | undefined;
}

/** Rows of a report by the id of what they are of. */
export interface FiguresById {
  readonly completeTo: string | null;
  readonly of: (id: string) => Row | undefined;
}

/** Figures of a range for each link or campaign, beside a list of these. */
export async function readById(
  options: { range: Range; by: 'link' | 'campaign'; metrics: readonly string[]; program?: string },
  signal: AbortSignal,
): Promise<FiguresById> {
  const { range, by, metrics, program } = options;
  const query = {
    ...range,
    time_zone: TIME_ZONE,
    group_by: by,
    metrics: metrics.join(','),
    program_id: program,
  };
  const report = await take(api.GET('/v1/reports', { params: { query }, signal }));
  const rows = new Map(report.rows.map((row) => [String(row[`${by}_id`]), row]));
  return { completeTo: report.complete_to, of: (id) => rows.get(id) };
}

/** `complete_to` for figures that come without it: to be read before them, so that they hold everything it covers. */
export async function readCompleteTo(signal: AbortSignal): Promise<string | null> {
  return (await take(api.GET('/v1/freshness', { signal }))).complete_to;
}

/** Totals of a range by day, with those of the period before. */
export async function readTrend(
  options: { range: Range; metrics: readonly string[]; program: string; filter?: Record<string, string> },
  signal: AbortSignal,
): Promise<Trend> {
  const { range, metrics, program, filter } = options;
  const query = {
    ...range,
    time_zone: TIME_ZONE,
    group_by: 'day',
    metrics: metrics.join(','),
    program_id: program,
    totals: true as const,
    compare: true as const,
    ...filter,
  };
  const report = await take(api.GET('/v1/reports', { params: { query }, signal }));
  const byDay = new Map(report.rows.map((row) => [String(row.day), row]));
  const days = daysOf(range);
  return {
    report,
    days,
    course: (metric) => days.map((day) => figure(byDay.get(day), metric)),
    total: (metric) => figure(report.totals, metric),
    before: (metric) => figure(report.previous?.totals, metric),
    ratio: (metric) => ratio(report.totals, metric),
  };
}
