import { ClickFlag } from '../../core/clicks/click-record.ts';

const FLAG_NAMES = Object.keys(ClickFlag) as (keyof typeof ClickFlag)[];

/** Requests for links by their outcome: a closed list. */
export interface OutcomeCounts extends Record<string, number> {
  redirected: number;
  gone: number;
  /** The impression pixel was sent. */
  impression: number;
  /** Answered 503: fetched ahead of a click, which then sends a request of its own. */
  speculative: number;
  /** Answered 503: no links have been loaded yet. */
  not_loaded: number;
  unknown_code: number;
  /** No link's address. */
  unknown_path: number;
  unknown_code_fallback: number;
  malformed_code: number;
  query_too_long: number;
  /** Answered 503: the click could not be made durable in time. */
  unavailable: number;
  /** The client left before its answer. */
  aborted: number;
}

export function createOutcomeCounts(): OutcomeCounts {
  return {
    redirected: 0,
    gone: 0,
    impression: 0,
    speculative: 0,
    not_loaded: 0,
    unknown_code: 0,
    unknown_path: 0,
    unknown_code_fallback: 0,
    malformed_code: 0,
    query_too_long: 0,
    unavailable: 0,
    aborted: 0,
  };
}

/** Clicks and impressions recorded under each flag, by its bit. */
export class FlagCounts {
  readonly #byBit = FLAG_NAMES.map(() => 0);

  /** Counts each bit of `flags`; most clicks have none. */
  add(flags: number): void {
    for (let bit = 0, left = flags; left !== 0; bit++, left >>>= 1) {
      if (left & 1) this.#byBit[bit] = (this.#byBit[bit] ?? 0) + 1;
    }
  }

  byName(): Record<string, number> {
    return Object.fromEntries(FLAG_NAMES.map((name) => [name, this.#byBit[Math.log2(ClickFlag[name])] ?? 0]));
  }
}
