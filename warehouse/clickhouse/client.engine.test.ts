import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { expect, inject, it } from 'vitest';
import { freePort } from '../../engines/engine.ts';
import { connectWarehouse } from './client.ts';

const UNKNOWN_TABLE = 60;
const TIMEOUT_EXCEEDED = 159;

it('creates the database that the URL names', async () => {
  const url = new URL(inject('clickhouseUrl'));
  url.pathname = '/t_client_created';
  const warehouse = await connectWarehouse({ url: url.href, name: 'test' });
  try {
    const { rows } = await warehouse.query('SELECT currentDatabase() AS name');
    expect(rows).toEqual([{ name: 't_client_created' }]);
  } finally {
    await warehouse.command('DROP DATABASE t_client_created');
    await warehouse.close();
  }
});

it('says what to do when ClickHouse is unavailable', async () => {
  const url = `http://127.0.0.1:${await freePort()}/afflux`;
  await expect(connectWarehouse({ url, name: 'test' })).rejects.toMatchObject({
    code: 'clickhouse_unreachable',
    message: expect.stringContaining('CLICKHOUSE_URL'),
  });
});

it('distinguishes a refused statement from an unreachable server, in queries and in inserts', async () => {
  const warehouse = await connectWarehouse({ url: inject('clickhouseUrl'), name: 'test' });
  try {
    await expect(warehouse.query('SELECT nothing FROM nowhere')).rejects.toMatchObject({
      code: 'clickhouse_refused',
      clickhouseCode: UNKNOWN_TABLE,
    });
    const insert = warehouse.insertBytes({
      sql: 'INSERT INTO nowhere FORMAT RowBinary',
      data: [Buffer.from('x')],
      settings: {},
    });
    await expect(insert).rejects.toMatchObject({
      code: 'clickhouse_refused',
      clickhouseCode: UNKNOWN_TABLE,
    });
    const slow = warehouse.query('SELECT count() FROM numbers(1e12)', {}, { max_execution_time: 0.1 });
    await expect(slow).rejects.toMatchObject({
      code: 'clickhouse_refused',
      clickhouseCode: TIMEOUT_EXCEEDED,
    });
  } finally {
    await warehouse.close();
  }
});

it('a connection that ends without an answer means an unreachable server', async () => {
  const server = createServer((socket) => socket.once('data', () => socket.destroy()));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    const url = `http://127.0.0.1:${port}/afflux`;
    await expect(connectWarehouse({ url, name: 'test' })).rejects.toMatchObject({
      code: 'clickhouse_unreachable',
    });
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
});

it('an answer that is cut short is a failure of every kind of call', async () => {
  const server = createHttpServer((request, response) => {
    request.resume();
    request.on('end', () => {
      const isFirst = !new URL(request.url ?? '/', 'http://localhost').searchParams.has('database');
      if (isFirst) return response.end();
      // A whole row of each format, without the end of the chunked body.
      response.write('{"data":[]}\n', () => response.destroy());
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const warehouse = await connectWarehouse({ url: `http://127.0.0.1:${port}/afflux`, name: 'test' });
  try {
    const calls: Readonly<Record<string, () => Promise<unknown>>> = {
      query: () => warehouse.query('SELECT 1'),
      queryArrow: () => warehouse.queryArrow('SELECT 1'),
      command: () => warehouse.command('SELECT 1'),
      insertRows: () => warehouse.insertRows('t', [{ a: 1 }]),
      insertBytes: () =>
        warehouse.insertBytes({ sql: 'INSERT INTO t FORMAT CSV', data: [Buffer.from('1\n')], settings: {} }),
    };
    for (const [name, call] of Object.entries(calls)) {
      await expect(call(), name).rejects.toMatchObject({ code: 'clickhouse_unreachable' });
    }
    const stream = await warehouse.stream('SELECT 1', { format: 'CSV' });
    await expect(stream.toArray()).rejects.toThrow();
  } finally {
    await warehouse.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

it('a query that fails in the middle of a stream ends it with an error', async () => {
  const warehouse = await connectWarehouse({ url: inject('clickhouseUrl'), name: 'test' });
  try {
    const stream = await warehouse.stream('SELECT throwIf(number = 3000000) FROM numbers(4000000)', {
      format: 'CSV',
    });
    await expect(stream.toArray()).rejects.toThrow();
    const early = warehouse.stream('SELECT throwIf(number = 3) FROM numbers(4)', { format: 'CSV' });
    await expect(early).rejects.toMatchObject({ code: 'clickhouse_refused' });
  } finally {
    await warehouse.close();
  }
});

it.each(['query', 'command'] as const)('binds hostile text as a parameter of a %s', async (kind) => {
  const warehouse = await connectWarehouse({ url: inject('clickhouseUrl'), name: 'test' });
  const texts = ["'", '\\', "\\'", '\t\n\r', '"`', '{a:String}', '𝄞é', ''];
  const sql = `SELECT throwIf({one:String} != unhex({hex:String}) OR {all:Array(String)}[1] != unhex({hex:String})) AS differs`;
  try {
    for (const text of texts) {
      const params = { one: text, all: [text, "',"], hex: Buffer.from(text).toString('hex') };
      await warehouse[kind](sql, params);
    }
  } finally {
    await warehouse.close();
  }
});
