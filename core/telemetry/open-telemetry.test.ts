import { performance } from 'node:perf_hooks';
import { AggregationTemporality, DataPointType, InMemoryMetricExporter } from '@opentelemetry/sdk-metrics';
import { InMemorySpanExporter } from '@opentelemetry/sdk-trace-base';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { waitFor } from '../../test/support/engines.ts';
import { type OtlpReceiver, startOtlpReceiver } from '../../test/support/servers/otlp.ts';
import { loadConfig } from '../config/config.ts';
import { createLogger } from '../service/log.ts';
import { startOpenTelemetry } from './open-telemetry.ts';
import { registryMetrics } from './registry-metrics.ts';
import { openTelemetry } from './start.ts';
import type { Telemetry } from './telemetry.ts';

const parent = { traceId: '4bf92f3577b34da6a3ce929d0e0e4736', spanId: '00f067aa0ba902b7' };

let lines: string[];
const log = () => createLogger({ name: 'test', level: 'info', write: (line) => void lines.push(line) });

beforeEach(() => {
  lines = [];
});

function configOf(env: Readonly<Record<string, string>>) {
  return loadConfig({
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9',
    COLLECTOR_URL: 'https://go.example',
    ...env,
  });
}

/** Telemetry whose spans stay here. */
function inMemory(env: Readonly<Record<string, string>> = {}) {
  const traces = new InMemorySpanExporter();
  const metrics = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const telemetry = startOpenTelemetry({
    config: configOf(env),
    service: 'collector',
    metrics: new Registry(),
    log: log(),
    exporters: { traces, metrics },
  });
  return { telemetry, traces };
}

function spanOf(telemetry: Telemetry, id: bigint) {
  return { ...telemetry.ids.order(id), name: 'order', attributes: { 'afflux.x': 1 }, tookMs: 25 };
}

