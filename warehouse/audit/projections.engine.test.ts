import { readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { clickRecords, encodeClicks, freshWarehouse } from '../../test/support/warehouse.ts';
import { INSERT_CLICKS_SQL, INSERT_SETTINGS } from '../loader/inserter.ts';
import { checkProjections } from './projections.ts';

let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;

beforeEach(async () => {
  warehouse = await freshWarehouse();
  // Two parts of as many rows, and of one campaign and link, so that their rollups have as many rows too.
  for (const [i, affiliate_id] of [10, 11].entries()) {
    const clicks = clickRecords(i, 0, 300, { campaign_id: 1, link_id: 100, affiliate_id }).map((click) => ({
      ...click,
      ts: click.ts + i * 60_000,
      fingerprint: click.fingerprint + BigInt(i * 7_919),
    }));
    await warehouse.insertBytes({
      sql: INSERT_CLICKS_SQL,
      data: [encodeClicks(clicks)],
      settings: INSERT_SETTINGS,
    });
  }
});
afterEach(() => warehouse.drop());

async function faults(): Promise<Record<string, string>> {
  const checks = await checkProjections(warehouse);
  return Object.fromEntries(checks.flatMap(({ projection, fault }) => (fault ? [[projection, fault]] : [])));
}

/** Folders of a table's parts: two of them. */
async function partFolders(table: string): Promise<[string, string]> {
  const { rows } = await warehouse.query<{ path: string }>(
    'SELECT path FROM system.parts WHERE database = currentDatabase() AND table = {table:String} AND active ORDER BY name',
    { table },
  );
  expect(rows).toHaveLength(2);
  return [rows[0]?.path ?? '', rows[1]?.path ?? ''];
}

/** Lets `change` work on the folders of the parts, which the engine then reads again. */
async function whileDetached(table: string, change: (folders: [string, string]) => void): Promise<void> {
  const active = await partFolders(table);
  await warehouse.command(`ALTER TABLE ${table} DETACH PARTITION ID '202611'`);
  const [first, second] = active.map((path) => path.replace(/([^/]+\/?)$/, 'detached/$1'));
  change([first ?? '', second ?? '']);
  await warehouse.command(`ALTER TABLE ${table} ATTACH PARTITION ID '202611'`);
  await partFolders(table);
}

/** Gives each of two parts the projection of the other. */
function swapProjections(folders: [string, string], projection: string): void {
  const [first, second] = folders.map((folder) => join(folder, `${projection}.proj`)) as [string, string];
  renameSync(first, `${first}.kept`);
  renameSync(second, first);
  renameSync(`${first}.kept`, second);
}

describe('projections', () => {
  it('are equal to their tables, of parts as inserted and as merged', async () => {
    const rows = async () =>
      (await checkProjections(warehouse)).map(({ projection, fault, rows, parts }) => ({
        projection,
        fault,
        rows: rows > 0,
        parts,
      }));
    const expected = (parts: number) =>
      [
        'clicks.by_time',
        'clicks.by_visitor_key',
        'clicks.by_address',
        'clicks.by_fingerprint',
        'clicks_hourly.by_affiliate',
      ].map((projection) => ({ projection, fault: undefined, rows: true, parts }));
    expect(await rows()).toEqual(expected(2));
    for (const table of ['clicks', 'clicks_hourly']) await warehouse.command(`OPTIMIZE TABLE ${table} FINAL`);
    expect(await rows()).toEqual(expected(1));
  });

  it.each([
    ['clicks', 'by_time'],
    ['clicks', 'by_visitor_key'],
    ['clicks', 'by_address'],
    ['clicks', 'by_fingerprint'],
    ['clicks_hourly', 'by_affiliate'],
  ] as const)('of %s that hold other rows are named: %s', async (table, projection) => {
    await whileDetached(table, (folders) => swapProjections(folders, projection));
    expect(await faults()).toEqual({
      [`${table}.${projection}`]: expect.stringMatching(
        /^differs from the table in 2 of 2 parts: 202611_\d+_\d+_\d+, 202611_/,
      ),
    });
  });

  it('that cannot be read are named', async () => {
    await whileDetached('clicks', ([first]) => {
      const folder = join(first, 'by_time.proj');
      for (const name of readdirSync(folder).filter((file) => file.endsWith('.bin'))) {
        const file = join(folder, name);
        writeFileSync(file, Buffer.alloc(statSync(file).size), { flag: 'r+' });
      }
    });
    expect(await faults()).toEqual({ 'clicks.by_time': expect.stringContaining('cannot be read: ') });
  });

  it('that a part does not have are left out', async () => {
    await whileDetached('clicks', ([first]) => {
      rmSync(join(first, 'by_address.proj'), { recursive: true });
    });
    const checks = await checkProjections(warehouse);
    expect(checks.find(({ projection }) => projection === 'clicks.by_address')).toMatchObject({ parts: 1 });
  });
});
