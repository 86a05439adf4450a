import { randomUUID } from 'node:crypto';
import {
  DiagLogLevel,
  diag,
  ROOT_CONTEXT,
  type SpanContext as SdkSpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from '@opentelemetry/api';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  MeterProvider,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
} from '@opentelemetry/sdk-metrics';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BasicTracerProvider,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  SamplingDecision,
  type SpanExporter,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace-base';
import { Counter, type Registry } from 'prom-client';
import type { Logger } from '../service/log.ts';
import { MINUTE_MS } from '../time.ts';
import { hrTime } from './hr-time.ts';
import { registryMetrics } from './registry-metrics.ts';
import type { FinishedSpan, Telemetry, TelemetryConfig } from './telemetry.ts';
import type { SpanContext } from './trace-context.ts';
import { createTraceIds, type SpanId } from './trace-ids.ts';

/** Spans that wait for sending; more are dropped. Some 2 MB. */
const MAX_QUEUE = 2_048;
/** Of one message. Writing it takes well below a millisecond, in which no click is answered. */
const MAX_EXPORT = 64;
const EXPORT_DELAY_MS = 2_000;
/** An endpoint that takes longer is unavailable. */
const EXPORT_TIMEOUT_MS = 5_000;
/** What is left when a process ends has so long to be sent. */
const STOP_TIMEOUT_MS = 2_000;
const FAULT_LENGTH = 300;
/** Of an exporter's result: `ExportResultCode.SUCCESS`. */
const EXPORTED = 0;

const KINDS = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
} as const;

/** Sends to the endpoint of the configuration; `exporters` take the place of those to it. */
export function startOpenTelemetry(options: {
  config: TelemetryConfig;
  service: string;
  metrics: Registry;
  log: Logger;
  exporters?: { traces: SpanExporter; metrics: PushMetricExporter };
}): Telemetry {
  const { config, service, metrics, log, exporters = otlpExporters(config) } = options;
  const note = faultNotes(log);
  passOnFaults(note);
  const resource = resourceFromAttributes({
    'service.namespace': 'afflux',
    'service.instance.id': randomUUID(),
    ...config.resourceAttributes,
    'service.name': `afflux-${service}`,
  });
  const meters =
    config.metricsExporter === 'none'
      ? undefined
      : new MeterProvider({
          resource,
          readers: [
            new PeriodicExportingMetricReader({
              exporter: exporters.metrics,
              metricProducers: [registryMetrics(metrics)],
              exportIntervalMillis: config.metricExportInterval,
              exportTimeoutMillis: Math.min(EXPORT_TIMEOUT_MS, config.metricExportInterval),
            }),
          ],
        });
  const tracing =
    config.tracesExporter === 'none'
      ? undefined
      : startTracing({
          resource,
          exporter: exporters.traces,
          root: rootSampler(config),
          config,
          metrics,
          note,
        });
  return {
    ids: createTraceIds(config.collectorUrl),
    isTracing: tracing !== undefined,
    isSampled: tracing?.isSampled ?? (() => false),
    record: tracing?.record ?? (() => undefined),
    async stop() {
      const sent = Promise.allSettled([tracing?.stop(), meters?.shutdown()]);
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise((resolve) => {
        timer = setTimeout(resolve, STOP_TIMEOUT_MS);
      });
      await Promise.race([sent, late]);
      clearTimeout(timer);
    },
  };
}

function otlpExporters({ otlpEndpoint, otlpHeaders }: TelemetryConfig) {
  const base = otlpEndpoint.replace(/\/+$/, '');
  const shared = { headers: { ...otlpHeaders }, timeoutMillis: EXPORT_TIMEOUT_MS };
  return {
    traces: new OTLPTraceExporter({ ...shared, url: `${base}/v1/traces` }),
    metrics: new OTLPMetricExporter({ ...shared, url: `${base}/v1/metrics` }),
  };
}

interface Tracing {
  isSampled(traceId: string): boolean;
  record(span: FinishedSpan): void;
  stop(): Promise<void>;
}

