import { expect, test } from 'vitest';
import { hideSecrets, keptJson } from './secret-forms.ts';

const KEY = 'afx_advertiser_Zm9vYmFyYmF6cXV4LXF1dXV4_-9';
const SIGNING = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw+/=';

test.each([
  ['alone', KEY, 'afx_advertiser_[hidden]'],
  ['in a header', `Authorization: Bearer ${KEY}, x`, 'Authorization: Bearer afx_advertiser_[hidden], x'],
  ['in a URL', `/postback?Key=${KEY}&amount=1`, '/postback?Key=afx_advertiser_[hidden]&amount=1'],
  ['in JSON', JSON.stringify({ a: KEY }), '{"a":"afx_advertiser_[hidden]"}'],
  ['a signing secret', `secret=${SIGNING};`, 'secret=whsec_[hidden];'],
  ['two', `${KEY} ${SIGNING}`, 'afx_advertiser_[hidden] whsec_[hidden]'],
  ['in capitals', KEY.toUpperCase(), 'AFX_ADVERTISER_[hidden]'],
])('a stranger reads no secret out of a kept text: %s', { tags: ['attack'] }, (_name, text, expected) => {
  expect(hideSecrets(text)).toBe(expected);
});

function percentEncoded(text: string): string {
  return [...text].map((character) => `%${character.charCodeAt(0).toString(16)}`).join('');
}

test.each([
  ['of what a form encodes', encodeURIComponent(SIGNING)],
  ['of underscores', KEY.replaceAll('_', '%5F')],
  ['of everything', percentEncoded(KEY)],
  ['twice', encodeURIComponent(percentEncoded(KEY))],
  ['as escapes of JSON', KEY.replaceAll('_', '\\u005f')],
  ['as escapes of JSON in JSON', KEY.replaceAll('_', '\\\\u005F')],
])('a stranger reads no encoded secret out of a kept text: %s', { tags: ['attack'] }, (_name, text) => {
  const hidden = hideSecrets(`x=${text}&y=1`);
  expect(hidden).toMatch(/^x=.*\[hidden\]&y=1$/);
  let decoded = hidden;
  for (let i = 0; i < 3; i++) decoded = decodeURIComponent(decoded);
  expect(decoded).not.toContain(KEY.slice(15));
  expect(decoded).not.toContain(SIGNING.slice(6));
});

test('texts without a secret stay as they are', () => {
  for (const text of ['', 'afx', 'my_afx', 'whsec', 'an afx_ key', 'prg_1', '100 %', '%zz', 'é\\u00e9']) {
    expect(hideSecrets(text)).toBe(text);
  }
});

test('values and names within JSON', () => {
  const at = new Date(0);
  const value = { a: [KEY, { [SIGNING]: 1 }], b: null, c: at, d: undefined };
  expect(keptJson(value)).toEqual({
    a: ['afx_advertiser_[hidden]', { 'whsec_[hidden]': 1 }],
    b: null,
    c: at,
    d: undefined,
  });
});

test('a long text without a secret costs little time', () => {
  const startedAt = performance.now();
  for (const text of ['a', 'afx_', 'afx_a', '%25', '\\', 'whsec'].map((part) => part.repeat(50_000)))
    hideSecrets(text);
  expect(performance.now() - startedAt).toBeLessThan(2_000);
});
