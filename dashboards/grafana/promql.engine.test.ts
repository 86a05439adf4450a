import { tmpdir } from 'node:os';
import { parser } from '@prometheus-io/lezer-promql';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createApiMetrics } from '../../api/http/metrics.ts';
import { registerAttributionMetrics } from '../../attribution/metrics.ts';
import { observeCommits, registerCollectorMetrics } from '../../collector/metrics.ts';
import type { Running } from '../../core/service/service.ts';
import { createMetrics } from '../../core/service/service.ts';
import { startMirror } from '../../scheduler/mirror.ts';
import { startPlatformMetrics } from '../../scheduler/platform-metrics.ts';
import { freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import { freshWarehouse, quietLog } from '../../test/support/warehouse.ts';
import { reportBrokenProjections } from '../../warehouse/clickhouse/broken-projections.ts';
import { createLoaderMetrics } from '../../warehouse/loader/metrics.ts';
import { ALERT_GROUPS } from './alerts.ts';
import { allBoards } from './boards/index.ts';
import { PROMETHEUS } from './data-source-ids.ts';

/** No Prometheus runs here: each expression must be PromQL, and name what the processes' own registries export. */

/** Name → labels, of all processes. */
const exported = new Map<string, ReadonlySet<string>>();
/** What Prometheus adds to every series of its targets. */
const OF_TARGETS = ['job', 'instance', 'process'];
let books: TestLedger;
let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
let mirror: Running;
let platform: Running;

beforeAll(async () => {
  [books, warehouse] = await Promise.all([freshLedger({ max: 2 }), freshWarehouse()]);
  const registry = createMetrics();
  createLoaderMetrics(registry);
  reportBrokenProjections({ metrics: registry, log: quietLog });
  createApiMetrics(registry);
  registerAttributionMetrics(registry, { decided: {}, postponed: 0, failed: 0 } as never);
  mirror = startMirror({ ledger: books.ledger, warehouse, metrics: registry, log: quietLog });
  platform = startPlatformMetrics({
    ledger: books.ledger,
    warehouse,
    home: tmpdir(),
    metrics: registry,
    log: quietLog,
  });
  // Only registered: nothing reads what they would count.
  registerCollectorMetrics({ registry, committer: { stats: {} } } as never);
  observeCommits(registry);
  for (const metric of registry.getMetricsAsArray()) addMetric(metric as unknown as Metric);
  exported.set('up', new Set(OF_TARGETS));
});
afterAll(async () => {
  await Promise.all([mirror?.stop(), platform?.stop()]);
  await Promise.all([books?.close(), warehouse?.drop()]);
});

interface Metric {
  readonly name: string;
  readonly type?: string;
  readonly labelNames: readonly string[];
  readonly buckets?: unknown;
}

function addMetric({ name, labelNames, buckets }: Metric): void {
  const labels = [...labelNames, ...OF_TARGETS];
  if (buckets === undefined) {
    exported.set(name, new Set(labels));
    return;
  }
  exported.set(`${name}_bucket`, new Set([...labels, 'le']));
  exported.set(`${name}_sum`, new Set(labels));
  exported.set(`${name}_count`, new Set(labels));
}

interface Parsed {
  readonly metrics: readonly string[];
  readonly labels: readonly string[];
}

/** What an expression names. @throws Error where it is no PromQL. */
function parsePromql(expr: string): Parsed {
  const text = expr.replaceAll('$__rate_interval', '5m');
  const metrics: string[] = [];
  const labels: string[] = [];
  parser.parse(text).iterate({
    enter(node) {
      const own = text.slice(node.from, node.to);
      if (node.type.isError) throw new Error(`no PromQL at ${node.from}: ${text}`);
      if (node.name === 'Identifier' && node.node.parent?.name === 'VectorSelector') metrics.push(own);
      if (node.name === 'LabelName') labels.push(own);
    },
  });
  return { metrics, labels };
}

interface Asked {
  readonly where: string;
  readonly expr: string;
  readonly legend: string;
}

const PANELS: Asked[] = allBoards().flatMap((board) =>
  (board.panels ?? []).flatMap((panel) =>
    (('targets' in panel ? panel.targets : undefined) ?? [])
      .map(
        (target) => target as unknown as { datasource: { uid: string }; expr: string; legendFormat: string },
      )
      .filter(({ datasource }) => datasource.uid === PROMETHEUS.uid)
      .map(({ expr, legendFormat }) => ({
        where: `${board.title}: ${panel.title}`,
        expr,
        legend: legendFormat,
      })),
  ),
);
const ANNOTATIONS: Asked[] = allBoards().flatMap((board) =>
  (board.annotations?.list ?? [])
    .filter(({ expr }) => expr !== undefined)
    .map(({ name, expr = '', titleFormat = '' }) => ({
      where: `${board.title}: ${name}`,
      expr,
      legend: titleFormat,
    })),
);
const ALERTS: Asked[] = ALERT_GROUPS.flatMap(({ alerts }) => alerts).flatMap(({ uid, question, summary }) =>
  question.store === 'prometheus'
    ? [
        {
          where: `alert ${uid}`,
          expr: question.expr,
          legend: summary.replace(/\$labels\./g, '').replace(/\{\{ \$values.A \}\}/g, ''),
        },
      ]
    : [],
);

/** The conditions of alerts over SQL as metrics say them. */
const METRICS: Asked[] = ALERT_GROUPS.flatMap(({ alerts }) => alerts).flatMap(({ uid, metric }) =>
  metric === undefined ? [] : [{ where: `alert ${uid} by metrics`, expr: metric, legend: '' }],
);

test.each([...PANELS, ...ANNOTATIONS, ...ALERTS, ...METRICS])('$where: $expr', ({ expr, legend }) => {
  const { metrics, labels } = parsePromql(expr);
  expect(metrics.length).toBeGreaterThan(0);
  for (const metric of metrics) {
    expect(exported.has(metric), `${metric} is exported by a process`).toBe(true);
    for (const label of labels) expect(exported.get(metric), `label ${label} of ${metric}`).toContain(label);
  }
  const aggregated = /\b(?:sum|max|count)\b/.test(expr);
  const by = new Set(
    [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list]) => (list ?? '').split(/, ?/)),
  );
  for (const [, name = ''] of legend.matchAll(/\{\{\s*(\w+)\s*\}\}/g)) {
    expect(aggregated ? by : exported.get(metrics[0] ?? ''), `{{${name}}}`).toContain(name);
  }
});

test('every panel over Prometheus asks something, and rubbish is no PromQL', () => {
  expect(PANELS.length).toBeGreaterThan(20);
  expect(() => parsePromql('sum(rate(up[5m])')).toThrow('no PromQL');
  expect(() => parsePromql('rate(up[5m) > 0')).toThrow('no PromQL');
});
