import { expect, test } from 'vitest';
import { formatCalendarDay, formatMonth } from './format.ts';
import { LOCALE, languageFor } from './language.ts';
import { listed, nameOf, rich, t } from './t.ts';

test('a message has its parameters, and its plural form by the count', () => {
  expect(t('common.order_orderid', { orderId: 'A-1' })).toBe('Order A-1');
  const rows = (count: number) => t('imports.import_rows', { count });
  expect([rows(0), rows(1), rows(2)]).toEqual(['Import 0 rows', 'Import 1 row', 'Import 2 rows']);
  expect(rows(12_345)).toBe(`Import ${new Intl.NumberFormat(LOCALE).format(12_345)} rows`);
});

test('elements stand within their sentence', () => {
  const link = (text: string) => `[${text}]`;
  expect(rich('app.go_to_the_overview', { link }).join('')).toBe('Go to [the overview].');
});

test('a wrong key or a missing parameter does not compile', () => {
  // @ts-expect-error: no such message
  expect(() => t('app.no_such_message')).toThrow(TypeError);
  // @ts-expect-error: it has a parameter
  expect(t('common.order_orderid')).toBe('Order undefined');
  // @ts-expect-error: it has a link, which is no text
  expect(t('app.go_to_the_overview')).toContain('<link>');
});

test('codes have names, where they have one', () => {
  expect([nameOf('partially_refunded'), nameOf('newsletter_signup')]).toEqual([
    'Partially refunded',
    undefined,
  ]);
  expect(listed(['a', 'b', 'c'])).toMatch(/^a, b,? and c$/);
});

test.each([
  [['de-AT', 'en'], ['en', 'de'], 'de'],
  [['pt-PT'], ['en', 'pt-BR'], 'en'],
  [['pt'], ['en', 'pt-BR'], 'pt-BR'],
  [['pt-BR'], ['en', 'pt', 'pt-BR'], 'pt-BR'],
  [['ja', 'fr-CH', 'en'], ['en', 'fr'], 'fr'],
  [[], ['en', 'fr'], 'en'],
])('of the wanted %j and the offered %j it is %s', (wanted, offered, language) => {
  expect(languageFor(wanted, offered)).toBe(language);
});

test('days and months of reports are those of the calendar, in every zone', () => {
  const written = (options: Intl.DateTimeFormatOptions) =>
    new Intl.DateTimeFormat(LOCALE, options).format(new Date(2026, 10, 1));
  expect(formatCalendarDay('2026-11-01')).toBe(written({ day: 'numeric', month: 'short', year: 'numeric' }));
  expect(formatMonth('2026-11')).toBe(written({ month: 'short', year: 'numeric' }));
});
