import { QueryError } from './errors.ts';

const TOO_MANY_SIMULTANEOUS_QUERIES = 202;

/** Numbered slots, each held by one caller at a time; further callers wait in order. */
export interface Slots {
  /** @throws QueryError when too many wait already, or the abort reason when `signal` aborts while waiting. */
  acquire(signal: AbortSignal): Promise<number>;
  release(slot: number): void;
}

/** @param options.first the number of the first slot. */
export function createSlots(options: { count: number; maxWaiting: number; first?: number }): Slots {
  const { first = 0 } = options;
  const free = Array.from({ length: options.count }, (_, i) => first + options.count - 1 - i);
  const waiting = new Set<(slot: number) => void>();

  async function acquire(signal: AbortSignal): Promise<number> {
    signal.throwIfAborted();
    const slot = free.pop();
    if (slot !== undefined) return slot;
    if (waiting.size >= options.maxWaiting) {
      throw new QueryError(
        TOO_MANY_SIMULTANEOUS_QUERIES,
        `Too many simultaneous queries: ${options.count} run and ${waiting.size} wait`,
        'TOO_MANY_SIMULTANEOUS_QUERIES',
      );
    }
    return await new Promise<number>((resolve, reject) => {
      const give = (given: number): void => {
        signal.removeEventListener('abort', giveUp);
        resolve(given);
      };
      const giveUp = (): void => {
        waiting.delete(give);
        reject(signal.reason);
      };
      waiting.add(give);
      signal.addEventListener('abort', giveUp, { once: true });
    });
  }

  function release(slot: number): void {
    const [next] = waiting;
    if (next === undefined) {
      free.push(slot);
      return;
    }
    waiting.delete(next);
    next(slot);
  }

  return { acquire, release };
}
