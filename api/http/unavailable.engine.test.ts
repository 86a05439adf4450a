import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../../engines/engine.ts';
import { startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { waitFor } from '../../test/support/engines.ts';

/** A cable between the API and an engine that can be pulled out and put back. */
interface Cable {
  readonly url: string;
  pull(): Promise<void>;
  plug(): Promise<void>;
}

async function layCable(target: string): Promise<Cable> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  const ownPort = await freePort();
  let server: Server;

  function plug(): Promise<void> {
    server = createServer((near) => {
      const far = connect(Number(port), hostname);
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(from);
        from.pipe(to);
        from.on('error', () => to.destroy()).on('close', () => to.destroy());
      }
    });
    return new Promise((resolve) => server.listen(ownPort, '127.0.0.1', resolve));
  }
  await plug();
  const url = new URL(target);
  url.port = String(ownPort);
  url.hostname = '127.0.0.1';
  return {
    url: url.href,
    plug,
    async pull() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      sockets.clear();
      await closed;
    },
  };
}

let api: TestApi;
let shop: Tenant;
const cables: Cable[] = [];

beforeAll(async () => {
  api = await startTestApi(async (url) => {
    const cable = await layCable(url);
    cables.push(cable);
    return cable.url;
  });
  shop = await api.tenant('shop');
});
afterAll(async () => {
  await api?.stop();
  for (const cable of cables) await cable.pull();
});

const REPORT = '/v1/reports?from=2026-11-22T00:00:00Z&to=2026-11-23T00:00:00Z';
const order = { order_id: 'while-away', amount: '1', currency: 'EUR' };

test('PostgreSQL away: 503, nothing half-written, and back by itself', async () => {
  const [postgres] = cables;
  const key = shop.keys.advertiser;
  expect((await api.call('GET', '/readyz')).status).toBe(200);
  await postgres?.pull();
  for (const path of ['/v1/me', '/v1/programs', `/postback?order_id=x&amount=1&currency=EUR&key=${key}`]) {
    const answer = await api.call('GET', path, { key });
    expect([answer.status, answer.body.code]).toEqual([503, 'unavailable']);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(answer.text).not.toMatch(/127\.0\.0\.1|ECONN/);
  }
  const ready = await api.call('GET', '/readyz');
  expect([ready.status, ready.text]).toEqual([503, expect.stringMatching(/^PostgreSQL does not answer/)]);
  expect((await api.call('GET', '/healthz')).status).toBe(200);
  // The client's own back-off would make some of these wait for ten seconds and more.
  for (let i = 0; i < 30; i++) {
    const startedAt = Date.now();
    expect((await api.call('GET', '/v1/me', { key })).status).toBe(503);
    expect(Date.now() - startedAt).toBeLessThan(2_000);
  }
  await postgres?.plug();
  const answer = await waitFor(
    async () => {
      const retried = await api.call('POST', '/v1/conversions', { key, json: order });
      return retried.status !== 503 && retried;
    },
    { deadlineMs: 5_000, what: 'PostgreSQL to be used again' },
  );
  expect(answer.body.status).toBe('accepted');
});

test('ClickHouse away: orders are taken, reports are 503', async () => {
  const [, clickhouse] = cables;
  await clickhouse?.pull();
  const key = shop.keys.operator;
  const report = await api.call('GET', REPORT, { key });
  expect([report.status, report.body.code]).toEqual([503, 'unavailable']);
  expect((await api.call('GET', '/readyz')).text).toMatch(/^ClickHouse does not answer/);
  const answer = await api.call('POST', '/v1/conversions', { key, json: { ...order, order_id: 'dark' } });
  expect(answer.body.status).toBe('accepted');
  await clickhouse?.plug();
  expect((await api.call('GET', REPORT, { key })).status).toBe(200);
  expect((await api.call('GET', '/readyz')).status).toBe(200);
});
