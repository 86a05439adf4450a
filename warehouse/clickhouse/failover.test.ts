import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OperatingError } from '../../core/errors.ts';
import { type Receiver, startReceiver } from '../../test/support/servers/receiver.ts';
import { connectWarehouse, parseTarget, type Warehouse, warehouseOf } from './client.ts';
import { withFailover } from './failover.ts';
import { openHttpTransport } from './http.ts';
import { openOfficialTransport } from './official.ts';

/**
 * What the client sends to which server. The servers are doubles: how ClickHouse behaves is tested with the engine, and of
 * a cluster by `npm run test:cluster`.
 */
let servers: Receiver[];
beforeEach(async () => {
  servers = [await startReceiver(), await startReceiver()];
  for (const server of servers) works(server);
});
afterEach(async () => {
  for (const server of servers) await server.stop();
});

/** Answers as a server whose databases exist. */
function works(server: Receiver): void {
  server.answering((response) => {
    const isAsked = server.received.at(-1)?.body.startsWith('EXISTS DATABASE');
    response.end(
      isAsked ? '1\n' : JSON.stringify({ meta: [{ name: 'from' }], data: [[servers.indexOf(server)]] }),
    );
  });
}

/** Ends each connection without an answer, as a server does that is killed. */
function isDown(server: Receiver): void {
  server.answering((response) => response.destroy());
}

function fails(server: Receiver, number: number): void {
  server.answering((response) => {
    response.writeHead(500, { 'X-ClickHouse-Exception-Code': String(number) });
    response.end(`Code: ${number}. DB::Exception: no. (SOMETHING)`);
  });
}

const first = () => servers[0] as Receiver;
const second = () => servers[1] as Receiver;

function connect(given: Partial<Parameters<typeof connectWarehouse>[0]> = {}) {
  const url = servers.map((server) => server.url.replace('/hook', '/shop').replace('//', '//u:p@')).join(',');
  return connectWarehouse({ url, cluster: 'main', name: 'test', ...given });
}

/** What a server was sent behind the preparation of its use. */
function sent(
  server: Receiver,
): { sql: string; database: string | null; get(name: string): string | null }[] {
  return server.received
    .map(({ url = '', body }) => {
      const { searchParams } = new URL(url, 'http://localhost');
      const query = searchParams.get('query');
      return {
        sql: query ?? body,
        database: searchParams.get('database'),
        get: (name: string) => searchParams.get(name),
      };
    })
    .filter(({ sql }) => !sql.startsWith('EXISTS'));
}

const insert = {
  sql: 'INSERT INTO clicks FORMAT RowBinary',
  data: [Buffer.from('row')],
  settings: { insert_deduplication_token: '0:1-2@then' },
};

