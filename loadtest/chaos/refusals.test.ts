import { expect, test } from 'vitest';
import { attribute, countBeyondKills } from './refusals.ts';
import { readRestarts } from './timeline.ts';

const visit = (dueMs: number, endMs: number) => ({ dueMs, endMs, how: 'connection refused' }) as const;

test('a visit without a redirect is of the nearest fault that it meets, and of none else', () => {
  const spans = [
    { kind: 'nats stopped', fromMs: 10_000, toMs: 30_000 },
    { kind: 'collector killed', fromMs: 20_000, toMs: 20_001 },
    { kind: 'collector pausing', fromMs: 20_001, toMs: 24_000 },
    { kind: 'api killed', fromMs: 50_000, toMs: 50_001 },
    { kind: 'disk full', fromMs: 70_000, toMs: 72_000 },
  ];
  const visits = [
    visit(15_000, 15_001),
    visit(19_000, 20_000),
    visit(21_001, 21_002),
    visit(23_000, 23_001),
    visit(50_500, 50_600),
    visit(60_000, 60_001),
    { ...visit(22_000, 22_001), how: '503' as const },
    { ...visit(71_000, 71_001), how: '503' as const },
    { ...visit(19_500, 29_500), how: 'time-out' as const },
  ];
  const refusals = attribute(visits, spans);
  expect([...refusals].map(([cause, hows]) => [cause, Object.fromEntries(hows)])).toEqual([
    ['nats stopped', { 'connection refused': 1, 503: 1 }],
    ['collector killed', { 'connection refused': 2 }],
    ['collector pausing', { 'connection refused': 1, 'time-out': 1 }],
    ['another fault', { 'connection refused': 1 }],
    ['no fault', { 'connection refused': 1 }],
    ['disk full', { 503: 1 }],
  ]);
});

test('only connections that broke within a second of a kill are left out of the share of visits without a redirect', () => {
  const spans = [
    { kind: 'collector killed', fromMs: 20_000, toMs: 20_001 },
    { kind: 'collector killed', fromMs: 40_000, toMs: 40_001 },
    { kind: 'nats killed', fromMs: 60_000, toMs: 60_001 },
  ];
  const visits = [
    visit(20_000, 20_002),
    { ...visit(40_900, 41_100), how: 'connection reset' as const },
    visit(19_999, 20_002),
    visit(21_002, 21_003),
    visit(60_500, 60_501),
    { ...visit(20_500, 30_500), how: 'time-out' as const },
    { ...visit(40_500, 40_501), how: '503' as const },
  ];
  expect(countBeyondKills(visits, spans)).toBe(visits.length - 2);
});

test('pauses and starts of collectors and NATS are read from the log, each worker for itself', () => {
  const line = (second: number, fields: object) =>
    JSON.stringify({ time: new Date(second * 1_000).toISOString(), service: 'collector', ...fields });
  const log = [
    'no JSON',
    line(1, { msg: 'restarting', pauseMs: 500, slot: 0 }),
    line(2, { msg: 'restarting', pauseMs: 0, slot: 1 }),
    line(3, { msg: 'worker is up', slot: 0 }),
    line(4, { service: 'api', msg: 'restarting', pauseMs: 0 }),
    line(5, { service: 'nats', msg: 'restarting', pauseMs: 1_000 }),
  ].join('\n');
  expect(readRestarts(log, 9_000)).toEqual([
    { kind: 'collector pausing', fromMs: 1_000, toMs: 1_500 },
    { kind: 'collector pausing', fromMs: 2_000, toMs: 2_000 },
    { kind: 'collector starting', fromMs: 1_500, toMs: 3_000 },
    { kind: 'nats pausing', fromMs: 5_000, toMs: 6_000 },
    { kind: 'collector starting', fromMs: 2_000, toMs: 9_000 },
    { kind: 'nats starting', fromMs: 6_000, toMs: 9_000 },
  ]);
});
