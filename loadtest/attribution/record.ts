import { fork } from 'node:child_process';
import { Agent, request } from 'node:http';
import { formatAmount } from '../../core/money.ts';
import { fromProject } from '../../core/paths.ts';
import type { BenchOrder } from './data.ts';

/** Orders through the HTTP API, in a process of its own. */

/** Connections of shops' servers. */
const CONNECTIONS = 32;

/** Starts `afflux api` with this environment and waits until it is ready. */
export async function startApiProcess(
  env: Readonly<Record<string, string>>,
): Promise<{ stop(): Promise<void> }> {
  const child = fork(fromProject('dist/bin/afflux.js'), ['api'], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  await new Promise<void>((resolve, reject) => {
    child.once('message', () => resolve());
    void exited.then((code) => reject(new Error(`the API ended with code ${code}`)));
  });
  return {
    async stop() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

/** Posts every order once; returns the seconds it took. @throws Error for an answer that is not 202. */
export async function recordByApi(options: {
  port: number;
  key: string;
  orders: readonly BenchOrder[];
}): Promise<number> {
  const { port, key, orders } = options;
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  let next = 0;
  const send = async (order: BenchOrder): Promise<void> => {
    const body = JSON.stringify({
      order_id: order.orderId,
      amount: formatAmount(order.amountMinor, 'EUR'),
      currency: 'EUR',
      click_id: order.clickId,
      occurred_at: order.occurredAt.toISOString(),
    });
    await new Promise<void>((resolve, reject) => {
      const call = request(
        {
          port,
          host: '127.0.0.1',
          path: '/v1/conversions',
          method: 'POST',
          agent,
          headers: {
            authorization: `Bearer ${key}`,
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(body),
          },
        },
        (response) => {
          response.resume();
          response.once('end', () =>
            response.statusCode === 202
              ? resolve()
              : reject(new Error(`order ${order.orderId} was answered ${response.statusCode}`)),
          );
        },
      );
      call.once('error', reject);
      call.end(body);
    });
  };
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      for (let order = orders[next++]; order; order = orders[next++]) await send(order);
    }),
  );
  agent.destroy();
  return (performance.now() - startedAt) / 1_000;
}
