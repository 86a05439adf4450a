import { expect, it } from 'vitest';
import { above0, optional, parseOptions, text, whole, wholes } from './options.ts';

const SPEC = {
  rounds: whole(3),
  soak: whole(10, 0),
  minutes: above0(1),
  rows: wholes([1, 2]),
  only: text(''),
  workers: optional(whole(1)),
};
const valuesOf = (...args: string[]) => parseOptions(SPEC, args).values;

it('reads what is named, and takes the usual value for the rest', () => {
  expect(valuesOf()).toEqual({ rounds: 3, soak: 10, minutes: 1, rows: [1, 2], only: '', workers: undefined });
  expect(
    valuesOf(
      '--rounds',
      '20',
      '--soak=0',
      '--minutes',
      '0.5',
      '--rows',
      '1e6,7',
      '--only',
      'a,b',
      '--workers',
      '2',
    ),
  ).toEqual({ rounds: 20, soak: 0, minutes: 0.5, rows: [1_000_000, 7], only: 'a,b', workers: 2 });
});

it.each([
  ['--minutes', 'abc', 'a number above 0'],
  ['--minutes', '0', 'a number above 0'],
  ['--minutes', '-1', 'a number above 0'],
  ['--minutes', 'Infinity', 'a number above 0'],
  ['--minutes', '1e999', 'a number above 0'],
  ['--minutes', '', 'a number above 0'],
  ['--rounds', '0', 'a whole number from 1 on'],
  ['--rounds', '1.5', 'a whole number from 1 on'],
  ['--rounds', '1e', 'a whole number from 1 on'],
  ['--rounds', '0x10', 'a whole number from 1 on'],
  ['--rounds', '9007199254740993', 'a whole number from 1 on'],
  ['--soak', '-1', 'a whole number from 0 on'],
  ['--workers', 'two', 'a whole number from 1 on'],
  ['--rows', '1e', 'whole numbers from 1 on, separated by commas'],
  ['--rows', '1000,', 'whole numbers from 1 on, separated by commas'],
  ['--rows', '1000,0', 'whole numbers from 1 on, separated by commas'],
])('refuses %s %s, and names it', (option, value, kind) => {
  expect(() => valuesOf(`${option}=${value}`)).toThrow(`${option} must be ${kind}, and is "${value}"`);
});

it('names everything that is wrong', () => {
  expect(() => valuesOf('--rounds', '0', '--minutes', 'abc')).toThrow(
    '--rounds must be a whole number from 1 on, and is "0"\n--minutes must be a number above 0, and is "abc"',
  );
});

it('refuses options and words that it does not know', () => {
  expect(() => valuesOf('--round', '3')).toThrow("'--round'");
  expect(() => valuesOf('mixed')).toThrow("'mixed'");
  expect(parseOptions(SPEC, ['mixed'], { allowPositionals: true }).positionals).toEqual(['mixed']);
});
