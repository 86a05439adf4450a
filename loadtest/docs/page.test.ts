import { expect, it } from 'vitest';
import type { BenchResult } from '../bench.ts';
import { chart, page } from './page.ts';

const result: BenchResult = {
  name: 'collector',
  command: 'npm run bench:collector -- --rounds 2',
  date: '2026-11-24T10:00:00.000Z',
  machine: '2 × a processor, 24 GiB',
  versions: { node: 'v20.20.2' },
  rows: [
    { server: 'a | b', 'p50 ms': 1.5 },
    { server: 'c', errors: 0 },
  ],
  targets: [
    { name: 'p50 ms', value: 1.5, bound: '≤ 3', ok: true },
    { name: 'errors', value: 7, bound: '≤ 0', ok: false },
    { name: 'clicks & <more>', value: 1_000, bound: '≥ 250000', ok: false },
  ],
  notes: ['Two of a kind.'],
};

it('shows every figure, its goal and the command', () => {
  const text = page([{ ...result, name: 'api' }, result]);
  expect(text).toContain(
    '`npm run bench:collector -- --rounds 2`, 2026-11-24, 2 × a processor, 24 GiB; node v20.20.2.',
  );
  expect(text).toContain('| p50 ms | 1.5 | ≤ 3 | met |');
  expect(text).toContain('| errors | 7 | ≤ 0 | **missed** |');
  expect(text).toContain(
    '| server | p50 ms | errors |\n| --- | --- | --- |\n| a \\| b | 1.5 |  |\n| c |  | 0 |\n\nTwo of a kind.\n',
  );
  const noUnit = 'No unit was measured in this run: its times hold for this machine alone.';
  expect(text.split(noUnit)).toHaveLength(3);
  expect(page([{ ...result, rows: [{ 'p50 ms': 1.5, 'p50 ÷ SELECT 1': 3 }] }])).not.toContain(noUnit);
  expect(page([{ ...result, rows: [{ per_s: 5 }], targets: [] }])).not.toContain(noUnit);
  expect(text.indexOf('## collector')).toBeLessThan(text.indexOf('## api'));
});

it('draws a bar up to the middle for a goal just reached, and no bar beyond the end', () => {
  const picture = chart(result);
  const widths = [...picture.matchAll(/<rect x="330"[^>]* width="([\d.]+)"/g)].map(([, width]) =>
    Number(width),
  );
  expect(widths).toEqual([75, 300, 2]);
  expect(picture).toContain('clicks &amp; &lt;more>');
});
