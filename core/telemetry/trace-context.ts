/** Which span: what `traceparent` says of it. */
export interface SpanContext {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits. */
  readonly spanId: string;
  readonly isSampled: boolean;
}

/** Later versions may go on behind the flags. */
const TRACE_PARENT =
  /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:$|-)/;
/** Of version 00, which ends here; longer headers are of no known version. */
const TRACE_PARENT_LENGTH = 55;
const MAX_LENGTH = 512;
const SAMPLED = 1;

/** Reads the header `traceparent` (https://www.w3.org/TR/trace-context/#traceparent-header); undefined for a bad one. */
export function parseTraceParent(header: string): SpanContext | undefined {
  if (header.length > MAX_LENGTH) return undefined;
  const [, version, traceId, spanId, flags] = TRACE_PARENT.exec(header) ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  if (version === '00' && header.length !== TRACE_PARENT_LENGTH) return undefined;
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & SAMPLED) !== 0 };
}

/** The value of `traceparent`, and of `traceresponse` (https://w3c.github.io/trace-context/#traceresponse-header). */
export function formatTraceParent({ traceId, spanId, isSampled }: SpanContext): string {
  return `00-${traceId}-${spanId}-${isSampled ? '01' : '00'}`;
}
