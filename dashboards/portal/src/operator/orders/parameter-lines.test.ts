import { describe, expect, it } from 'vitest';
import { parametersOf, textOf } from './parameter-lines.ts';

describe('names of parameters', () => {
  const parameters = {
    transaction_id: 'order_id',
    sum: { field: 'amount', decimal: ',' },
    aff_sub: 'click_id',
  };

  it('are lines, and come back as they were', () => {
    const text = textOf(parameters);
    expect(text).toBe(
      'transaction_id = order_id\nsum = {"field":"amount","decimal":","}\naff_sub = click_id',
    );
    expect(parametersOf(text)).toEqual(parameters);
  });

  it('may have blanks and empty lines around them', () => {
    expect(parametersOf('\n  tid=order_id  \n\n')).toEqual({ tid: 'order_id' });
    expect(parametersOf('')).toEqual({});
  });

  it.each(['order_id', '= order_id', 'tid =', 'tid = {"field"', 'tid = a\ntid = b'])('refuse %j', (text) => {
    expect(() => parametersOf(text)).toThrow(SyntaxError);
  });

  it('keep a name that objects have of their own', () => {
    expect(Object.keys(parametersOf('__proto__ = order_id\nconstructor = amount'))).toEqual([
      '__proto__',
      'constructor',
    ]);
  });
});
