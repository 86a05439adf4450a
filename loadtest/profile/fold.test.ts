import { expect, it } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { flameGraph } from './flame-graph.ts';
import { type CpuProfile, type Frame, fold, selfShares } from './fold.ts';

const call = (functionName: string, url: string) => ({ functionName, url, lineNumber: 0 });
const clicks = `file://${fromProject('dist/collector/clicks/answers.js')}`;
/** Two nodes of `take` under one caller, as V8 writes them for different lines; `write` under both. */
const profile: CpuProfile = {
  nodes: [
    { id: 1, callFrame: call('(root)', ''), children: [2, 3, 7] },
    { id: 2, callFrame: call('(idle)', '') },
    { id: 3, callFrame: call('run', 'node:net'), children: [4, 5] },
    { id: 4, callFrame: call('take', clicks), children: [6] },
    { id: 5, callFrame: call('take', clicks), children: [8] },
    { id: 6, callFrame: call('write <a>', '/x/node_modules/pkg/i.js') },
    { id: 7, callFrame: call('(garbage collector)', '') },
    { id: 8, callFrame: call('write <a>', '/x/node_modules/pkg/i.js') },
  ],
  samples: [2, 4, 5, 6, 7, 8, 4],
  // Each sample lasts until the next one begins.
  timeDeltas: [0, 1_000, 100, 200, 300, 150, 250],
};

const outline = (frame: Frame): unknown => [
  frame.name,
  frame.file,
  frame.selfUs,
  frame.totalUs,
  frame.children.map(outline),
];

it('folds samples into the tree of calls, without idle time', () => {
  expect(outline(fold(profile))).toEqual([
    '(root)',
    '',
    0,
    1_000,
    [
      [
        'run',
        'node:net',
        0,
        850,
        [
          [
            'take',
            'collector/clicks/answers.ts',
            300,
            850,
            [['write <a>', 'node_modules/pkg/i.js', 550, 550, []]],
          ],
        ],
      ],
      ['(garbage collector)', '', 150, 150, []],
    ],
  ]);
});

it('tells the share of each function itself', () => {
  expect(selfShares(fold(profile))).toEqual([
    { name: 'write <a>', file: 'node_modules/pkg/i.js', share: 0.55 },
    { name: 'take', file: 'collector/clicks/answers.ts', share: 0.3 },
    { name: '(garbage collector)', file: '', share: 0.15 },
  ]);
});

it('draws each frame as wide as its time', () => {
  const picture = flameGraph(fold(profile), 'collector');
  expect(picture).toContain('<title>take collector/clicks/answers.ts: 85.0 %, itself 30.0 %</title>');
  expect(picture).toContain('<title>write &lt;a> node_modules/pkg/i.js: 55.0 %, itself 55.0 %</title>');
  const widths = [...picture.matchAll(/<rect x="([\d.]+)" y="\d+" width="([\d.]+)"/g)].map((match) =>
    match.slice(1).map(Number),
  );
  expect(widths).toEqual([
    [0, 1_400],
    [0, 1_190],
    [0, 1_190],
    [0, 770],
    [1_190, 210],
  ]);
});

it('writes a name only where there is room for it', () => {
  const leaf = { name: 'narrow', file: '', selfUs: 2, totalUs: 2, children: [] };
  const root = { name: 'all', file: '', selfUs: 998, totalUs: 1_000, children: [leaf] };
  const picture = flameGraph(root, 'title');
  expect(picture).toContain('<title>narrow: 0.2 %, itself 0.2 %</title>');
  expect([...picture.matchAll(/<text[^>]*>(.*?)<\/text>/g)].map(([, text]) => text)).toEqual([
    'title',
    'all',
  ]);
});
