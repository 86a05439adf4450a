import { expect, it } from 'vitest';
import { canonicalTimeZone } from '../core/time.ts';
import { freshLedger } from './support/ledger.ts';
import { freshWarehouse } from './support/warehouse.ts';

const SUMMER = '2026-07-01 12:00:00';

it('every time zone that the API takes says the same local time in Node.js, PostgreSQL and ClickHouse', async () => {
  const zones = Intl.supportedValuesOf('timeZone').map(
    (zone) => canonicalTimeZone(zone) ?? `${zone} is none`,
  );
  expect(zones.length).toBeGreaterThan(400);
  const here = zones.map((timeZone) =>
    new Date(`${SUMMER}Z`).toLocaleString('sv-SE', { timeZone, hourCycle: 'h23' }),
  );
  const [books, warehouse] = await Promise.all([freshLedger({ max: 1 }), freshWarehouse()]);
  try {
    const inLedger = await books.ledger<{ local: string }[]>`
      select to_char(${SUMMER}::timestamp at time zone 'UTC' at time zone zone, 'YYYY-MM-DD HH24:MI:SS') as local
      from unnest(${zones}::text[]) with ordinality as z(zone, i) order by i`;
    expect(inLedger.map(({ local }) => local)).toEqual(here);
    const locals = zones.map((zone) => `toString(toTimeZone(toDateTime('${SUMMER}', 'UTC'), '${zone}'))`);
    const { rows } = await warehouse.query<{ locals: string[] }>(`SELECT [${locals.join(', ')}] AS locals`);
    expect(rows[0]?.locals).toEqual(here);
  } finally {
    await books.close();
    await warehouse.drop();
  }
});
