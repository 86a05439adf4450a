import { describe, expect, it } from 'vitest';
import type { Logger } from '../../core/service/log.ts';
import { createClockWatch } from './clock-watch.ts';

describe('the clock of a collector', () => {
  it.each([
    ['ahead', { askedAtMs: 10_000, answeredAtMs: 10_004, serverMs: 8_500 }, 1_500],
    ['behind', { askedAtMs: 10_000, answeredAtMs: 10_004, serverMs: 12_004 }, -2_000],
    [
      'not known to be off while the answer takes long',
      { askedAtMs: 10_000, answeredAtMs: 19_000, serverMs: 17_000 },
      0,
    ],
  ])('is %s', (_, reading, expected) => {
    const watch = createClockWatch({ log: { warn() {}, info() {} } as unknown as Logger });
    watch.note(reading);
    expect(watch.offMs).toBe(expected);
  });

  it('is reported when it goes wrong, and when it is right again', () => {
    const lines: unknown[] = [];
    const write = (level: string) => (fields: { offSeconds: number }) =>
      lines.push([level, fields.offSeconds]);
    const log = { warn: write('warn'), info: write('info') } as unknown as Logger;
    const watch = createClockWatch({ log });
    for (const serverMs of [10_000, 8_500, 8_400, 9_200, 10_000]) {
      watch.note({ askedAtMs: 10_000, answeredAtMs: 10_000, serverMs });
    }
    expect(lines).toEqual([
      ['warn', 1.5],
      ['info', 0.8],
    ]);
  });
});
