import { expect, test } from 'vitest';
import { formatMoney, formatTime } from './format.ts';
import { readable } from './sentences.ts';

const names = new Map([
  ['aff_1', 'Ann'],
  ['lnk_2', 'shoes'],
  ['user:3', 'Olive'],
]);
const at = '2026-11-24T08:09:10.123Z';

test.each([
  [
    `Click of ${at} on link lnk_2 of affiliate aff_1.`,
    `Click of ${formatTime(at)} on link shoes (lnk_2) of affiliate Ann (aff_1).`,
  ],
  ['user:3: approved.', 'Olive (user:3): approved.'],
  ['of affiliate aff_12 in campaign cmp_1', 'of affiliate aff_12 in campaign cmp_1'],
  [
    'Of its 48.25 EUR, 5 were refunded.',
    `Of its ${formatMoney({ amount: '48.25', currency: 'EUR' })}, 5 were refunded.`,
  ],
  ['Order 12 ABC is order 1.5 XYZ', 'Order 12 ABC is order 1.5 XYZ'],
  [
    'Rule click_velocity_ip fired: review; observed 6 within 1 h, threshold 5.',
    'Rule “Click velocity ip” fired: review; observed 6 within 1 h, threshold 5.',
  ],
  ['unattributed (no_click).', 'unattributed (“No click”).'],
])('%s', (sentence, text) => {
  expect(readable(sentence, names)).toBe(text);
});
