import fc from 'fast-check';
import { expect, test } from 'vitest';
import { jsonFault } from './json-text.ts';

test('what JSON.stringify writes is never refused, unless it is deep', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 8 }), fc.constantFrom(0, 1), (value, indent) => {
      expect(jsonFault(JSON.stringify(value, null, indent))).toBeUndefined();
    }),
  );
});

test('a name twice in one object is found wherever it is, however it is written', () => {
  const names = fc.uniqueArray(fc.string({ maxLength: 5 }), { minLength: 1, maxLength: 5 });
  const escaped = (name: string): string =>
    `"${[...Array(name.length).keys()].map((i) => `\\u${name.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')}"`;
  fc.assert(
    fc.property(names, fc.jsonValue({ maxDepth: 3 }), fc.nat(), fc.boolean(), (all, value, n, inList) => {
      const twice = escaped(all[n % all.length] ?? '');
      const members = [...all.map((name) => JSON.stringify(name)), twice].map(
        (name) => `${name}: ${JSON.stringify(value)}`,
      );
      const object = `{${members.join(', ')}}`;
      expect(jsonFault(inList ? `[1, {"x": ${object}}]` : object)).toContain('twice');
    }),
  );
});

test.each([
  ['{"a":{"a":1},"b":[{"a":1},{"a":2}],"c":"a\\"b{,"}', undefined],
  ['{"a":"x","b":"a","c":"a"}', undefined],
  ['{"a":["a","a"]}', undefined],
  ['{"a":1,"\\u0061":2}', 'has the member "a" twice'],
  ['[{"a":1,"b":{},"a":2}]', 'has the member "a" twice'],
  [`${'['.repeat(32)}${']'.repeat(32)}`, undefined],
  [`${'['.repeat(33)}${']'.repeat(33)}`, 'is nested deeper than 32 levels'],
  [`{"a":${'{"a":'.repeat(40)}1${'}'.repeat(41)}`, 'is nested deeper than 32 levels'],
])('%s', (json, fault) => {
  JSON.parse(json);
  expect(jsonFault(json)).toBe(fault);
});
