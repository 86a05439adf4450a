import { type Attributes, type HrTime, ValueType } from '@opentelemetry/api';
import { emptyResource } from '@opentelemetry/resources';
import {
  AggregationTemporality,
  type CollectionResult,
  type DataPoint,
  DataPointType,
  type Histogram,
  type MetricData,
  type MetricProducer,
} from '@opentelemetry/sdk-metrics';
import type { MetricObjectWithValues, MetricValueWithName, Registry } from 'prom-client';
import { hrTime } from './hr-time.ts';

/**
 * The metrics of `/metrics` for OpenTelemetry: read from the same registry when they are sent, so there is one list. Names
 * and labels stay. Counters and histograms count from the start of the process.
 */
export function registryMetrics(registry: Registry, now: () => number = Date.now): MetricProducer {
  const startTime = hrTime(now());
  return {
    async collect(): Promise<CollectionResult> {
      const times = { startTime, endTime: hrTime(now()) };
      const found = await registry.getMetricsAsJSON();
      const metrics = found.flatMap((metric) => metricOf(metric as Metric, times));
      return {
        resourceMetrics: {
          resource: emptyResource(),
          scopeMetrics: metrics.length === 0 ? [] : [{ scope: { name: 'afflux' }, metrics }],
        },
        errors: [],
      };
    },
  };
}

interface Times {
  readonly startTime: HrTime;
  readonly endTime: HrTime;
}

type Metric = MetricObjectWithValues<MetricValueWithName<string>>;

/** Nothing for a kind of metric that the platform has none of. */
function metricOf(metric: Metric, times: Times): MetricData[] {
  const common = {
    descriptor: { name: metric.name, description: metric.help, unit: '', valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
  };
  const points = (): DataPoint<number>[] =>
    metric.values.map(({ value, labels }) => ({ ...times, attributes: attributesOf(labels), value }));
  // The library's types have an enumeration of numbers here, its values are the names.
  switch (String(metric.type)) {
    case 'counter':
      return [{ ...common, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints: points() }];
    case 'gauge':
      return [{ ...common, dataPointType: DataPointType.GAUGE, dataPoints: points() }];
    case 'histogram':
      return [
        { ...common, dataPointType: DataPointType.HISTOGRAM, dataPoints: histogramsOf(metric.values, times) },
      ];
    default:
      return [];
  }
}

/** One for each set of labels, whose buckets count what is not above their bound, in rising order. */
function histogramsOf(values: readonly MetricValueWithName<string>[], times: Times): DataPoint<Histogram>[] {
  const series = new Map<string, { attributes: Attributes; value: MutableHistogram }>();
  for (const { metricName = '', labels, value } of values) {
    const { le, ...own } = labels;
    const key = JSON.stringify(Object.entries(own).toSorted());
    const known = series.get(key) ?? { attributes: attributesOf(own), value: emptyHistogram() };
    series.set(key, known);
    const histogram = known.value;
    if (metricName.endsWith('_sum')) histogram.sum = value;
    else if (metricName.endsWith('_count')) histogram.count = value;
    else {
      const below = histogram.buckets.counts.reduce((sum, count) => sum + count, 0);
      histogram.buckets.counts.push(value - below);
      if (le !== '+Inf') histogram.buckets.boundaries.push(Number(le));
    }
  }
  return [...series.values()].map((one) => ({ ...times, ...one }));
}

interface MutableHistogram {
  buckets: { boundaries: number[]; counts: number[] };
  sum: number;
  count: number;
}

function emptyHistogram(): MutableHistogram {
  return { buckets: { boundaries: [], counts: [] }, sum: 0, count: 0 };
}

function attributesOf(labels: Readonly<Partial<Record<string, string | number>>>): Attributes {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, String(value)]));
}
