import { createHash } from 'node:crypto';

/** A span by its place in a trace. */
export interface SpanId {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits. */
  readonly spanId: string;
}

/** Consecutive clicks of a node whose batches are one trace: a batch of a busy collector is in few of them. */
export const CLICKS_PER_TRACE = 1_024;

/**
 * The spans of what the platform does to clicks, orders and payouts. Their ids follow from what they are about, so each
 * process names the span of another one without being sent it, and nothing is stored for them.
 */
export interface TraceIds {
  /**
   * The traces of the clicks `firstSeq … firstSeq + rows - 1` of a node, the batch's span in each: more than one when
   * the batch begins in one stretch of {@link CLICKS_PER_TRACE} clicks and ends in another.
   */
  batch(node: number, firstSeq: number, rows: number): SpanId[];
  /** The loading of that batch, a child of its span. */
  loading(node: number, firstSeq: number, rows: number): SpanId[];
  /** Of one click: its trace, which has the span of its batch. Which of them that is, its rows say. */
  click(node: number, seq: number): SpanId;
  /** A block of the loader, by its token. */
  block(token: string): SpanId;
  order(conversionId: bigint): SpanId;
  payout(payoutId: bigint): SpanId;
}

/** @param installation What sets this platform apart from others that send to the same place. */
export function createTraceIds(installation: string): TraceIds {
  const hash = (...identity: readonly (string | number | bigint)[]) =>
    createHash('sha256')
      .update(JSON.stringify([installation, ...identity].map(String)))
      .digest('hex');
  const traceId = (...identity: readonly (string | number | bigint)[]) =>
    hash('trace', ...identity).slice(0, 32);
  const spanId = (...identity: readonly (string | number | bigint)[]) =>
    hash('span', ...identity).slice(0, 16);

  const stretchOf = (seq: number) => Math.floor(seq / CLICKS_PER_TRACE);
  function ofBatch(kind: string, node: number, firstSeq: number, rows: number): SpanId[] {
    const first = stretchOf(firstSeq);
    const count = stretchOf(firstSeq + rows - 1) - first + 1;
    const id = spanId(kind, node, firstSeq);
    return Array.from({ length: count }, (_, i) => ({
      traceId: traceId('clicks', node, first + i),
      spanId: id,
    }));
  }

  return {
    batch: (node, firstSeq, rows) => ofBatch('batch', node, firstSeq, rows),
    loading: (node, firstSeq, rows) => ofBatch('loading', node, firstSeq, rows),
    click: (node, seq) => ({
      traceId: traceId('clicks', node, stretchOf(seq)),
      spanId: spanId('clicks', node, stretchOf(seq)),
    }),
    block: (token) => ({ traceId: traceId('block', token), spanId: spanId('block', token) }),
    order: (id) => ({ traceId: traceId('order', id), spanId: spanId('order', id) }),
    payout: (id) => ({ traceId: traceId('payout', id), spanId: spanId('payout', id) }),
  };
}
