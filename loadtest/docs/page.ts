import type { BenchResult, BenchRow, BenchTarget } from '../bench.ts';

/** The page docs/benchmarks.md and its pictures, made of results and of nothing else. */

const INTRODUCTION = `# Benchmarks

Made by \`npm run bench:docs\` from the results in [benchmarks/](benchmarks), which the commands below wrote. Absolute figures hold for the machine that is named; load generator and servers share its cores. A goal that was missed says so; the causes stand in the page of the part: [README](../README.md) for the collector, [warehouse](warehouse.md), [money](money.md) and [attribution](attribution.md), [API](api.md).
`;

/** The order of the page; what is not named follows by its name. */
const ORDER = ['collector', 'peers', 'pipeline', 'warehouse', 'reports', 'attribution', 'api'];

export function sorted(results: readonly BenchResult[]): BenchResult[] {
  const place = ({ name }: BenchResult): number =>
    (ORDER.indexOf(name) + ORDER.length + 1) % (ORDER.length + 1);
  return results.toSorted((a, b) => place(a) - place(b) || a.name.localeCompare(b.name));
}

export function page(results: readonly BenchResult[]): string {
  return [INTRODUCTION, ...sorted(results).map(section)].join('\n');
}

function section({ name, command, date, machine, versions, rows, targets, notes = [] }: BenchResult): string {
  const software = Object.entries(versions).map(([what, version]) => `${what} ${version}`);
  return `## ${name}

\`${command}\`, ${date.slice(0, 10)}, ${machine}; ${software.join(', ')}.

![Goals of ${name}](benchmarks/${name}.svg)

${[table(targets.map(targetRow)), table(rows), ...notes].join('\n\n')}
`;
}

function targetRow({ name, value, bound, ok }: BenchTarget): BenchRow {
  return { goal: name, reached: value, bound, '': ok ? 'met' : '**missed**' };
}

function table(rows: readonly BenchRow[]): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [
    line(names),
    line(names.map(() => '---')),
    ...rows.map((row) => line(names.map((name) => String(row[name] ?? '').replaceAll('|', '\\|')))),
  ].join('\n');
}

const ROW_HEIGHT = 26;
const LABEL_WIDTH = 330;
const BAR_WIDTH = 300;
/** Where a bar that just reaches its goal ends. */
const GOAL_AT = BAR_WIDTH / 2;
const WIDTH = LABEL_WIDTH + BAR_WIDTH + 110;
const GOOD = '#2e7d4f';
const BAD = '#b3422f';

/** Every goal as a bar: what was reached over the bound, the bound itself a line in the middle. */
export function chart({ name, targets }: BenchResult): string {
  const bars = targets.map((target, i) => bar(target, i * ROW_HEIGHT)).join('');
  const height = targets.length * ROW_HEIGHT + 8;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="13" role="img" aria-label="Goals of ${escaped(name)}">
<rect width="100%" height="100%" fill="#ffffff"/>${bars}
<line x1="${LABEL_WIDTH + GOAL_AT}" x2="${LABEL_WIDTH + GOAL_AT}" y1="0" y2="${height}" stroke="#333333" stroke-dasharray="3 3"/>
</svg>
`;
}

function bar({ name, value, bound, ok }: BenchTarget, y: number): string {
  const limit = Number(bound.replace(/[^\d.]/g, ''));
  // A bound of nothing is reached by nothing.
  const share = limit === 0 ? (value === 0 ? 1 : 2) : value / limit;
  const width = Math.max(2, Math.min(BAR_WIDTH, share * GOAL_AT));
  return `
<text x="${LABEL_WIDTH - 8}" y="${y + 20}" text-anchor="end" fill="#222222">${escaped(name)} ${escaped(bound)}</text>
<rect x="${LABEL_WIDTH}" y="${y + 7}" width="${width.toFixed(1)}" height="17" fill="${ok ? GOOD : BAD}"/>
<text x="${LABEL_WIDTH + BAR_WIDTH + 8}" y="${y + 20}" fill="#222222">${value}${ok ? '' : ', missed'}</text>`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
