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
import type { Registry } from 'prom-client';
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
  logFaults(log);
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
      : startTracing({ resource, exporter: exporters.traces, root: rootSampler(config), config });
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
}): Tracing {
  const { resource, exporter, root, config } = options;
  const heedsParent = config.tracesSampler.startsWith('parentbased_');
  // The SDK asks for ids while a span is made; `record` says which.
  let next: SpanId = { traceId: '', spanId: '' };
  const provider = new BasicTracerProvider({
    resource,
    sampler: heedsParent ? new ParentBasedSampler({ root }) : root,
    idGenerator: { generateTraceId: () => next.traceId, generateSpanId: () => next.spanId },
    spanProcessors: [
      new BatchSpanProcessor(exporter, {
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
      if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error });
      span.end(hrTime(endMs));
    },
    stop: () => provider.shutdown(),
  };
}

/** Decides for traces that begin here. */
function rootSampler({ tracesSampler, tracesSamplerArg }: TelemetryConfig): Sampler {
  if (tracesSampler.endsWith('always_off')) return new AlwaysOffSampler();
  if (tracesSampler.endsWith('always_on')) return new AlwaysOnSampler();
  return new TraceIdRatioBasedSampler(tracesSamplerArg);
}

/** What the SDK reports, at most once a minute: an endpoint that is unavailable repeats its own with each attempt. */
function logFaults(log: Logger): void {
  let quietUntilMs = 0;
  function note(text: string): void {
    if (Date.now() < quietUntilMs) return;
    quietUntilMs = Date.now() + MINUTE_MS;
    log.warn({ code: 'telemetry_failed', reason: messageOf(text) }, 'telemetry could not be sent');
  }
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
