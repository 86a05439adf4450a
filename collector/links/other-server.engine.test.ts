import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { applicationUrl } from '../../core/login.ts';
import { openPostgres, type Postgres } from '../../core/postgres/postgres.ts';
import { type Engine, freePort } from '../../engines/engine.ts';
import { startPostgres } from '../../engines/postgres.ts';
import { connectDatabase, connectOwner } from '../../ledger/postgres/db.ts';
import { migrateLedger } from '../../ledger/postgres/migrate.ts';
import { waitFor } from '../../test/support/engines.ts';
import { createParties } from '../../test/support/ledger.ts';
import { quietLog } from '../../test/support/warehouse.ts';
import { followLinks } from './links.ts';

/** A server that goes on from an older state, as a promoted standby can: it gives transaction numbers that were seen already. */

const PASSWORD = 'app';
let folder: string;
let port: number;
let engine: Engine;
let sql: Postgres;

const start = () =>
  startPostgres({ dataDir: join(folder, 'pg'), port, password: 'p', database: 'afflux', log: quietLog });

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-other-'));
  port = await freePort();
  engine = await start();
  await migrateLedger({ url: engine.url, log: quietLog, appPassword: PASSWORD });
});
afterAll(async () => {
  await sql?.end({ timeoutMs: 0 });
  await engine?.stop();
  rmSync(folder, { recursive: true, force: true });
});

test('what it commits under such a number is seen', async () => {
  const url = applicationUrl(engine.url, PASSWORD);
  const ledger = await connectDatabase({ url, max: 1, name: 'test' });
  const { linkId } = await createParties(ledger);
  const [link] = await ledger<{ code: string }[]>`select code from links where id = ${linkId}`;
  await ledger.end();
  sql = openPostgres({ url, max: 1, name: 'afflux-collector', as: 'application' });
  const links = followLinks({
    sql,
    snapshotFile: join(folder, 'links.snapshot'),
    beforeReading: async () => undefined,
    asns: { loadAsns: async () => undefined, hasAsns: () => true },
    log: quietLog,
  });
  try {
    const sees = (code: string) => () => links.find(code) !== undefined;
    await waitFor(sees(link?.code ?? ''), { deadlineMs: 20_000, what: 'the first link' });
    const owner = await connectOwner({ url: engine.url, name: 'test' });
    // Without the trigger that stamps the number of its transaction.
    await owner.unsafe(`set session_replication_role = replica;
      insert into links overriding system value select n.* from links l, jsonb_populate_record(l,
        jsonb_build_object('id', l.id + 1, 'code', 'again', 'change_xid', '3')) n where l.id = ${linkId}`);
    await owner.end();
    await engine.stop();
    engine = await start();
    await waitFor(sees('again'), { deadlineMs: 20_000, what: 'the link of the other server' });
    expect(links.find(link?.code ?? '')).toBeDefined();
  } finally {
    await links.stop();
  }
});
