import { join } from 'node:path';
import { createLogger } from '../../core/service/log.ts';
import { connectWarehouse } from '../../warehouse/clickhouse/client.ts';
import { migrateWarehouse } from '../../warehouse/clickhouse/migrate.ts';
import { loadGeo } from '../../warehouse/geo/geo.ts';
import type { Run } from '../ending.ts';
import { ownEngines } from '../engines.ts';
import { catchUp } from '../warehouse/backlog.ts';

/** A loader that catches up with a backlog, then takes a steady flow; returns what it did. */
export async function loadLoader(options: {
  run: Run;
  rows: number;
  nodeFlags: readonly string[];
}): Promise<string> {
  const { run, rows, nodeFlags } = options;
  const log = createLogger({ name: 'profile', level: 'error' });
  const folder = run.makeFolder('afflux-profile-');
  const engines = ownEngines(run, { folder, log });
  const clickhouse = await engines.clickhouse();
  const nats = await engines.nats({ sync: 'interval' });
  const warehouse = await connectWarehouse({ url: clickhouse.url, name: 'profile' });
  await migrateWarehouse({ warehouse, log });
  await loadGeo(warehouse, { now: Date.now() });
  const done = await catchUp({ warehouse, rows, clickhouse, nats, home: join(folder, 'home'), nodeFlags });
  await warehouse.close();
  const { rowsPerSecond, freshness } = done;
  return `${done.rows} clicks at ${Math.round(rowsPerSecond)}/s, then ${freshness.clicksPerSecond}/s`;
}
