import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { renderEnvExample } from '../core/config/config.ts';
import { fromProject } from '../core/config/paths.ts';
import { createProgram } from './program.ts';

/** What the pages tell an operator to type exists. */

const pages = ['README.md', ...readdirSync(fromProject('docs')).map((name) => join('docs', name))]
  .filter((name) => name.endsWith('.md'))
  .map((name) => ({ name, text: readFileSync(fromProject(name), 'utf8') }));

/** Code in a page: spans, and the lines of blocks without their comments. */
function codeIn(text: string): string[] {
  const blocks = [...text.matchAll(/^```\w*\n(.*?)^```/gms)].flatMap(([, block = '']) => block.split('\n'));
  const spans = text.replaceAll(/^```.*?^```/gms, '').matchAll(/`([^`\n]+)`/g);
  return [...blocks.map((line) => line.replace(/ #.*/, '')), ...[...spans].map(([, code = '']) => code)];
}

/** Every call of the program in a line: the words behind `afflux`. */
function callsIn(code: string): string[][] {
  return [...code.matchAll(/(?:^\s*|npx |dist\/bin\/)afflux((?:\.js)? +[a-z-][^|;&)"]*)/g)].map(
    ([, words = '']) => words.replace(/^\.js/, '').trim().split(/\s+/),
  );
}

/** What is wrong with a call; undefined when it is right. */
function faultOf(words: readonly string[]): string | undefined {
  let command: Command = createProgram();
  for (const word of words) {
    const below = command.commands.find((one) => one.name() === word);
    if (below) command = below;
    else if (word.startsWith('--')) {
      const known = command.options.some(({ long }) => long === word.split('=')[0]);
      if (!known && word !== '--help') return `${command.name()} has no option ${word}`;
    } else if (
      command.commands.length > 0 &&
      /^[a-z-]+$/.test(word) &&
      command.registeredArguments.length === 0
    )
      return `${command.name()} has no command ${word}`;
  }
  return undefined;
}

/** The variables that tests read from the environment. */
function variablesOfTests(): string[] {
  const { include } = JSON.parse(readFileSync(fromProject('tsconfig.build.json'), 'utf8')) as {
    include: string[];
  };
  return [...include, 'test'].flatMap((folder) =>
    readdirSync(fromProject(folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .flatMap(
        (name) => readFileSync(join(fromProject(folder), name), 'utf8').match(/\bAFFLUX_TEST_\w+/g) ?? [],
      ),
  );
}

describe('the pages', () => {
  test('name commands and options that exist', () => {
    const calls = pages.flatMap(({ name, text }) =>
      codeIn(text).flatMap((code) => callsIn(code).map((words) => ({ name, words }))),
    );
    expect(calls.length).toBeGreaterThan(30);
    const wrong = calls.flatMap(({ name, words }) => {
      const fault = faultOf(words);
      return fault === undefined ? [] : [`${name}: afflux ${words.join(' ')}: ${fault}`];
    });
    expect(wrong).toEqual([]);
  });

  test('name variables that exist', () => {
    const known = new Set([
      ...(renderEnvExample().match(/\b[A-Z][A-Z0-9_]+\b/g) ?? []),
      ...variablesOfTests(),
    ]);
    const wrong = pages.flatMap(({ name, text }) => {
      const named = codeIn(text).flatMap((code) => code.match(/\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b/g) ?? []);
      // Each variable can be a file instead.
      return named.filter((word) => !known.has(word.replace(/_FILE$/, ''))).map((word) => `${name}: ${word}`);
    });
    expect(wrong).toEqual([]);
  });
});
