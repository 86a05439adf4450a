import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../core/time.ts';
import { clickRecord, encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import { INSERT_CLICKS_SQL } from '../loader/inserter.ts';
import { reportTotals, runReport } from './reports.ts';

/** Days and hours of zones whose clocks differ from UTC by parts of an hour, also on the days on which clocks are changed. */

const STEP_MS = 15 * MINUTE_MS;
/** The end of this period is in summer time of the south, as its beginning is; winter is between. */
const YEAR = { from: new Date(Date.UTC(2026, 0, 10)), to: new Date(Date.UTC(2026, 11, 10)), limit: 10_000 };
const CHANGES = ['2026-03-08', '2026-04-05', '2026-10-04', '2026-11-01'].map((day) => Date.parse(day));
const ZONES = [
  'Asia/Kolkata',
  'Asia/Kathmandu',
  'Australia/Lord_Howe',
  'America/St_Johns',
  'Pacific/Chatham',
  'Pacific/Marquesas',
  'Australia/Adelaide',
  'Europe/Berlin',
];

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
let times: number[];

beforeAll(async () => {
  warehouse = await freshWarehouse();
  times = CHANGES.flatMap((day) =>
    Array.from({ length: (4 * DAY_MS) / STEP_MS }, (_, i) => day - 2 * DAY_MS + i * STEP_MS),
  );
  const clicks = times.map((ts, seq) => clickRecord({ seq, ts, flags: 0, sub1: '' }));
  await warehouse.insertBytes({ sql: INSERT_CLICKS_SQL, data: [encodeClicks(clicks)], settings: {} });
});
afterAll(() => warehouse.drop());

/** What the clocks show: 2026-10-04 01:45. */
function clockOf(timeZone: string): (time: number) => string {
  const clock = new Intl.DateTimeFormat('sv-SE', { timeZone, dateStyle: 'short', timeStyle: 'short' });
  return (time) => clock.format(time);
}

function counts(keys: readonly string[]): Map<string, number> {
  const counted = new Map<string, number>();
  for (const key of keys) counted.set(key, (counted.get(key) ?? 0) + 1);
  return counted;
}

describe.each(ZONES)('in %s', (timeZone) => {
  it('days, weeks and months are those of its clocks', async () => {
    const clock = clockOf(timeZone);
    const { rows } = await runReport(warehouse, { ...YEAR, timeZone, groupBy: ['day'] });
    expect(new Map(rows.map(({ day, clicks }) => [day, clicks]))).toEqual(
      counts(times.map((time) => clock(time).slice(0, 10))),
    );
    const months = await runReport(warehouse, { ...YEAR, timeZone, groupBy: ['month'] });
    expect(new Map(months.rows.map(({ month, clicks }) => [month, clicks]))).toEqual(
      counts(times.map((time) => clock(time).slice(0, 7))),
    );
  });

  it('totals are those of the days beside them', async () => {
    const clock = clockOf(timeZone);
    const isMidnight = (time: number) => clock(time).endsWith('00:00');
    const [from = 0, to = 0] = [times[0] ?? 0, (times[0] ?? 0) + 2 * DAY_MS].map((time) => {
      let midnight = time;
      while (!isMidnight(midnight)) midnight += STEP_MS;
      return midnight;
    });
    const range = { from: new Date(from), to: new Date(to), limit: 100, timeZone };
    const days = await runReport(warehouse, { ...range, groupBy: ['day'] });
    const counted = times.filter((time) => time >= from && time < to).length;
    expect(days.rows.reduce((sum, { clicks }) => sum + Number(clicks), 0)).toBe(counted);
    expect(await reportTotals(warehouse, { ...range, groupBy: ['day'] })).toMatchObject({ clicks: counted });
  });

  it('hours begin when its clocks show a whole hour, or are changed by half an hour', async () => {
    const clock = clockOf(timeZone);
    const offset = (time: number): number => Date.parse(`${clock(time).replace(' ', 'T')}Z`) - time;
    const hourOf = (time: number): string => {
      let start = time;
      const isChange = () => (offset(start) - offset(start - STEP_MS)) % HOUR_MS !== 0;
      while (!clock(start).endsWith(':00') && !isChange()) start -= STEP_MS;
      return new Date(start).toISOString().replace('.000', '');
    };
    const { rows } = await runReport(warehouse, { ...YEAR, timeZone, groupBy: ['hour'] });
    expect(new Map(rows.map(({ hour, clicks }) => [hour, clicks]))).toEqual(counts(times.map(hourOf)));
  });
});
