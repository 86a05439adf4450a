import type { Config } from '../config/config.ts';
import type { SpanContext } from './trace-context.ts';
import { createTraceIds, type SpanId, type TraceIds } from './trace-ids.ts';

/** Something that was done, once it is over. */
export interface FinishedSpan extends SpanId {
  readonly name: string;
  readonly kind?: 'server' | 'client' | 'producer' | 'consumer';
  /** The span that it is part of: another one's by its own word, or one of the platform's. */
  readonly parent?: SpanId | SpanContext | undefined;
  readonly links?: readonly SpanId[];
  readonly attributes: Readonly<Record<string, string | number>>;
  /** Why it failed. */
  readonly error?: string | undefined;
  /** It ends now, and began so many milliseconds ago. */
  readonly tookMs: number;
}

/** Traces and metrics for OpenTelemetry, of one process. */
export interface Telemetry {
  readonly ids: TraceIds;
  /** Whether spans go anywhere: otherwise none need be made. */
  readonly isTracing: boolean;
  /** Whether the spans of a trace that begins here are sent. */
  isSampled(traceId: string): boolean;
  /** Takes a span for sending. Never waits, never throws; what there is no room for is dropped. */
  record(span: FinishedSpan): void;
  /** Sends what is left, as far as that is quick. */
  stop(): Promise<void>;
}

export type TelemetryConfig = Pick<
  Config,
  | 'collectorUrl'
  | 'otlpEndpoint'
  | 'otlpHeaders'
  | 'tracesExporter'
  | 'metricsExporter'
  | 'metricExportInterval'
  | 'tracesSampler'
  | 'tracesSamplerArg'
  | 'resourceAttributes'
>;

/** For processes that send nothing: the ids of spans, and no spans. */
export function noTelemetry(installation: string): Telemetry {
  return {
    ids: createTraceIds(installation),
    isTracing: false,
    isSampled: () => false,
    record: () => undefined,
    stop: async () => undefined,
  };
}
