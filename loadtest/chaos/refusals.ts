import type { Unanswered } from './record.ts';
import type { FaultKind } from './schedule.ts';
import type { RestartKind, Span } from './timeline.ts';

/** A fault of the collector is its own for this long after its end: connections and clients need that to notice. */
const OWN_MS = 1_000;

/** Why a visitor got no redirect, the nearest cause first: the first span that the visit meets is it. */
const CAUSES = [
  'collector killed',
  'collector stopped',
  'collector pausing',
  'collector starting',
  'disk full',
  'nats killed',
  'nats stopped',
  'nats cut off',
  'spool torn',
  'nats pausing',
  'nats starting',
] as const satisfies readonly (FaultKind | RestartKind)[];

/** A process that has ended or is stopped answers no 503: another one has refused for want of a place for the click. */
const SILENT: ReadonlySet<string> = new Set(CAUSES.slice(0, CAUSES.indexOf('disk full')));

const KILL: FaultKind = 'collector killed';

/** What a kill does to a connection. One that gets no answer in time waits for something else. */
const BROKEN: ReadonlySet<Unanswered['how']> = new Set(['connection refused', 'connection reset']);

/** Visits without a redirect, by cause and by what the visitor saw. */
export type Refusals = ReadonlyMap<string, ReadonlyMap<Unanswered['how'], number>>;

/** Takes the visits without a redirect apart by what was under way; what meets none of it is of "no fault". */
export function attribute(visits: readonly Unanswered[], spans: readonly Span[]): Refusals {
  const byCause = CAUSES.map((kind) => ({ kind, of: spans.filter((span) => span.kind === kind) }));
  const counts = new Map<string, Map<Unanswered['how'], number>>();
  for (const { dueMs, endMs, how } of visits) {
    const meets = ({ fromMs, toMs }: Span): boolean => dueMs <= toMs + OWN_MS && endMs >= fromMs;
    const canCause = (kind: string): boolean =>
      kind === KILL ? BROKEN.has(how) : how !== '503' || !SILENT.has(kind);
    const cause =
      byCause.find(({ kind, of }) => canCause(kind) && of.some(meets))?.kind ??
      otherFaults(spans.filter(meets));
    const hows = counts.get(cause) ?? new Map<Unanswered['how'], number>();
    hows.set(how, (hows.get(how) ?? 0) + 1);
    counts.set(cause, hows);
  }
  return counts;
}

/** Faults that do not touch the way of a click: they take the machine's time at the most. */
function otherFaults(met: readonly Span[]): string {
  return met.length === 0 ? 'no fault' : 'another fault';
}

/** How many visits had no redirect outside of the own seconds of collectors' kills. */
export function countBeyondKills(visits: readonly Unanswered[], spans: readonly Span[]): number {
  const kills = spans.filter(({ kind }) => kind === KILL);
  const isOwn = ({ dueMs, how }: Unanswered): boolean =>
    BROKEN.has(how) && kills.some(({ fromMs, toMs }) => dueMs >= fromMs && dueMs <= toMs + OWN_MS);
  return visits.filter((visit) => !isOwn(visit)).length;
}

export function total(hows: ReadonlyMap<string, number>): number {
  return [...hows.values()].reduce((sum, count) => sum + count, 0);
}
