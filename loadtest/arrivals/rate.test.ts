import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { createAnswers, percentileMs, sendAtRate } from './rate.ts';

it('keeps the rate while nothing is answered, and counts a stall for everyone it held up', async () => {
  const stalled = delay(400);
  let sentInStall = 0;
  void stalled.then(() => {
    sentInStall = sent;
  });
  let sent = 0;
  const answers = createAnswers();
  const seen = await sendAtRate({
    perSecond: 500,
    seconds: 0.8,
    send: async (_n, dueAt) => {
      sent++;
      await stalled;
      answers.record(dueAt, 'good');
    },
  });
  expect(seen).toMatchObject({ sent: 400, dropped: 0 });
  expect(answers.counts).toEqual({ good: 400, wrong: 0, unanswered: 0 });
  // A client that waits for its answer before it asks again would have sent one.
  expect(sentInStall).toBeGreaterThan(100);
  // The arrivals of the stall's first half waited for the other half at least: a quarter of all.
  expect(percentileMs(answers.latencyUs, 76)).toBeGreaterThan(195);
});

it('tells its own lateness from the platform’s', async () => {
  const answers = createAnswers();
  const seen = await sendAtRate({
    perSecond: 1_000,
    seconds: 0.3,
    send: async (n, dueAt) => {
      if (n === 100) busyFor(100);
      answers.record(dueAt, 'good');
    },
  });
  expect(seen.sent).toBe(300);
  expect(percentileMs(seen.latenessUs, 99)).toBeGreaterThan(80);
  expect(percentileMs(answers.latencyUs, 99)).toBeGreaterThan(80);
});

it('sends no more than may wait at once, and counts the rest', async () => {
  const late = delay(300);
  const sending = sendAtRate({ perSecond: 50_000, seconds: 0.1, send: () => late });
  expect(await sending).toMatchObject({ sent: 4_096, dropped: 904 });
});

it('ends with the first failure of a sender that should have said what became of it', async () => {
  const sent: number[] = [];
  const sending = sendAtRate({
    perSecond: 100,
    seconds: 60,
    send: async (n) => {
      sent.push(n);
      if (n === 3) throw new Error('no JSON');
    },
  });
  await expect(sending).rejects.toThrow('arrival 3 failed');
  expect(sent.length).toBeLessThan(1_000);
});

function busyFor(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}
