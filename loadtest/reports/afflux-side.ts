import type { Logger } from '../../core/service/log.ts';
import { HOUR_MS, WEEK_MS } from '../../core/time.ts';
import { connectWarehouse, type Warehouse } from '../../warehouse/clickhouse/client.ts';
import { migrateWarehouse } from '../../warehouse/clickhouse/migrate.ts';
import { loadGeo } from '../../warehouse/geo/geo.ts';
import { velocityOf } from '../../warehouse/lookups/velocity.ts';
import { runReport } from '../../warehouse/reports/reports.ts';
import { generateClicks } from '../warehouse/generate.ts';
import { finishPast } from '../warehouse/past.ts';
import { sampleKeys } from '../warehouse/questions.ts';
import type { Answer, Asked, Store } from './questions.ts';

/** The clicks and the questions to the warehouse, as Afflux itself asks them. */

export async function fillWarehouse(
  clickhouseUrl: string,
  options: { rows: number; seed: number; endMs: number; log: Logger },
): Promise<Warehouse> {
  const { rows, seed, endMs, log } = options;
  const url = new URL(clickhouseUrl);
  url.pathname = `/clicks_${rows}`;
  const warehouse = await connectWarehouse({ url: url.href, name: 'bench' });
  await migrateWarehouse({ warehouse, log });
  await loadGeo(warehouse, { now: endMs });
  await generateClicks({ warehouse, rows, seed, endMs, progress: () => undefined });
  await finishPast(warehouse, { url: url.href, endMs });
  return warehouse;
}

export async function warehouseStore(warehouse: Warehouse): Promise<Store> {
  const { rows } = await warehouse.query<{ bytes: string }>(
    `SELECT sum(bytes_on_disk) AS bytes FROM system.parts
     WHERE active AND database = currentDatabase() AND NOT startsWith(table, 'geo')`,
  );
  const recent = async (key: 'ip' | 'fingerprint', value: string, now: Date): Promise<Answer> => {
    const { clicks } = await velocityOf(warehouse, { key, value, now });
    return [
      ['5 minutes', clicks.m5],
      ['1 hour', clicks.m60],
      ['24 hours', clicks.h24],
    ];
  };
  return {
    name: 'Afflux',
    bytes: Number(rows[0]?.bytes),
    select1: () => warehouse.query('SELECT 1'),
    async clicksByHour({ campaign, from, to }) {
      const filters = [{ dimension: 'campaign' as const, values: [campaign] }];
      const hours = await runReport(warehouse, {
        from,
        to,
        groupBy: ['hour'],
        metrics: ['clicks'],
        filters,
        limit: 1_000,
      });
      return hours.rows.map(({ hour, clicks }): [string, number] => [String(hour), Number(clicks)]);
    },
    async clicksByDay({ from, to }) {
      const days = await runReport(warehouse, {
        from,
        to,
        groupBy: ['day'],
        metrics: ['clicks'],
        limit: 1_000,
      });
      return days.rows.map(({ day, clicks }): [string, number] => [String(day), Number(clicks)]);
    },
    clicksOfIp: ({ ip, now }) => recent('ip', ip, now),
    clicksOfFingerprint: ({ fingerprint, now }) => recent('fingerprint', fingerprint, now),
  };
}

/** The busiest campaigns first and most: that is what is looked at. Keys that were seen in the last day. */
export async function makeQuestions(warehouse: Warehouse, endMs: number): Promise<Asked[]> {
  const fromMs = endMs - 24 * HOUR_MS;
  const ips = await sampleKeys(warehouse, { key: 'ip', fromMs });
  const fingerprints = await sampleKeys(warehouse, { key: 'fingerprint', fromMs });
  const to = Math.floor(endMs / HOUR_MS) * HOUR_MS;
  return ips.map((ip, i) => ({
    campaign: Math.max(1, Math.floor(1_000 ** ((i % 50) / 50))),
    from: new Date(to - WEEK_MS),
    to: new Date(to),
    ip,
    fingerprint: fingerprints[i % fingerprints.length] ?? '0',
    now: new Date(endMs),
  }));
}
