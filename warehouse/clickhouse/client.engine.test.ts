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

it('says what to do when ClickHouse is away', async () => {
  const url = `http://127.0.0.1:${await freePort()}/afflux`;
  await expect(connectWarehouse({ url, name: 'test' })).rejects.toMatchObject({
    code: 'clickhouse_unreachable',
    message: expect.stringContaining('CLICKHOUSE_URL'),
  });
});

it('tells a refusal from an absence, in queries and in inserts', async () => {
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

it('an answer that never comes is an absence', async () => {
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