describe('spans', () => {
  test('have their own ids, times, links, parents and attributes', async () => {
    const { telemetry, traces } = inMemory({
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=st%20aging',
    });
    const before = Date.now();
    const linked = telemetry.ids.click(1, 2);
    telemetry.record({ ...spanOf(telemetry, 1n), links: [linked], kind: 'producer' });
    telemetry.record({
      ...spanOf(telemetry, 1n),
      spanId: parent.spanId,
      parent: telemetry.ids.order(1n),
      error: 'no',
    });
    await waitFor(() => traces.getFinishedSpans().length === 2, { deadlineMs: 10_000, what: 'both spans' });
    const [root, child] = traces.getFinishedSpans();
    expect(root?.spanContext()).toMatchObject({ ...telemetry.ids.order(1n), traceFlags: 1 });
    expect(root?.parentSpanContext).toBeUndefined();
    expect(root?.links.map(({ context }) => context)).toMatchObject([linked]);
    expect(root?.attributes).toEqual({ 'afflux.x': 1 });
    const [startMs, endMs] = [root?.startTime, root?.endTime].map(
      (time) => (time?.[0] ?? 0) * 1_000 + (time?.[1] ?? 0) / 1e6,
    );
    expect((endMs ?? 0) - (startMs ?? 0)).toBeCloseTo(25, 3);
    expect(endMs).toBeGreaterThanOrEqual(before);
    expect(root?.resource.attributes).toMatchObject({
      'service.name': 'afflux-collector',
      'deployment.environment.name': 'st aging',
    });
    expect(child?.spanContext()).toMatchObject({
      traceId: telemetry.ids.order(1n).traceId,
      spanId: parent.spanId,
    });
    expect(child?.parentSpanContext).toMatchObject(telemetry.ids.order(1n));
    expect(child?.status.message).toBe('no');
    await telemetry.stop();
  });

  test('a share of the traces is sent whole: each process decides alike', async () => {
    const env = { OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.25' };
    const [one, other] = [inMemory(env), inMemory(env)];
    const ids = Array.from({ length: 400 }, (_, i) => BigInt(i));
    for (const id of ids) {
      one.telemetry.record(spanOf(one.telemetry, id));
      const order = other.telemetry.ids.order(id);
      other.telemetry.record({ ...spanOf(other.telemetry, id), spanId: parent.spanId, parent: order });
    }
    const sampled = ids.filter((id) => one.telemetry.isSampled(one.telemetry.ids.order(id).traceId));
    const sent = ({ traces }: typeof one) =>
      traces.getFinishedSpans().map((span) => span.spanContext().traceId);
    const wanted = sampled.map((id) => one.telemetry.ids.order(id).traceId);
    await waitFor(() => sent(one).length === wanted.length && sent(other).length === wanted.length, {
      deadlineMs: 10_000,
      what: 'the sampled spans',
    });
    expect([sent(one), sent(other)]).toEqual([wanted, wanted]);
    expect(wanted.length).toBeGreaterThan(50);
    expect(wanted.length).toBeLessThan(150);
    await Promise.all([one.telemetry.stop(), other.telemetry.stop()]);
  });

  test('the word of a caller counts for its own trace, where the sampler heeds it', async () => {
    const sentWith = async (sampler: string) => {
      const { telemetry, traces } = inMemory({ OTEL_TRACES_SAMPLER: sampler });
      const own = { name: 'request', attributes: {}, tookMs: 1, traceId: parent.traceId };
      telemetry.record({ ...own, spanId: 'a'.repeat(16), parent: { ...parent, isSampled: true } });
      telemetry.record({ ...own, spanId: 'b'.repeat(16), parent: { ...parent, isSampled: false } });
      let sent: string[] = [];
      // Stopping sends what is left; the exporter here forgets it then.
      await waitFor(
        () => {
          sent = traces.getFinishedSpans().map((span) => span.spanContext().spanId[0] ?? '');
          return sent.length === (sampler === 'always_on' ? 2 : 1);
        },
        { deadlineMs: 10_000, what: 'the spans' },
      );
      await telemetry.stop();
      return sent.join('');
    };
    const samplers = ['parentbased_always_off', 'parentbased_always_on', 'always_on'];
    expect(await Promise.all(samplers.map(sentWith))).toEqual(['a', 'a', 'ab']);
  });
});

describe('metrics', () => {
  test('are those of the registry, of each kind', async () => {
    const registry = new Registry();
    const counter = new Counter({ name: 'c_total', help: 'C', labelNames: ['kind'], registers: [registry] });
    counter.inc({ kind: 'x' }, 3);
    new Gauge({ name: 'g', help: 'G', registers: [registry] }).set(2.5);
    const histogram = new Histogram({
      name: 'h',
      help: 'H',
      labelNames: ['a'],
      buckets: [1, 5],
      registers: [registry],
    });
    for (const value of [0.5, 1, 3, 9]) histogram.observe({ a: 'b' }, value);
    histogram.observe({ a: 'c' }, 2);
    let nowMs = 1_000_500;
    const producer = registryMetrics(registry, () => nowMs);
    nowMs = 2_000_000;
    const { resourceMetrics } = await producer.collect();
    const metrics = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics);
    const times = { startTime: [1_000, 500_000_000], endTime: [2_000, 0] };
    expect(
      metrics.map((metric) => [metric.descriptor.name, metric.descriptor.description, metric.dataPointType]),
    ).toEqual([
      ['c_total', 'C', DataPointType.SUM],
      ['g', 'G', DataPointType.GAUGE],
      ['h', 'H', DataPointType.HISTOGRAM],
    ]);
    expect(metrics.map(({ dataPoints }) => dataPoints)).toEqual([
      [{ ...times, attributes: { kind: 'x' }, value: 3 }],
      [{ ...times, attributes: {}, value: 2.5 }],
      [
        {
          ...times,
          attributes: { a: 'b' },
          value: { buckets: { boundaries: [1, 5], counts: [2, 1, 1] }, sum: 13.5, count: 4 },
        },
        {
          ...times,
          attributes: { a: 'c' },
          value: { buckets: { boundaries: [1, 5], counts: [0, 1, 0] }, sum: 2, count: 1 },
        },
      ],
    ]);
  });
});

