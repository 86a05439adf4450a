import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import type { BenchResult } from '../bench.ts';
import { withMeasured } from './readme.ts';

const folder = fromProject('docs/benchmarks');
const results = readdirSync(folder)
  .filter((file) => file.endsWith('.json'))
  .map((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')) as BenchResult);
const readme = readFileSync(fromProject('README.md'), 'utf8');

it('has the figures of the published results, with command, date and machine', () => {
  expect(withMeasured(readme, results)).toBe(readme);
  const chaos = results.find(({ name }) => name === 'chaos') as BenchResult;
  expect(readme).toContain(`\`${chaos.command}\`, ${chaos.date.slice(0, 10)}, ${chaos.machine} |`);
});

it('changes with the results, and with nothing else of the page', () => {
  const lossy = results.map((result) => ({
    ...result,
    targets: result.targets.map((target) =>
      target.name === 'redirected clicks lost' ? { ...target, value: 7 } : target,
    ),
  }));
  const changed = withMeasured(readme, lossy);
  expect(changed).toContain('| 7 lost, 0 counted twice');
  expect(changed.replace('| 7 lost', '| 0 lost')).toBe(readme);
});

it('refuses a page without the marks', () => {
  expect(() => withMeasured('# Afflux', results)).toThrow('README.md has no');
});
