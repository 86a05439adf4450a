import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { fromProject } from '../../core/config/paths.ts';
import { formatAmount } from '../../core/money.ts';
import type { BenchOrder } from './data.ts';

/** Orders through the HTTP API, in a process of its own. */

/** Connections of shops' servers. */
const CONNECTIONS = 32;

/** Starts `afflux api` with this environment and waits until it is ready. */
export async function startApiProcess(
  env: Readonly<Record<string, string>>,
): Promise<{ pid: number; stop(): Promise<void> }> {
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
    pid: child.pid ?? 0,
    async stop() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

/**
 * Posts every order once over connections that each wait for their answer; returns the seconds it took. Bytes on
 * sockets: a client of HTTP's whole comfort takes as much of the processor as the server does, and shops bring their own.
 * @throws Error for an answer that is not 202.
 */
export async function recordByApi(options: {
  port: number;
  key: string;
  orders: readonly BenchOrder[];
}): Promise<number> {
  const requests = options.orders.map((order) => requestOf(order, options.key));
  const rest = requests.values();
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: CONNECTIONS }, () => sendFrom(rest, options.port)));
  return (performance.now() - startedAt) / 1_000;
}

function requestOf(order: BenchOrder, key: string): Buffer {
  const body = JSON.stringify({
    order_id: order.orderId,
    amount: formatAmount(order.amountMinor, 'EUR'),
    currency: 'EUR',
    click_id: order.clickId,
    occurred_at: order.occurredAt.toISOString(),
  });
  const head = [
    'POST /v1/conversions HTTP/1.1',
    'host: localhost',
    `authorization: Bearer ${key}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`);
}

async function sendFrom(requests: Iterator<Buffer>, port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  await new Promise<void>((resolve, reject) => {
    let received = '';
    const next = (): void => {
      const { value, done } = requests.next();
      received = '';
      if (done) resolve();
      else socket.write(value);
    };
    socket.on('connect', next);
    socket.on('data', (bytes) => {
      received += bytes.toString('latin1');
      const bodyAt = received.indexOf('\r\n\r\n') + 4;
      const length = /content-length: (\d+)/i.exec(received)?.[1];
      if (bodyAt < 4 || received.length < bodyAt + Number(length)) return;
      if (received.startsWith('HTTP/1.1 202')) next();
      else reject(new Error(`an order was answered ${received}`));
    });
    socket.on('error', reject);
  }).finally(() => socket.destroy());
}

/** Linux counts a process's time in hundredths of a second. */
const TICK_MS = 10;

/** Processor time that these processes have taken so far, without their children, in ms. */
export function cpuMs(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + TICK_MS * ticksOf(pid), 0);
}

function ticksOf(pid: number): number {
  try {
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th behind it (proc(5)).
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
    return Number(fields[11]) + Number(fields[12]);
  } catch {
    return 0;
  }
}
