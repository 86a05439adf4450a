import { expect, it } from 'vitest';
import type { Logger } from '../../core/service/log.ts';
import { createSamples } from './samples.ts';

it('a stranger who sends a thousand long codes writes one short line a minute', { tags: ['attack'] }, () => {
  const lines: Record<string, unknown>[] = [];
  let nowMs = 0;
  const log = { info: (line: Record<string, unknown>) => lines.push(line) } as unknown as Logger;
  const samples = createSamples({ log, now: () => nowMs });
  for (let i = 0; i < 1_000; i++) samples.note('unknown_code', `${i}${'x'.repeat(8_000)}`, '');
  samples.note('malformed_code', '%20', 'r-1');
  nowMs = 60_000;
  samples.note('unknown_code', 'late', '');
  expect(lines).toEqual([
    { kind: 'unknown_code', requests: 1, sample: `0${'x'.repeat(63)}` },
    { kind: 'malformed_code', requests: 1, sample: '%20', request_id: 'r-1' },
    { kind: 'unknown_code', requests: 1_000, sample: 'late' },
  ]);
});
