import type { FaultKind } from './schedule.ts';

/** From when to when something lasted, Unix milliseconds. */
export interface Span<K extends string = string> {
  readonly kind: K;
  readonly fromMs: number;
  readonly toMs: number;
}

/** When each fault was under way. */
export interface Timeline {
  readonly spans: readonly Span<FaultKind>[];
  /** Notes how long the work takes, if it says that it did something. */
  during(kind: FaultKind, work: () => Promise<boolean>): Promise<boolean>;
}

export function createTimeline(): Timeline {
  const spans: Span<FaultKind>[] = [];
  return {
    spans,
    async during(kind, work) {
      const fromMs = Date.now();
      const isDone = await work();
      if (isDone) spans.push({ kind, fromMs, toMs: Date.now() });
      return isDone;
    },
  };
}

/** What the log of the platform says of restarts: pauses, and starts until the process was up. */
export type RestartKind = 'collector pausing' | 'collector starting' | 'nats pausing' | 'nats starting';

interface LogLine {
  readonly service?: string;
  readonly time: string;
  readonly msg?: string;
  readonly pauseMs?: number;
  /** Of a worker. */
  readonly slot?: number;
}

const IS_UP: ReadonlySet<string> = new Set(['restarted', 'worker is up']);

/** Reads `platform.log`. A restart without an end lasts until `endMs`, Unix milliseconds. */
export function readRestarts(log: string, endMs: number): Span<RestartKind>[] {
  const spans: Span<RestartKind>[] = [];
  /** By process: since when it starts. */
  const starting = new Map<string, { service: 'collector' | 'nats'; fromMs: number }>();
  function ended(process: string, toMs: number): void {
    const start = starting.get(process);
    starting.delete(process);
    if (start) spans.push({ kind: `${start.service} starting`, fromMs: start.fromMs, toMs });
  }
  for (const line of log.split('\n')) {
    const record = parse(line);
    if (record?.service !== 'collector' && record?.service !== 'nats') continue;
    const { service, msg = '', pauseMs, slot } = record;
    const process = `${service} ${slot ?? ''}`;
    const atMs = Date.parse(record.time);
    if (IS_UP.has(msg)) ended(process, atMs);
    if (msg !== 'restarting' || pauseMs === undefined) continue;
    ended(process, atMs);
    spans.push({ kind: `${service} pausing`, fromMs: atMs, toMs: atMs + pauseMs });
    starting.set(process, { service, fromMs: atMs + pauseMs });
  }
  for (const process of [...starting.keys()]) ended(process, endMs);
  return spans;
}

function parse(line: string): LogLine | undefined {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return undefined;
  }
}
