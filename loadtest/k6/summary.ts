import { type RunFile, runName, TOTALS, type Total } from '../traffic/run.ts';
import type { Settings } from './settings.ts';

/** The part of k6's summary that is read here. */
export interface Summary {
  readonly metrics: Readonly<
    Record<
      string,
      | {
          readonly values: Readonly<Record<string, number>>;
          readonly thresholds?: Readonly<Record<string, { readonly ok: boolean }>>;
        }
      | undefined
    >
  >;
}

/** Writes the run's file, for `npm run load -- reconcile`, and a table of the limits to the terminal. */
export function summarize(
  summary: Summary,
  { seed, runFile }: Settings,
  more: readonly string[] = [],
): Record<string, string> {
  const totals = Object.fromEntries(TOTALS.map((total) => [total, figureOf(summary, total, 'count')]));
  const startedAt = figureOf(summary, 'started_at', 'value');
  const file: RunFile = { run: runName(startedAt), startedAt, seed, totals: totals as Record<Total, number> };
  const limits = Object.keys(summary.metrics).flatMap((name) => {
    const { thresholds = {}, values = {} } = summary.metrics[name] ?? {};
    return Object.keys(thresholds).map((bound) => {
      const value = values[bound.split(/[<>=]/)[0] ?? ''] ?? 0;
      return `${thresholds[bound]?.ok ? 'met   ' : 'MISSED'} ${name} ${bound}: ${Number(value.toPrecision(4))}`;
    });
  });
  const lines = [
    ...limits,
    ...more,
    `${file.run}: ${file.totals.clicks} redirects and ${file.totals.orders} orders received`,
    `next: npm run load -- reconcile --run ${runFile}`,
  ];
  return { stdout: `${lines.join('\n')}\n`, [runFile]: `${JSON.stringify(file, null, 2)}\n` };
}

/** 0 where nothing was counted. */
export function figureOf({ metrics }: Summary, metric: string, value: string): number {
  return metrics[metric]?.values[value] ?? 0;
}