describe('a connection to a cluster', () => {
  it('reads every shard and writes into the tables, with what a cluster needs', async () => {
    const warehouse = await connect();
    await warehouse.query('SELECT 1');
    await warehouse.insertBytes(insert);
    await warehouse.everywhere('ALTER TABLE clicks DELETE WHERE 1');
    await warehouse.close();
    const [read, block, change] = sent(first());
    expect(read?.database).toBe('shop_all');
    expect(read?.get('distributed_product_mode')).toBe('local');
    expect(read?.get('select_sequential_consistency')).toBe('1');
    expect(read?.get('optimize_skip_unused_shards')).toBe('1');
    expect(block?.database).toBe('shop');
    expect(block?.get('insert_quorum')).toBe('auto');
    expect(block?.get('insert_quorum_parallel')).toBe('0');
    expect(block?.get('insert_deduplication_token')).toBe('0:1-2@then');
    expect(change?.sql).toContain('ALTER TABLE clicks ON CLUSTER `main` DELETE');
    expect(Number(change?.get('distributed_ddl_task_timeout'))).toBeGreaterThan(0);
    expect(sent(second())).toEqual([]);
  });

  it.each<[string, (warehouse: Warehouse) => Promise<void>]>([
    ['insertBytes', (warehouse) => warehouse.insertBytes({ ...insert, settings: { insert_quorum: 0 } })],
    ['insertRows', (warehouse) => warehouse.insertRows('watermarks', [{ shard: 0 }])],
    ['command', (warehouse) => warehouse.command('INSERT INTO a SELECT * FROM b', {}, { insert_quorum: 0 })],
    ['everywhere', (warehouse) => warehouse.everywhere('-- Rows.\nINSERT INTO a\nSELECT * FROM b')],
  ])('inserts with a quorum, and in one order, by %s', async (_name, write) => {
    const warehouse = await connect();
    let refusals = 1;
    first().answering((response) => {
      if (refusals-- > 0) response.writeHead(500, { 'X-ClickHouse-Exception-Code': '286' });
      response.end('');
    });
    await write(warehouse);
    await warehouse.close();
    const inserts = sent(first());
    expect(inserts).toHaveLength(2);
    for (const one of inserts) {
      expect(one.sql).not.toContain('ON CLUSTER');
      expect(one.get('insert_quorum')).toBe('auto');
      expect(one.get('insert_quorum_parallel')).toBe('0');
    }
  });

  it('reads the tables of the server itself where that is wanted', async () => {
    const warehouse = await connect({ reads: 'server' });
    await warehouse.query('SELECT 1');
    await warehouse.close();
    expect(sent(first())[0]?.database).toBe('shop');
  });

  it('of a server that is down goes on reading at the next one, and stays there', async () => {
    const warehouse = await connect();
    isDown(first());
    expect((await warehouse.query('SELECT 1')).rows).toEqual([{ from: 1 }]);
    works(first());
    const asked = first().received.length;
    expect((await warehouse.query('SELECT 2')).rows).toEqual([{ from: 1 }]);
    expect(first().received).toHaveLength(asked);
    await warehouse.close();
  });

  it('gives an insert back whose answer is lost, and its repetition with the same token to the next server', async () => {
    const warehouse = await connect();
    isDown(first());
    await expect(warehouse.insertBytes(insert)).rejects.toMatchObject({ code: 'clickhouse_unreachable' });
    expect(sent(second())).toEqual([]);
    await warehouse.insertBytes(insert);
    await warehouse.close();
    const tokens = [first(), second()].map((server) =>
      sent(server).map((one) => one.get('insert_deduplication_token')),
    );
    expect(tokens).toEqual([['0:1-2@then'], ['0:1-2@then']]);
  });

  it.each([242, 289, 999])('leaves a server for the fault %i of a replica', async (number) => {
    const warehouse = await connect();
    fails(first(), number);
    expect((await warehouse.query('SELECT 1')).rows).toEqual([{ from: 1 }]);
    await warehouse.close();
  });

  it('does not leave a server for a fault of the statement', async () => {
    const warehouse = await connect();
    fails(first(), 62);
    await expect(warehouse.query('SELEC')).rejects.toMatchObject({
      code: 'clickhouse_refused',
      clickhouseCode: 62,
    });
    expect(sent(second())).toEqual([]);
    await warehouse.close();
  });

  it('repeats an insert that another one kept from beginning, at the same server with the same token', async () => {
    const warehouse = await connect();
    let refusals = 2;
    const { received } = first();
    first().answering((response) => {
      if (refusals-- > 0) response.writeHead(500, { 'X-ClickHouse-Exception-Code': '286' });
      response.end('');
    });
    const before = received.length;
    await warehouse.insertBytes(insert);
    expect(received.length - before).toBe(3);
    expect(new Set(sent(first()).map((one) => one.get('insert_deduplication_token')))).toEqual(
      new Set(['0:1-2@then']),
    );
    await warehouse.close();
  });

  it('uses no server that is not accepted, and says why when there is none', async () => {
    const refused = (index: number) =>
      new OperatingError('other_shard', `server ${index} is of another shard`);
    const accepting = (wanted: number) => async (server: { query: typeof warehouse.query }) => {
      const { rows } = await server.query<{ from: number }>('SELECT 1');
      if (rows[0]?.from !== wanted) throw refused(rows[0]?.from ?? -1);
    };
    const warehouse = await connect({ accept: accepting(1) });
    expect((await warehouse.query('SELECT 1')).rows).toEqual([{ from: 1 }]);
    await warehouse.close();
    await expect(connect({ accept: accepting(2) })).rejects.toMatchObject({
      code: 'other_shard',
      message: expect.stringMatching(/server 0 .*server 1 /),
    });
  });

  it('keeps statements that belong together at one server', async () => {
    const warehouse = await connect();
    const server = await warehouse.server();
    isDown(first());
    await expect(server.query('SELECT 1')).rejects.toMatchObject({ code: 'clickhouse_unreachable' });
    expect(sent(second())).toEqual([]);
    expect((await (await warehouse.server()).query('SELECT 1')).rows).toEqual([{ from: 1 }]);
    await warehouse.close();
  });

  it.each(['query', 'stream'] as const)('does not repeat a %s that had no answer in time', async (kind) => {
    const [one, two] = servers.map((server) => {
      const target = { ...parseTarget(server.url.replace('/hook', '/shop')), timeoutMs: 200 };
      const transports = {
        queries: openHttpTransport(target, 'test'),
        rest: openOfficialTransport(target, 'test'),
      };
      return { warehouse: warehouseOf(target, { ...transports, cluster: 'main' }), prepare: async () => {} };
    });
    if (!one || !two) throw new Error('two servers');
    const { warehouse } = withFailover([one, two]);
    const read = () =>
      kind === 'query' ? warehouse.query('SELECT 1') : warehouse.stream('SELECT 1', { format: 'CSV' });
    first().answering(() => {});
    await expect(read()).rejects.toMatchObject({ code: 'clickhouse_unreachable' });
    expect([first().received.length, second().received.length]).toEqual([1, 0]);
    // The next one goes elsewhere.
    const stream = await read();
    if ('destroy' in stream) stream.destroy();
    expect([first().received.length, second().received.length]).toEqual([1, 1]);
    await warehouse.close();
  });

  it('makes databases that are missing on every server', async () => {
    first().answering((response) => response.end('0\n'));
    const warehouse = await connect();
    await warehouse.close();
    expect(sent(first()).map(({ sql }) => sql)).toEqual([
      'CREATE DATABASE IF NOT EXISTS `shop` ON CLUSTER `main`',
      'CREATE DATABASE IF NOT EXISTS `shop_all` ON CLUSTER `main`',
    ]);
  });
});
