import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { fromProject } from '../core/config/paths.ts';

/** One line of a benchmark's table: names to figures with their unit in the name. */
export type BenchRow = Readonly<Record<string, string | number>>;

/** A figure that was aimed at. */
export interface BenchTarget {
  readonly name: string;
  readonly value: number;
  /** Such as "≥ 0.6". */
  readonly bound: string;
  readonly ok: boolean;
}

/** The end of a name of milliseconds: `p95_ms`, `p50 ms`, `redirect p99, ms`. */
export const TIME = /[_, ]+ms$/;

export function isTime(name: string): boolean {
  return TIME.test(name);
}

/** What a benchmark leaves in `.afflux/bench/<name>.json`, and `npm run bench:docs` makes docs/benchmarks.md of. */
export interface BenchResult {
  readonly name: string;
  /** How it was called. */
  readonly command: string;
  /** ISO 8601. */
  readonly date: string;
  readonly machine: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly rows: readonly BenchRow[];
  readonly targets: readonly BenchTarget[];
  /** What has to be known to read the figures, a sentence or two each. */
  readonly notes?: readonly string[];
}

/** Where results lie. */
export const RESULTS_FOLDER = '.afflux/bench';
const GIGABYTE = 1024 ** 3;

/** `value ≥ bound` as a target. */
export function atLeast(name: string, value: number, bound: number): BenchTarget {
  return { name, value: round(value), bound: `≥ ${bound}`, ok: value >= bound };
}

/** `value ≤ bound` as a target. */
export function atMost(name: string, value: number, bound: number): BenchTarget {
  return { name, value: round(value), bound: `≤ ${bound}`, ok: value <= bound };
}

/** A difference, in either direction, that must not be. */
export function none(name: string, value: number): BenchTarget {
  return { name, value, bound: '= 0', ok: value === 0 };
}

/** Four significant digits: what a benchmark on a shared machine can claim. */
export function round(value: number): number {
  return Number(value.toPrecision(4));
}

/** Prints the table and the targets, and writes `<folder>/<name>.json` with machine, versions and date. */
export function report(options: {
  name: string;
  /** Of package.json; by default `bench:<name>`. */
  script?: string;
  versions: Readonly<Record<string, string>>;
  rows: readonly BenchRow[];
  targets: readonly BenchTarget[];
  notes?: readonly string[];
  /** By default {@link RESULTS_FOLDER}. */
  folder?: string;
}): void {
  const {
    name,
    script = `bench:${name}`,
    rows,
    targets,
    notes,
    folder = fromProject(RESULTS_FOLDER),
  } = options;
  mkdirSync(folder, { recursive: true });
  const result: BenchResult = {
    name,
    command: [`npm run ${script}`, ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(
      ' ',
    ),
    date: new Date().toISOString(),
    machine: describeMachine(),
    versions: { node: process.version, ...options.versions },
    rows,
    targets,
    ...(notes && { notes }),
  };
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(result, null, 2)}\n`);
  printTables(rows, targets);
}

/** Prints figures and what was aimed at. */
export function printTables(rows: readonly BenchRow[], targets: readonly BenchTarget[]): void {
  process.stdout.write(
    `\n${table(rows)}\n\n${table(targets.map((target) => ({ ...target, ok: target.ok ? 'met' : 'MISSED' })))}\n`,
  );
}

function describeMachine(): string {
  const model = /^model name\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown';
  return `${cpus().length} × ${model}, ${Math.round(totalmem() / GIGABYTE)} GiB`;
}

/** Rows under their names, in columns. */
export function table(rows: readonly Readonly<Record<string, string | number>>[]): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cells = [names, ...rows.map((row) => names.map((name) => String(row[name] ?? '')))];
  const widths = names.map((_, column) => Math.max(...cells.map((line) => line[column]?.length ?? 0)));
  return cells
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
