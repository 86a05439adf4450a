import { setTimeout as delay } from 'node:timers/promises';
import { OperatingError } from '../../core/errors.ts';

/** Longest wait for the platform to count and to decide what was played. */
const TIMEOUT_MS = 120_000;
const POLL_MS = 250;

/** Waits until the condition holds. @throws OperatingError `timeout`, or what the condition throws. */
export async function pollUntil(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + TIMEOUT_MS;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new OperatingError('timeout', `waited ${TIMEOUT_MS} ms for ${what}`);
    await delay(POLL_MS);
  }
}
