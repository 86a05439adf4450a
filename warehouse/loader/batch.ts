import type { MsgHdrs } from '@nats-io/transport-node';
import { checkBatch } from '../../core/clicks/click-record.ts';
import { BatchHeader } from '../../core/clicks/stream.ts';
import { OperatingError } from '../../core/errors.ts';
import { DAY_MS } from '../../core/time.ts';
import { type EarlierLayouts, supportOf, toCurrentLayout } from './layouts.ts';
import { coverage, type SeqRanges, withRange } from './seq-ranges.ts';

/** A message of the clicks stream as it was read. */
export interface StreamMessage {
  /** Sequence in the stream. */
  readonly seq: number;
  readonly headers: MsgHdrs | undefined;
  readonly data: Buffer;
}

/** A valid batch: the clicks `firstSeq … firstSeq + rows - 1` of one lease. */
export interface Batch {
  /** The message that holds it. */
  readonly message: StreamMessage;
  readonly node: number;
  readonly firstSeq: number;
  readonly rows: number;
  /** RowBinary in the current layout: the message's own bytes, unless its version is an earlier one. */
  readonly data: Buffer;
  readonly minTs: number;
  readonly maxTs: number;
}

/** Why a message cannot be loaded. */
export type RejectReason =
  /** Its layout is of a later release. */
  | 'unknown_version'
  /** Its layout is older than the one before the current. */
  | 'outdated_version'
  | 'bad_headers'
  | 'malformed'
  | 'implausible_time'
  | 'overlapping'
  /** No node lease gave out its clicks: they come from no collector. */
  | 'no_lease'
  /** It decodes, and ClickHouse refuses its rows. */
  | 'refused';

/** The outcome of checking a message: its rows are loaded, or are there already, or it becomes a dead letter. */
export type BatchValidity =
  | { readonly kind: 'valid'; readonly batch: Batch }
  | { readonly kind: 'repeated' }
  /** No known lease gave out its clicks. */
  | { readonly kind: 'unleased'; readonly node: number; readonly detail: string }
  | { readonly kind: 'rejected'; readonly reason: RejectReason; readonly detail: string };

/** The `seq` ranges accepted so far, by node lease. */
export type Accepted = ReadonlyMap<number, SeqRanges>;

/** More than the 13,981 smallest clicks (75 bytes) that fit the 1 MB of a NATS message. */
const MAX_BATCH_ROWS = 20_000;
const MAX_VERSION = 0xffff;
const MAX_NODE = 0xffff;
const MAX_SEQ = 0xffff_ffff;
/** Afflux did not exist before; an older click comes from a collector without a clock. */
const MIN_CLICK_TS = Date.UTC(2020, 0, 1);
/** A click from further ahead than this comes from a broken clock, and would open partitions of the far future. */
const MAX_CLICK_AHEAD_MS = DAY_MS;

/** Whether a lease of the node gave out clicks of all these times, Unix milliseconds. */
export type LeaseCheck = (node: number, minTs: number, maxTs: number) => boolean;

/** Checks a message against the batches accepted before it, and the known leases. */
export function validate(
  message: StreamMessage,
  options: { accepted: Accepted; layouts: EarlierLayouts; isLeased: LeaseCheck; nowMs: number },
): BatchValidity {
  const { accepted, layouts, isLeased, nowMs } = options;
  const version = headerNumber(message, BatchHeader.version, MAX_VERSION);
  if (version === undefined) return rejected('bad_headers', 'version missing or out of range');
  const support = supportOf(version, layouts);
  if (support === 'newer') return rejected('unknown_version', `version ${version}`);
  if (support === 'outdated') return rejected('outdated_version', `version ${version}`);
  const node = headerNumber(message, BatchHeader.node, MAX_NODE);
  const firstSeq = headerNumber(message, BatchHeader.firstSeq, MAX_SEQ);
  const rows = headerNumber(message, BatchHeader.rows, MAX_BATCH_ROWS);
  if (node === undefined || firstSeq === undefined || !rows || firstSeq + rows - 1 > MAX_SEQ) {
    return rejected('bad_headers', 'node, first seq or rows missing or out of range');
  }
  const content = readContent(message.data, { version, node, firstSeq, rows, layouts });
  if (typeof content === 'string') return rejected('malformed', content);
  if (content.minTs < MIN_CLICK_TS || content.maxTs > nowMs + MAX_CLICK_AHEAD_MS) {
    return rejected('implausible_time', `times ${content.minTs} to ${content.maxTs} ms`);
  }
  const range = `${node}:${firstSeq}-${firstSeq + rows - 1}`;
  if (!isLeased(node, content.minTs, content.maxTs)) {
    const detail = `no lease gave out ${range} at ${content.minTs} to ${content.maxTs} ms`;
    return { kind: 'unleased', node, detail };
  }
  const known = coverage(accepted.get(node) ?? [], firstSeq, firstSeq + rows - 1);
  if (known === 'all') return { kind: 'repeated' };
  if (known === 'some') {
    return rejected('overlapping', `${range} was taken in part by other batches`);
  }
  return { kind: 'valid', batch: { message, node, firstSeq, rows, ...content } };
}

/** Adds a batch to the accepted ones. */
export function accept(
  accepted: Map<number, SeqRanges>,
  batch: Pick<Batch, 'node' | 'firstSeq' | 'rows'>,
): void {
  const { node, firstSeq, rows } = batch;
  accepted.set(node, withRange(accepted.get(node) ?? [], firstSeq, firstSeq + rows - 1));
}

function rejected(reason: RejectReason, detail: string): BatchValidity {
  return { kind: 'rejected', reason, detail };
}

function headerNumber(message: StreamMessage, name: string, max: number): number | undefined {
  const text = message.headers?.get(name) ?? '';
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const value = Number(text);
  return value <= max ? value : undefined;
}

/** The rows in the current layout with the least and the greatest of their times, or why they cannot be read. */
function readContent(
  data: Buffer,
  expected: { version: number; node: number; firstSeq: number; rows: number; layouts: EarlierLayouts },
): Pick<Batch, 'data' | 'minTs' | 'maxTs'> | string {
  try {
    const current = toCurrentLayout(data, expected);
    return { data: current, ...checkBatch(current, expected) };
  } catch (error) {
    if (error instanceof OperatingError) return error.message;
    throw error;
  }
}
