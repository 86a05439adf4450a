import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 20;

/** Polls until the condition holds, at most `deadlineMs`; whether it came to hold. It is polled once in any case. */
export async function isTrueWithin(
  deadlineMs: number,
  condition: () => boolean | Promise<boolean>,
  pollMs: number = POLL_MS,
): Promise<boolean> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    if (await condition()) return true;
    if (performance.now() >= end) return false;
    await delay(pollMs);
  }
}
