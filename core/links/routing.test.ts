import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../errors.ts';
import { MAX_ROUTING_LENGTH, minutesOfDay, parseRouting } from './routing.ts';

const SHOP = { url: 'https://shop.test/', weight: 1 };
const SCHEDULE = { timezone: 'Europe/Vienna', days: ['mon'], from: '09:00', to: '17:00' };
const ruleWhen = (when: unknown) => ({ rules: [{ when, destinations: [SHOP] }] });

/** The field and the message of what is wrong; fails when nothing is. */
function fault(value: unknown): string {
  try {
    parseRouting(value, 'routing');
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  throw new Error('was taken');
}

const FAULTY: [value: unknown, message: string][] = [
  [null, 'routing: '],
  [[], 'routing: '],
  [{}, 'routing.rules: '],
  [{ rules: [] }, 'routing: must have rules or destinations'],
  [{ rules: [], destinations: [] }, 'routing.destinations: must not be empty'],
  [{ rules: [], destinations: [SHOP], other: 1 }, 'routing.other: is not known here'],
  [
    { rules: Array(51).fill(ruleWhen({ os: ['iOS'] }).rules[0]) },
    'routing.rules: must not have more than 50',
  ],
  [{ rules: [], destinations: Array(21).fill(SHOP) }, 'routing.destinations: must not have more than 20'],
  [ruleWhen({}), 'routing.rules.0.when: must have a condition'],
  [ruleWhen({ countries: [] }), 'routing.rules.0.when.countries: must not be empty'],
  [ruleWhen({ countries: ['at'] }), 'routing.rules.0.when.countries.0: must be an ISO 3166 code'],
  [ruleWhen({ devices: ['watch'] }), 'routing.rules.0.when.devices.0: '],
  [ruleWhen({ os: [1] }), 'routing.rules.0.when.os.0: '],
  [ruleWhen({ languages: ['de', 'd_e'] }), 'routing.rules.0.when.languages.1: must be a language tag'],
  [ruleWhen({ weather: ['rain'] }), 'routing.rules.0.when.weather: is not known here'],
  [
    ruleWhen({ schedule: { ...SCHEDULE, timezone: 'Mars/Base' } }),
    'routing.rules.0.when.schedule.timezone: must',
  ],
  [
    ruleWhen({ schedule: { ...SCHEDULE, days: [] } }),
    'routing.rules.0.when.schedule.days: must not be empty',
  ],
  [
    ruleWhen({ schedule: { ...SCHEDULE, from: '24:00' } }),
    'routing.rules.0.when.schedule.from: must be a time',
  ],
  [ruleWhen({ schedule: { ...SCHEDULE, to: '9:00' } }), 'routing.rules.0.when.schedule.to: '],
  [ruleWhen({ schedule: { ...SCHEDULE, to: '09:00' } }), 'routing.rules.0.when.schedule.to: must differ'],
  ...[0, -1, 1.5, 1_001, Number.NaN, '1'].map((weight): [unknown, string] => [
    { rules: [], destinations: [{ ...SHOP, weight }] },
    'routing.destinations.0.weight: ',
  ]),
  ...[
    'javascript:alert(1)',
    'https://u:p@shop.test/',
    'https://shop.test/{colour}',
    'https://shop.test/\r\nSet-Cookie: a=b',
    'https://{sub1}.shop.test/',
    '',
    'x'.repeat(2_001),
  ].map((url): [unknown, string] => [
    { rules: [], destinations: [SHOP, { url, weight: 1 }] },
    'routing.destinations.1.url: ',
  ]),
];

describe('parseRouting', () => {
  it('takes every kind of condition, and weighted destinations of the link itself', () => {
    const routing = {
      rules: [
        {
          when: {
            countries: ['AT', 'DE'],
            devices: ['mobile'],
            os: ['Android'],
            languages: ['de', 'pt-BR'],
            schedule: { ...SCHEDULE, to: '24:00' },
          },
          destinations: [SHOP, { url: 'https://shop.test/{sub1}?c={click_id}', weight: 1_000 }],
        },
      ],
      destinations: [SHOP],
    };
    expect(parseRouting(routing, 'routing')).toEqual(routing);
    expect(parseRouting({ rules: [], destinations: [SHOP] }, 'routing').rules).toEqual([]);
  });

  it.each(FAULTY)('refuses %j by naming the place', (value, expected) => {
    expect(fault(value).slice(0, expected.length)).toBe(expected);
  });

  it('bounds the whole', () => {
    const url = `https://shop.test/${'x'.repeat(1_900)}`;
    const destinations = Array.from({ length: 20 }, () => ({ url, weight: 1 }));
    expect(fault({ rules: [], destinations })).toBe(
      `routing: must not exceed ${MAX_ROUTING_LENGTH} characters`,
    );
  });

  it('throws nothing but InputError, whatever it is given', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        expect(fault({ rules: value })).toMatch(/^routing/);
      }),
    );
  });
});

describe('minutesOfDay', () => {
  it.each([
    ['00:00', 0],
    ['09:30', 570],
    ['24:00', 1_440],
  ])('reads %s', (text, minutes) => expect(minutesOfDay(text)).toBe(minutes));
});
