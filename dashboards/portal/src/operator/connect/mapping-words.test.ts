import { expect, test } from 'vitest';
import { fieldText, mappingWords } from './mapping-words.ts';

test('fields say where they come from', () => {
  for (const [field, text] of [
    ['id', 'id'],
    ['landing_site?click_id', 'click_id in the URL at landing_site'],
    [
      ['$query.subid', '$header.x-id', '$body.id'],
      'the parameter subid, else the header x-id, else id of the call',
    ],
    [{ value: 'EUR' }, 'always EUR'],
    [{ default: 'EUR' }, 'else EUR'],
    [{ from: ['cents'], units: 'minor', round: true }, 'cents, in the smallest unit, rounded'],
    [{ join: ['a', 'b'] }, 'a : b'],
    [
      { sum: [{ from: ['price'], times: 'quantity' }, { from: ['off'], negative: true }, 'tax'] },
      'the sum of price × quantity, less off, tax',
    ],
    [{ from: 'customer_id', words: { '0': '' } }, 'customer_id, in its words: 0 is nothing'],
    [{ from: 'coupon', words: {} }, 'coupon'],
    [{ from: 'at', zone: 'UTC' }, 'at, in the zone UTC'],
  ] as const)
    expect(fieldText(field)).toBe(text);
});

test('rules say which calls do what', () => {
  const { rules, items } = mappingWords({
    rules: [
      { does: { from: ['status'], words: { sale: 'approved' }, default: 'pending' } },
      { does: { from: 'status', words: {}, default: 'approved' } },
      { when: { type: ['paid', 'done'], cancelled: false, id: true }, does: 'approved' },
      {
        when: { type: 'refund' },
        does: { value: 'refunded' },
        each: 'refunds[*]',
        fields: { refund_ref: 'id', amount: null },
      },
      { when: { test: 'true' }, does: 'ignored', reason: 'it is a test' },
    ],
    items: [{ each: 'lines[*]', fields: { sku: 'sku', quantity: 'count' } }],
  });
  expect(rules).toEqual([
    'Any call: what status says (sale is approved), else pending',
    'Any call: what status says, else approved',
    'When type is paid or done and cancelled is not there and id is there: approved',
    'When type is refund: refunded, once for each of refunds[*]; refund_ref from id, without amount',
    'When test is true: ignored (it is a test)',
  ]);
  expect(mappingWords({ fields: { other_ids: ['a', 'b'], order_id: ['a', 'b'] } }).fields).toEqual([
    { name: 'other_ids', text: 'a, b' },
    { name: 'order_id', text: 'a, else b' },
  ]);
  expect(items).toEqual(['Each of lines[*]: sku: sku; quantity: count']);
});

test('whatever stands in a stored mapping, the page shows', () => {
  for (const odd of [null, 1, 'x', [], { rules: 1, fields: [1], items: {} }, { rules: [null, [], 'x'] }])
    expect(() => mappingWords(odd)).not.toThrow();
});
