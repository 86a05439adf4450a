import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import type { BenchResult } from '../bench.ts';
import { capacityPage, plan, readCosts } from './capacity.ts';

const folder = fromProject('docs/benchmarks');
const results = readdirSync(folder)
  .filter((file) => file.endsWith('.json'))
  .map((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')) as BenchResult);
const costs = {
  collectorUs: 20,
  natsUs: 10,
  loaderUs: 5,
  clickhouseUs: 40,
  restUs: 5,
  pipelineRate: 20_000,
  loaderRate: 100_000,
  collectorAloneUs: 15,
  ordersRate: 3_000,
  storedBytes: 50,
  streamBytes: 300,
};

it('the page is what the published results make', () => {
  expect(readFileSync(fromProject('docs/capacity.md'), 'utf8')).toBe(capacityPage(results));
});

it('names command, date and machine of every figure', () => {
  const text = readFileSync(fromProject('docs/capacity.md'), 'utf8');
  for (const name of ['collector', 'pipeline', 'warehouse', 'attribution', 'peers']) {
    const { command, date, machine } = results.find((result) => result.name === name) as BenchResult;
    expect(text).toContain(`| \`${command}\` | ${date.slice(0, 10)} | ${machine} |`);
  }
});

it('machines follow from the costs of a click, its peak, and what has to fail over', () => {
  // 10¹⁰ a day: 578,704 clicks/s at the peak, so 578,704 × 20 µs = 11.57 cores of collectors at 4.8 a machine.
  const large = plan(costs, 1e10);
  expect(Math.round(large.peakPerS)).toBe(578_704);
  expect(large.shards).toBe(12);
  expect(large.nodes).toEqual({ collector: 3, nats: 4, clickhouse: 12, api: 2, postgres: 2 });
  expect(large.used.collector).toBeCloseTo(11.574 / (3 * 4.8), 3);
  expect(large.used.orders).toBeCloseTo(5_787 / 3_000, 3);
  const small = plan(costs, 1e8);
  expect(small.nodes).toEqual({ collector: 2, nats: 3, clickhouse: 2, api: 2, postgres: 2 });
  expect(small.shards).toBe(1);
});

it('a figure that is not there is an error that names it, and not a page without it', () => {
  expect(() => readCosts(results.filter(({ name }) => name !== 'pipeline'))).toThrow('no pipeline.json');
  const without = results.map((result) => ({ ...result, rows: result.rows.slice(0, 1) }));
  expect(() => readCosts(without)).toThrow('pipeline.json has no value where collector: CPU');
});
