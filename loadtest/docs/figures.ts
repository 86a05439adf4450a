import type { BenchResult, BenchRow } from '../bench.ts';

/** Single figures out of published results, and how they are written in a text. */

/** @throws Error when there is none of this name. */
export function resultOf(results: readonly BenchResult[], name: string): BenchResult {
  const result = results.find((one) => one.name === name);
  if (!result) throw new Error(`docs/benchmarks has no ${name}.json`);
  return result;
}

/** The number in a column of the first row whose columns are as `where` says. @throws Error that names what is missing. */
export function figure(
  results: readonly BenchResult[],
  name: string,
  where: Readonly<Record<string, string | number | RegExp>>,
  field: string,
): number {
  const fits = (row: BenchRow): boolean =>
    Object.entries(where).every(([key, wanted]) =>
      wanted instanceof RegExp ? wanted.test(String(row[key])) : row[key] === wanted,
    );
  const value = resultOf(results, name).rows.find(fits)?.[field];
  if (typeof value !== 'number')
    throw new Error(`${name}.json has no ${field} where ${Object.values(where)}`);
  return value;
}

/** What was reached of a goal. @throws Error that names what is missing. */
export function target(results: readonly BenchResult[], name: string, goal: string): number {
  const found = resultOf(results, name).targets.find((one) => one.name === goal);
  if (!found) throw new Error(`${name}.json has no goal "${goal}"`);
  return found.value;
}

/** Three digits, without a fraction: 12,300. */
export function whole(value: number): string {
  return Math.round(Number(value.toPrecision(3))).toLocaleString('en-US');
}

/** Three digits. */
export function round3(value: number): number {
  return Number(value.toPrecision(3));
}