function startTracing(options: {
  resource: ReturnType<typeof resourceFromAttributes>;
  exporter: SpanExporter;
  root: Sampler;
  config: TelemetryConfig;
  metrics: Registry;
  note: NoteFault;
}): Tracing {
  const { resource, root, config, note } = options;
  const counted = countSpans(options.exporter, options.metrics);
  const heedsParent = config.tracesSampler.startsWith('parentbased_');
  // The SDK asks for ids while a span is made; `record` says which.
  let next: SpanId = { traceId: '', spanId: '' };
  const provider = new BasicTracerProvider({
    resource,
    sampler: heedsParent ? new ParentBasedSampler({ root }) : root,
    idGenerator: { generateTraceId: () => next.traceId, generateSpanId: () => next.spanId },
    spanProcessors: [
      new BatchSpanProcessor(counted.exporter, {
        maxQueueSize: MAX_QUEUE,
        maxExportBatchSize: MAX_EXPORT,
        scheduledDelayMillis: EXPORT_DELAY_MS,
        exportTimeoutMillis: EXPORT_TIMEOUT_MS,
      }),
    ],
  });
  const tracer = provider.getTracer('afflux');

  /** A ratio is taken by the id of the trace, so that every process decides alike. */
  function isSampled(traceId: string): boolean {
    const { decision } = root.shouldSample(ROOT_CONTEXT, traceId, '', SpanKind.INTERNAL, {}, []);
    return decision === SamplingDecision.RECORD_AND_SAMPLED;
  }

  function sdkContext(span: SpanId | SpanContext): SdkSpanContext {
    const sampled = 'isSampled' in span ? span.isSampled : isSampled(span.traceId);
    return {
      traceId: span.traceId,
      spanId: span.spanId,
      traceFlags: sampled ? TraceFlags.SAMPLED : TraceFlags.NONE,
      isRemote: true,
    };
  }

  return {
    isSampled,
    record(finished) {
      const { name, kind, parent, links = [], attributes, error, tookMs } = finished;
      if (!parent && !isSampled(finished.traceId)) return;
      const endMs = Date.now();
      next = finished;
      const span = tracer.startSpan(
        name,
        {
          kind: kind ? KINDS[kind] : SpanKind.INTERNAL,
          startTime: hrTime(endMs - tookMs),
          links: links.map((link) => ({ context: sdkContext(link) })),
          attributes: { ...attributes },
        },
        parent ? trace.setSpanContext(ROOT_CONTEXT, sdkContext(parent)) : ROOT_CONTEXT,
      );
      if (span.isRecording() && !counted.take()) {
        note('dropped', `more than ${MAX_QUEUE} spans wait to be sent`);
        return;
      }
      if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error });
      span.end(hrTime(endMs));
    },
    stop: () => provider.shutdown(),
  };
}

/**
 * Counts spans by what became of them, and keeps those that wait within {@link MAX_QUEUE}: the SDK would drop what its
 * queue has no room for without telling how much until there is room again.
 */
function countSpans(exporter: SpanExporter, metrics: Registry): { exporter: SpanExporter; take(): boolean } {
  const counter = new Counter({
    name: 'afflux_telemetry_spans_total',
    help: 'Spans for OpenTelemetry: sent, failed (the endpoint did not take them) or dropped (too many waited).',
    labelNames: ['outcome'] as const,
    registers: [metrics],
  });
  for (const outcome of ['sent', 'failed', 'dropped'] as const) counter.inc({ outcome }, 0);
  let waiting = 0;
  return {
    take() {
      if (waiting >= MAX_QUEUE) {
        counter.inc({ outcome: 'dropped' });
        return false;
      }
      waiting += 1;
      return true;
    },
    exporter: {
      export(spans, done) {
        exporter.export(spans, (result) => {
          waiting -= spans.length;
          counter.inc({ outcome: result.code === EXPORTED ? 'sent' : 'failed' }, spans.length);
          done(result);
        });
      },
      shutdown: () => exporter.shutdown(),
    },
  };
}

/** Decides for traces that begin here. */
function rootSampler({ tracesSampler, tracesSamplerArg }: TelemetryConfig): Sampler {
  if (tracesSampler.endsWith('always_off')) return new AlwaysOffSampler();
  if (tracesSampler.endsWith('always_on')) return new AlwaysOnSampler();
  return new TraceIdRatioBasedSampler(tracesSamplerArg);
}

type NoteFault = (kind: 'failed' | 'dropped', text: string) => void;

/** Logs a fault, each kind at most once a minute: an endpoint that is unavailable repeats its own with each attempt. */
function faultNotes(log: Logger): NoteFault {
  const quietUntilMs = { failed: 0, dropped: 0 };
  return (kind, text) => {
    if (Date.now() < quietUntilMs[kind]) return;
    quietUntilMs[kind] = Date.now() + MINUTE_MS;
    log.warn({ code: 'telemetry_failed', reason: messageOf(text) }, 'telemetry could not be sent');
  };
}

/** What the SDK reports. */
function passOnFaults(noteFault: NoteFault): void {
  const note = (text: string): void => noteFault('failed', text);
  const ignore = () => undefined;
  diag.setLogger(
    { error: note, warn: note, info: ignore, debug: ignore, verbose: ignore },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
}

/** The SDK writes an error as JSON with its stack. */
function messageOf(text: string): string {
  const message = /"message":("(?:[^"\\]|\\.)*")/.exec(text)?.[1];
  return (message === undefined ? text : String(JSON.parse(message))).slice(0, FAULT_LENGTH);
}
