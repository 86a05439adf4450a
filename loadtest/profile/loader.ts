import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromProject } from '../../core/config/paths.ts';
import { createLogger } from '../../core/service/log.ts';
import { startClickHouse } from '../../engines/clickhouse.ts';
import { type Engine, freePort } from '../../engines/engine.ts';
import { findNatsServer, startNats } from '../../engines/nats.ts';
import { connectWarehouse } from '../../warehouse/clickhouse/client.ts';
import { migrateWarehouse } from '../../warehouse/clickhouse/migrate.ts';
import { loadGeo } from '../../warehouse/geo/geo.ts';
import { catchUp } from '../warehouse/backlog.ts';

/** A loader that catches up with a backlog, then takes a steady flow; returns what it did. */
export async function loadLoader(options: { rows: number; nodeFlags: readonly string[] }): Promise<string> {
  const { rows, nodeFlags } = options;
  const log = createLogger({ name: 'profile', level: 'error' });
  const folder = mkdtempSync(join(tmpdir(), 'afflux-profile-'));
  const engines: Engine[] = [];
  try {
    const clickhouse = await startClickHouse({
      dataDir: join(folder, 'clickhouse'),
      port: await freePort(),
      password: 'bench',
      database: 'afflux',
      log,
    });
    engines.push(clickhouse);
    const server = await findNatsServer({
      explicit: process.env.NATS_SERVER ?? '',
      home: fromProject('.afflux'),
    });
    const nats = await startNats({
      server,
      dataDir: join(folder, 'nats'),
      port: await freePort(),
      password: 'bench',
      sync: 'interval',
      log,
    });
    engines.push(nats);
    const warehouse = await connectWarehouse({ url: clickhouse.url, name: 'profile' });
    await migrateWarehouse({ warehouse, log });
    await loadGeo(warehouse, { now: Date.now() });
    const done = await catchUp({ warehouse, rows, clickhouse, nats, home: join(folder, 'home'), nodeFlags });
    await warehouse.close();
    const { rowsPerSecond, freshness } = done;
    return `${done.rows} clicks at ${Math.round(rowsPerSecond)}/s, then ${freshness.clicksPerSecond}/s`;
  } finally {
    for (const engine of engines.reverse()) await engine.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}
