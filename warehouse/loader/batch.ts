import type { MsgHdrs } from '@nats-io/transport-node';
import { CLICK_RECORD_VERSION, checkBatch } from '../../core/clicks/click-record.ts';
import { BatchHeader } from '../../core/clicks/stream.ts';
import { OperatingError } from '../../core/errors.ts';
import { DAY_MS } from '../../core/time.ts';
import { coverage, type SeqRanges, withRange } from './seq-ranges.ts';

/** A message of the clicks stream as it was read. */
export interface StreamMessage {
  /** Sequence in the stream. */
  readonly seq: number;
  readonly headers: MsgHdrs | undefined;
  readonly data: Buffer;
}

/** A checked batch: the clicks `firstSeq … firstSeq + rows - 1` of one lease. */
export interface Batch {
  readonly streamSeq: number;
  readonly node: number;
  readonly firstSeq: number;
  readonly rows: number;
  /** RowBinary, untouched. */
  readonly data: Buffer;
  readonly minTs: number;
  readonly maxTs: number;
}

/** Why a message cannot be loaded. */
export type RejectReason =
  | 'unknown_version'
  | 'bad_headers'
  | 'malformed'
  | 'implausible_time'
  | 'overlapping'
  /** It decodes, and ClickHouse refuses it all the same. */
  | 'refused';

/** What becomes of a message: its rows are loaded, or they are there already, or it is a dead letter. */
export type Verdict =
  | { readonly kind: 'take'; readonly batch: Batch }
  | { readonly kind: 'repeated' }
  | { readonly kind: 'reject'; readonly reason: RejectReason; readonly detail: string };

/** The `seq` ranges already taken, by node lease. */
export type Taken = ReadonlyMap<number, SeqRanges>;

/** More than the 13,981 smallest clicks (75 bytes) that fit the 1 MB of a NATS message. */
const MAX_BATCH_ROWS = 20_000;
const MAX_NODE = 0xffff;
const MAX_SEQ = 0xffff_ffff;
/** Afflux did not exist before; an older click comes from a collector without a clock. */
const MIN_CLICK_TS = Date.UTC(2020, 0, 1);
/** A click from further ahead than this comes from a broken clock, and would open partitions of the far future. */
const MAX_CLICK_AHEAD_MS = DAY_MS;

/** Judges a message against what was taken before it. */
export function judge(message: StreamMessage, taken: Taken, nowMs: number): Verdict {
  const version = message.headers?.get(BatchHeader.version) ?? '';
  if (version !== String(CLICK_RECORD_VERSION)) {
    return { kind: 'reject', reason: 'unknown_version', detail: `version ${JSON.stringify(version)}` };
  }
  const node = headerNumber(message, BatchHeader.node, MAX_NODE);
  const firstSeq = headerNumber(message, BatchHeader.firstSeq, MAX_SEQ);
  const rows = headerNumber(message, BatchHeader.rows, MAX_BATCH_ROWS);
  if (node === undefined || firstSeq === undefined || !rows || firstSeq + rows - 1 > MAX_SEQ) {
    return {
      kind: 'reject',
      reason: 'bad_headers',
      detail: 'node, first seq or rows missing or out of range',
    };
  }
  const span = checked(message.data, { node, firstSeq, rows });
  if (typeof span === 'string') return { kind: 'reject', reason: 'malformed', detail: span };
  if (span.minTs < MIN_CLICK_TS || span.maxTs > nowMs + MAX_CLICK_AHEAD_MS) {
    return { kind: 'reject', reason: 'implausible_time', detail: `times ${span.minTs} to ${span.maxTs} ms` };
  }
  const known = coverage(taken.get(node) ?? [], firstSeq, firstSeq + rows - 1);
  if (known === 'all') return { kind: 'repeated' };
  if (known === 'some') {
    const detail = `${node}:${firstSeq}-${firstSeq + rows - 1} was taken in part by other batches`;
    return { kind: 'reject', reason: 'overlapping', detail };
  }
  return {
    kind: 'take',
    batch: { streamSeq: message.seq, node, firstSeq, rows, data: message.data, ...span },
  };
}

/** Notes a batch as taken. */
export function take(taken: Map<number, SeqRanges>, batch: Pick<Batch, 'node' | 'firstSeq' | 'rows'>): void {
  const { node, firstSeq, rows } = batch;
  taken.set(node, withRange(taken.get(node) ?? [], firstSeq, firstSeq + rows - 1));
}

function headerNumber(message: StreamMessage, name: string, max: number): number | undefined {
  const text = message.headers?.get(name) ?? '';
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const value = Number(text);
  return value <= max ? value : undefined;
}

function checked(
  data: Buffer,
  expected: { node: number; firstSeq: number; rows: number },
): { minTs: number; maxTs: number } | string {
  try {
    return checkBatch(data, expected);
  } catch (error) {
    if (error instanceof OperatingError) return error.message;
    throw error;
  }
}