describe('an endpoint', () => {
  let receiver: OtlpReceiver;
  beforeEach(async () => {
    receiver = await startOtlpReceiver();
  });
  afterEach(() => receiver.stop());

  const open = (env: Readonly<Record<string, string>> = {}, metrics = new Registry()) =>
    openTelemetry({
      config: configOf({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, ...env }),
      service: 'loader',
      metrics,
      log: log(),
    });

  test('gets spans and metrics as OTLP, with its headers; what is left when the process stops', async () => {
    const registry = new Registry();
    new Counter({ name: 'afflux_x_total', help: 'X', labelNames: ['code'], registers: [registry] }).inc(
      { code: 'a' },
      7,
    );
    const telemetry = await open({ OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20token' }, registry);
    const order = telemetry.ids.order(5n);
    telemetry.record({ ...spanOf(telemetry, 5n), links: [parent], parent: { ...parent, isSampled: true } });
    await telemetry.stop();
    expect(receiver.spans).toEqual([
      {
        service: 'afflux-loader',
        name: 'order',
        traceId: parent.traceId,
        spanId: order.spanId,
        parentSpanId: parent.spanId,
        links: [parent.traceId],
        attributes: { 'afflux.x': 1 },
      },
    ]);
    expect(receiver.metrics.get('afflux_x_total{code=a}')).toBe(7);
    expect(receiver.headers.map(({ authorization }) => authorization)).toEqual([
      'Bearer token',
      'Bearer token',
    ]);
    expect(lines).toEqual([]);
  });

  test('gets one kind only when the other is switched off', async () => {
    const registry = new Registry();
    new Gauge({ name: 'g', help: 'G', registers: [registry] }).set(1);
    const traces = await open({ OTEL_METRICS_EXPORTER: 'none' });
    traces.record(spanOf(traces, 1n));
    await traces.stop();
    expect([receiver.spans.length, receiver.metrics.size]).toEqual([1, 0]);
    const metrics = await open({ OTEL_TRACES_EXPORTER: 'none' }, registry);
    expect([metrics.isTracing, metrics.isSampled(parent.traceId)]).toEqual([false, false]);
    metrics.record(spanOf(metrics, 2n));
    await metrics.stop();
    expect([receiver.spans.length, receiver.metrics.size]).toEqual([1, 1]);
  });

  test.each(['refuse', 'hang'] as const)(
    'that would %s holds nothing up, and is named in one line, and so is what was dropped',
    async (how) => {
      receiver.behave(how);
      const metrics = new Registry();
      const telemetry = await open({}, metrics);
      // Ten times what the queue holds.
      for (let id = 0n; id < 20_480n; id++)
        telemetry.record({ ...parent, name: 'x', attributes: {}, tookMs: 1 });
      await waitFor(() => receiver.headers.length > 0, { deadlineMs: 10_000, what: 'a request' });
      const queued = performance.now();
      await telemetry.stop();
      // Its own deadline, not the endpoint's.
      expect(performance.now() - queued).toBeLessThan(8_000);
      expect(receiver.spans).toEqual([]);
      expect(await metrics.metrics()).toMatch(/^afflux_telemetry_spans_total\{outcome="dropped"\} 18432$/m);
      const records = lines.map((line) => JSON.parse(line) as Record<string, string>);
      for (const record of records) expect(record).toMatchObject({ level: 'warn', code: 'telemetry_failed' });
      const [dropped, ...others] = records.map(({ reason }) => reason);
      expect(dropped).toBe('more than 2048 spans wait to be sent');
      expect(others.length).toBeLessThanOrEqual(1);
      expect(others).not.toContain(dropped);
    },
  );

  test('that is not there is named in one line, without the password of its URL', async () => {
    const { url } = receiver;
    await receiver.stop();
    const address = url.replace('http://', 'http://user:secret-of-url@');
    const telemetry = await open({ OTEL_EXPORTER_OTLP_ENDPOINT: address });
    telemetry.record(spanOf(telemetry, 1n));
    await waitFor(() => lines.length > 0, { deadlineMs: 20_000, what: 'the line' });
    await telemetry.stop();
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('telemetry could not be sent');
    expect(lines[0]).not.toContain('secret-of-url');
  });
});

test('without an endpoint nothing is sent, and the ids are those of the others', async () => {
  const config = configOf({ OTEL_EXPORTER_OTLP_ENDPOINT: '' });
  const telemetry = await openTelemetry({ config, service: 'api', metrics: new Registry(), log: log() });
  expect([telemetry.isTracing, telemetry.isSampled(parent.traceId)]).toEqual([false, false]);
  telemetry.record(spanOf(telemetry, 1n));
  expect(telemetry.ids.order(1n)).toEqual(inMemory().telemetry.ids.order(1n));
  await telemetry.stop();
});
