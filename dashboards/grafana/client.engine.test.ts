import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Panel } from '@grafana/grafana-foundation-sdk/dashboard';
import { expect, test } from 'vitest';
import { DAY_MS } from '../../core/time.ts';
import { buildGo, hasGo } from '../../test/support/go/go.ts';
import { createAsker, type Target } from '../../test/support/grafana/answers.ts';
import {
  expandClickHouse,
  insertSampleData,
  publishWatermark,
  type Situation,
} from '../../test/support/grafana/sample-data.ts';
import { freshLedger } from '../../test/support/ledger.ts';
import { startAnalystEngine } from '../../test/support/servers/analysts.ts';
import { quietLog } from '../../test/support/warehouse.ts';
import { ANALYST_READS } from '../../warehouse/analysts/reads.ts';
import { connectWarehouse } from '../../warehouse/clickhouse/client.ts';
import { migrateWarehouse } from '../../warehouse/clickhouse/migrate.ts';
import { ALERT_GROUPS } from './alerts.ts';
import { allBoards } from './boards/index.ts';
import { CLICKHOUSE } from './data-source-ids.ts';

/**
 * Every query on ClickHouse through the driver of Grafana's plugin with the plugin's options, as the user of the data
 * source, against the embedded engine of `npm start`.
 */

/** To fetch and compile the driver takes 40 s of a core the first time. */
const CLIENT_MS = 400_000;

interface Asked {
  readonly name: string;
  readonly sql: string;
}

/** The queries of panels, variables and alerts as they are sent while every variable but one affiliate is at All. */
function queries(now: number, affiliate: number): Asked[] {
  const situation: Situation = {
    fromMs: now - 7 * DAY_MS,
    toMs: now + 60_000,
    intervalS: 3_600,
    values: {
      program: undefined,
      campaign: undefined,
      affiliate: String(affiliate),
      country: undefined,
      device: undefined,
    },
  };
  const ofBoards = allBoards().flatMap((board) => [
    ...(board.panels ?? []).flatMap((panel) =>
      (((panel as Panel).targets ?? []) as unknown as Target[])
        .filter(({ datasource }) => datasource.uid === CLICKHOUSE.uid)
        .map(({ refId, rawSql }) => ({ name: `${board.title}: ${panel.title} ${refId}`, sql: rawSql })),
    ),
    ...(board.templating?.list ?? []).flatMap(({ name, type, query }) =>
      type === 'query'
        ? [{ name: `${board.title}: ${name}`, sql: (query as unknown as { rawSql: string }).rawSql }]
        : [],
    ),
  ]);
  const ofAlerts = ALERT_GROUPS.flatMap(({ alerts }) => alerts).flatMap(({ uid, question }) =>
    question.store === 'clickhouse' ? [{ name: `alert ${uid}`, sql: question.sql }] : [],
  );
  return [...ofBoards, ...ofAlerts].map(({ name, sql }) => ({
    name,
    sql: expandClickHouse(sql, situation),
  }));
}

/** What JSON and the driver say of the same value: times in milliseconds, numbers as such. */
function comparable(value: unknown, kind: string): unknown {
  if (value === null) return null;
  if (kind === 'time') return typeof value === 'number' ? value : Date.parse(`${value}Z`.replace(' ', 'T'));
  return kind === 'number' ? Number(value) : value;
}

test('every query answers Grafana’s driver what it answers over HTTP', { timeout: CLIENT_MS }, async ({
  skip,
}) => {
  if (!hasGo('the queries of dashboards with the driver of Grafana’s plugin')) skip('no go');
  const folder = mkdtempSync(join(tmpdir(), 'afflux-grafana-'));
  const [engine, books, client] = await Promise.all([
    startAnalystEngine(ANALYST_READS),
    freshLedger({ max: 2 }),
    buildGo('clickhouse-clients'),
  ]);
  const warehouse = await connectWarehouse({ url: engine.url, name: 'test' });
  try {
    await migrateWarehouse({ warehouse, log: quietLog });
    const { shop, now } = await insertSampleData({ books, warehouse });
    await publishWatermark(warehouse, now);
    const asked = queries(now, shop.chain[0]);
    expect(asked.length).toBeGreaterThan(60);
    const file = join(folder, 'queries.json');
    writeFileSync(file, JSON.stringify(asked.map(({ sql }) => sql)));
    const answers = JSON.parse(await client.run([file], { CLICKHOUSE_URL: engine.analystUrl })) as {
      Columns: { Name: string; Type: string }[];
      Rows: unknown[][];
      Error: string;
    }[];
    const { clickhouse } = createAsker({ books, warehouse: { url: engine.url } });
    let compared = 0;
    for (const [i, { name, sql }] of asked.entries()) {
      const { Columns, Rows, Error: error } = answers[i] ?? { Columns: [], Rows: [], Error: 'no answer' };
      expect([name, error]).toEqual([name, '']);
      const { columns, rows } = await clickhouse(sql);
      const kinds = columns.map(({ kind }) => kind);
      // Over HTTP an answer without rows has no block, and so no columns for the driver.
      if (rows.length === 0) {
        expect([name, Rows]).toEqual([name, []]);
        continue;
      }
      expect([name, Columns.map((column) => column.Name)]).toEqual([
        name,
        columns.map((column) => column.name),
      ]);
      // What is counted back from now has moved on between the two.
      if (/\bnow(?:64)?\(/.test(sql)) continue;
      compared += rows.length;
      const own = (given: readonly (readonly unknown[])[]) =>
        given.map((row) => row.map((value, at) => comparable(value, kinds[at] ?? '')));
      expect([name, own(Rows)]).toEqual([name, own(rows)]);
    }
    expect(compared).toBeGreaterThan(500);
  } finally {
    await warehouse.close();
    await Promise.all([engine.stop(), books.close()]);
    client.remove();
    rmSync(folder, { recursive: true });
  }
});
