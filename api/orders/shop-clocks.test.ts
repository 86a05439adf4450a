import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import type { Logger } from '../../core/service/log.ts';
import { clockOffset, createShopClocks } from './shop-clocks.ts';

const NOW = Date.parse('2026-03-01T12:00:30.000Z');

describe('the clock of a shop', () => {
  it.each([
    ['an order of the future', NOW + 1_500, undefined, 1_500],
    ['an order before its click', NOW - 9_000, NOW - 5_000, -4_000],
    ['an order after its click', NOW - 3_000, NOW - 5_000, 0],
    ['an order of yesterday', NOW - 86_400_000, undefined, 0],
  ])('%s', (_, occurredAtMs, clickMs, expected) => {
    expect(clockOffset(occurredAtMs, { nowMs: NOW, clickMs })).toBe(expected);
  });

  it('is counted with every order, and logged once an hour, from one second on', async () => {
    const registry = new Registry();
    const logged: unknown[] = [];
    const log = { warn: (fields: unknown) => logged.push(fields) } as unknown as Logger;
    const clocks = createShopClocks({ registry, log });
    const note = (time: string, offMs: number, programId = 1) =>
      clocks.note({ programId, occurredAt: new Date(`2026-03-01T${time}Z`) }, offMs);
    note('12:00:01.000', 900);
    note('12:00:00.000', -40_000);
    expect(logged).toEqual([]);
    note('12:00:00.000', -70_000);
    note('12:00:01.000', -2_000);
    note('12:00:00.000', 1_200, 2);
    expect(logged).toEqual([
      { programId: 1, offSeconds: -70 },
      { programId: 2, offSeconds: 1.2 },
    ]);
    const counts = await registry.getSingleMetric('afflux_api_orders_clock_off_total')?.get();
    expect(counts?.values.map(({ labels, value }) => [labels.direction, value])).toEqual([
      ['ahead', 1],
      ['behind', 2],
    ]);
  });
});
