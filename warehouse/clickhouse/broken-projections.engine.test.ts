import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { createLogger } from '../../core/service/log.ts';
import { countingRows, freshWarehouse } from '../../test/support/warehouse.ts';
import { lookupClicks } from '../lookups/lookups.ts';
import { reportBrokenProjections } from './broken-projections.ts';
import { connectWarehouse, type Warehouse } from './client.ts';

const START = Date.UTC(2026, 10, 22, 12);
const ROWS = 40_000;

let plain: Awaited<ReturnType<typeof freshWarehouse>>;
let warehouse: Warehouse;
let metrics: Registry;
let logged: unknown[];

beforeEach(async () => {
  plain = await freshWarehouse();
  await plain.command(
    `INSERT INTO clicks (ts, node, seq, program_id, campaign_id, affiliate_id, link_id, ip, fingerprint)
     SELECT fromUnixTimestamp64Milli(toInt64(${START} + number), 'UTC'), 1, number, 1, 1 + number % 50, 10, 100,
       toIPv6(concat('203.0.', toString(intDiv(number, 200)), '.', toString(number % 200))), number
     FROM numbers(${ROWS}) SETTINGS max_insert_threads = 1, min_insert_block_size_rows = 1000000`,
  );
  metrics = new Registry();
  logged = [];
  const log = createLogger({
    name: 'test',
    level: 'info',
    write: (line) => void logged.push(JSON.parse(line)),
  });
  warehouse = await connectWarehouse({
    url: plain.url,
    name: 'test',
    onBrokenProjection: reportBrokenProjections({ metrics, log }),
  });
});
afterEach(async () => {
  await warehouse.close();
  await plain.drop();
});

/** As a power cut leaves files that were not synced: of their size, with zeros. */
async function fillWithZeros(projection: string, isMeant: (file: string) => boolean): Promise<void> {
  const { rows } = await plain.query<{ path: string }>(
    "SELECT path FROM system.parts WHERE database = currentDatabase() AND table = 'clicks' AND active",
  );
  expect(rows).toHaveLength(1);
  const folder = join(rows[0]?.path ?? '', `${projection}.proj`);
  const files = readdirSync(folder).filter(isMeant);
  expect(files).not.toEqual([]);
  for (const name of files) {
    const file = join(folder, name);
    writeFileSync(file, Buffer.alloc(statSync(file).size), { flag: 'r+' });
  }
}

const reads = async (): Promise<unknown[]> =>
  (await metrics.getMetricsAsJSON()).flatMap(({ values }) =>
    values.map(({ labels, value }) => ({ ...labels, value })),
  );

const identity = { ts: START + 12_345, node: 1, seq: 12_345 };

describe('a projection whose file is zeros', () => {
  it.each([
    ['data', (file: string) => file.endsWith('.bin')],
    ['marks', (file: string) => /\.c?mrk/.test(file)],
  ])('%s: the read is done without it, logged and counted', async (_what, isMeant) => {
    await fillWithZeros('by_time', isMeant);
    await expect(lookupClicks(plain, [identity])).rejects.toMatchObject({ code: 'clickhouse_refused' });
    expect(await lookupClicks(warehouse, [identity])).toMatchObject([identity]);
    expect(logged).toMatchObject([{ table: 'clicks', projection: 'by_time' }]);
    expect(await reads()).toEqual([{ table: 'clicks', projection: 'by_time', value: 1 }]);
  });

  it('every kind of read is done without it', async () => {
    await fillWithZeros('by_address', (file) => file.endsWith('.bin'));
    // Without the cache that names the granules of a condition: they are looked for each time.
    const sql = `SELECT toUInt32(count()) AS clicks FROM clicks WHERE ip = toIPv6('203.0.7.7') AND flags = 0
      SETTINGS use_query_condition_cache = 0`;
    await expect(plain.query(sql)).rejects.toMatchObject({ code: 'clickhouse_refused' });
    expect((await warehouse.query(sql)).rows).toEqual([{ clicks: 1 }]);
    expect((await warehouse.queryArrow(sql)).getChild('clicks')?.get(0)).toBe(1);
    const streamed = await warehouse.stream(sql, { format: 'CSV' });
    expect(String(Buffer.concat(await streamed.toArray()))).toBe('1\n');
    expect(await reads()).toEqual([{ table: 'clicks', projection: 'by_address', value: 3 }]);
  });

  it('is read again once the statements of the runbook have made it again', async () => {
    await fillWithZeros('by_time', (file) => file.endsWith('.bin'));
    await expect(lookupClicks(plain, [identity])).rejects.toMatchObject({ code: 'clickhouse_refused' });
    const runbook = readFileSync(fromProject('docs/runbooks.md'), 'utf8');
    const statements = /```sql\n([^`]*by_time[^`]*)```/.exec(runbook)?.[1]?.trim().split(/;\s*/) ?? [];
    expect(statements.filter(Boolean)).toHaveLength(2);
    for (const statement of statements.filter(Boolean)) await plain.command(statement.trim());
    const { watched, readRows } = countingRows(plain);
    expect(await lookupClicks(watched, [identity])).toMatchObject([identity]);
    expect(readRows()).toBeLessThan(ROWS / 4);
  });

  it('no other error is asked again', async () => {
    await expect(warehouse.query('SELECT nothing FROM clicks')).rejects.toMatchObject({
      code: 'clickhouse_refused',
    });
    expect(logged).toEqual([]);
  });
});
