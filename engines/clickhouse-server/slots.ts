import { QueryError } from './errors.ts';

const TOO_MANY_SIMULTANEOUS_QUERIES = 202;

/** Numbered slots, each held by one caller at a time; further callers wait in order. */
export interface Slots {
  /** @throws QueryError when too many of this user wait already, or the abort reason when `signal` aborts while waiting. */
  acquire(signal: AbortSignal, user: string): Promise<number>;
  release(slot: number): void;
}

interface Waiting {
  readonly user: string;
  readonly give: (slot: number) => void;
}

/**
 * @param options.maxWaiting of one user.
 * @param options.perUser so many a user holds at a time: the next in order is of a user who holds fewer.
 * @param options.first the number of the first slot.
 */
export function createSlots(options: {
  count: number;
  maxWaiting: number;
  perUser: number;
  first?: number;
}): Slots {
  const { first = 0, perUser, maxWaiting } = options;
  const free = Array.from({ length: options.count }, (_, i) => first + options.count - 1 - i);
  const holders = new Map<number, string>();
  const waiting = new Set<Waiting>();

  const mayHold = (user: string): boolean =>
    [...holders.values()].filter((holder) => holder === user).length < perUser;

  async function acquire(signal: AbortSignal, user: string): Promise<number> {
    signal.throwIfAborted();
    const slot = mayHold(user) ? free.pop() : undefined;
    if (slot !== undefined) {
      holders.set(slot, user);
      return slot;
    }
    const before = [...waiting].filter((one) => one.user === user).length;
    if (before >= maxWaiting) {
      throw new QueryError(
        TOO_MANY_SIMULTANEOUS_QUERIES,
        `Too many simultaneous queries: ${holders.size} run and ${before} of ${user} wait`,
        'TOO_MANY_SIMULTANEOUS_QUERIES',
      );
    }
    return await new Promise<number>((resolve, reject) => {
      const one: Waiting = {
        user,
        give(given) {
          signal.removeEventListener('abort', giveUp);
          resolve(given);
        },
      };
      const giveUp = (): void => {
        waiting.delete(one);
        reject(signal.reason);
      };
      waiting.add(one);
      signal.addEventListener('abort', giveUp, { once: true });
    });
  }

  function release(slot: number): void {
    holders.delete(slot);
    for (const next of waiting) {
      if (!mayHold(next.user)) continue;
      waiting.delete(next);
      holders.set(slot, next.user);
      next.give(slot);
      return;
    }
    free.push(slot);
  }

  return { acquire, release };
}
