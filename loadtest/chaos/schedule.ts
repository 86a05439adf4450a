import { createRandom } from '../random.ts';

/** Every fault that a run injects. "Killed" is SIGKILL, "stopped" is SIGSTOP and later SIGCONT, "cut off" is a network that loses all. */
export const FAULT_KINDS = [
  'collector killed',
  'loader killed',
  'attribution killed',
  'scheduler killed',
  'api killed',
  'collector stopped',
  'loader stopped',
  'attribution stopped',
  'scheduler stopped',
  'api stopped',
  'nats killed',
  'nats stopped',
  'postgres killed',
  'postgres restarted',
  'clickhouse killed',
  'clickhouse stopped',
  'two loaders',
  'disk full',
  'spool torn',
  'nats cut off',
  'postgres cut off',
  'clickhouse cut off',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export interface Fault {
  readonly kind: FaultKind;
  /** Milliseconds from the start of the load. */
  readonly atMs: number;
  /** How long it lasts, for kinds that last. */
  readonly durationMs: number;
}

const LONGEST_GAP_MS = 6_000;
/** The longest pauses are longer than every time-out on the click path and shorter than a client's patience. */
const PAUSE_MS = { from: 500, to: 5_000 };
/** Past 10 seconds a loader that stands by takes over, and the stopped one wakes up as a zombie. */
const TWO_LOADERS_MS = { from: 2_000, to: 15_000 };

/** Whether a run is long enough for its faults to be as far apart as they get. */
export function isSpread({
  durationMs,
  kinds,
}: {
  durationMs: number;
  kinds: readonly FaultKind[];
}): boolean {
  return gapOf(durationMs, kinds) === LONGEST_GAP_MS;
}

function gapOf(durationMs: number, kinds: readonly FaultKind[]): number {
  return Math.min(LONGEST_GAP_MS, durationMs / (kinds.length + 1));
}

/** The faults of a run: in a long one every kind again and again, in a short one each once. Made by the seed alone. */
export function makeSchedule(options: {
  seed: number;
  durationMs: number;
  kinds: readonly FaultKind[];
}): Fault[] {
  const { durationMs, kinds } = options;
  const random = createRandom(options.seed);
  const gapMs = gapOf(durationMs, kinds);
  const schedule: Fault[] = [];
  let deck: FaultKind[] = [];
  for (let atMs = gapMs / 2; atMs < durationMs; atMs += gapMs) {
    if (deck.length === 0) deck = random.shuffled(kinds);
    const kind = deck.pop();
    if (kind === undefined) break;
    const { from, to } = kind === 'two loaders' ? TWO_LOADERS_MS : PAUSE_MS;
    const jitterMs = (random.next() - 0.5) * gapMs;
    schedule.push({
      kind,
      atMs: Math.round(atMs + jitterMs),
      durationMs: Math.min(random.whole(from, to), Math.round(durationMs / 4)),
    });
  }
  return schedule;
}
