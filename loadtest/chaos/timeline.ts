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
