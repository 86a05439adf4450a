import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { orderInput, withoutEmptyMembers } from '../orders/order.ts';
import { camelKeys } from '../schemas/camel-keys.ts';
import { rowLimit, text, time } from '../schemas/schemas.ts';
import { parseForm } from './bodies.ts';
import { ValidationFaults } from './translate-error.ts';
import { compileValidator } from './validation.ts';

function faults(schema: z.ZodType, data: unknown): string[] {
  const validate = compileValidator({ schema, method: 'POST', url: '/', httpPart: 'body' });
  const { error } = validate(data) as { error?: unknown };
  if (!(error instanceof ValidationFaults)) return [];
  return error.faults.map(({ field, message }) => `${field} ${message}`);
}

describe('faults', () => {
  test('name members by their path, unknown ones one by one, missing ones as missing', () => {
    const schema = z.strictObject({ a: z.string(), b: z.strictObject({ c: z.array(z.int()) }) });
    expect(faults(schema, { b: { c: [1, 'x'], d: 1 }, e: 1, f: 2 })).toEqual([
      'a is required',
      'b.c.1 Invalid input: expected number, received string',
      'b.d is not known here',
      'e is not known here',
      'f is not known here',
    ]);
    expect(faults(schema, undefined)).toEqual(['body is required']);
  });

  test('a time and a limit have one fault each, whatever they are', () => {
    const schema = z.object({ at: time, limit: rowLimit({ max: 10, fallback: 5 }) });
    fc.assert(
      fc.property(fc.anything(), fc.anything(), (at, limit) => {
        const fields = faults(schema, { at, limit }).map((fault) => fault.split(' ')[0]);
        expect(fields.length).toBe(new Set(fields).size);
      }),
    );
    expect(faults(schema, { at: 'yesterday', limit: '11' })).toHaveLength(2);
  });

  test('an order never throws, whatever its members are', () => {
    const member = fc.oneof(fc.string(), fc.jsonValue(), fc.constant(undefined));
    const names = [
      'order_id',
      'amount',
      'currency',
      'click_id',
      'occurred_at',
      'ip',
      'user_agent',
      'customer_email',
    ];
    const record = fc.record(Object.fromEntries(names.map((name) => [name, member])), { requiredKeys: [] });
    fc.assert(fc.property(record, (order) => Array.isArray(faults(orderInput, order))));
  });
});

test('text is refused when it could mean something else elsewhere', () => {
  for (const bad of ['', 'a\nb', 'a\u0000', '\u007f', 'a\u0085', '\ud800', '\ufffd', 'x'.repeat(11)]) {
    expect(text(10).safeParse(bad).success).toBe(false);
  }
  for (const good of ['a', 'Ünïcode 漢字', '👟', ' x ', 'x'.repeat(10)]) {
    expect(text(10).safeParse(good).success).toBe(true);
  }
});

test('a form keeps every value, and a name given twice is a list', () => {
  expect({ ...parseForm('a=1&b=%C3%BC+x&a=2&a=3&c') }).toEqual({ a: ['1', '2', '3'], b: 'ü x', c: '' });
  expect(Object.getPrototypeOf(parseForm('__proto__=x'))).toBeNull();
});

test('members that were not filled are as good as absent', () => {
  expect(withoutEmptyMembers({ a: '', b: null, c: 0, d: false, e: 'x' })).toEqual({ c: 0, d: false, e: 'x' });
  expect(withoutEmptyMembers([''])).toEqual(['']);
  expect(withoutEmptyMembers(null)).toBeNull();
});

test('bodies are snake_case outside and camelCase inside', () => {
  expect(camelKeys({ fallback_url: 'a_b', conversions_per_ip_hour: 1, name: { in_side: 1 } })).toEqual({
    fallbackUrl: 'a_b',
    conversionsPerIpHour: 1,
    name: { in_side: 1 },
  });
});
