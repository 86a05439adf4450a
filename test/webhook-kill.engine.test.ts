import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fromProject } from '../core/config/paths.ts';
import { freePort } from '../engines/engine.ts';
import { createApiKey } from '../ledger/access/api-keys.ts';
import { waitFor } from './support/engines.ts';
import { createParties, freshLedger, type TestLedger } from './support/ledger.ts';
import { freshWarehouse } from './support/warehouse.ts';

/** The API, killed −9 while it delivers webhooks: every event arrives, each under one id with the same bytes. */

const KILLS = 3;

let books: TestLedger;
let warehouse: Awaited<ReturnType<typeof freshWarehouse>>;
let home: string;
let port: number;
let key: string;
const children = new Set<ChildProcess>();

interface Received {
  readonly id: string;
  readonly body: string;
}
const received: Received[] = [];
/** How the receiver answers a request; at first not at all. */
let answer: (response: ServerResponse) => void = () => undefined;
const receiver = createServer((request, response) => {
  let body = '';
  request.setEncoding('utf8').on('data', (part: string) => {
    body += part;
  });
  request.on('end', () => {
    received.push({ id: String(request.headers['webhook-id']), body });
    answer(response);
  });
});

beforeAll(async () => {
  [books, warehouse] = await Promise.all([freshLedger({ max: 4 }), freshWarehouse()]);
  home = mkdtempSync(join(tmpdir(), 'afflux-kill-'));
  port = await freePort();
  const { programId } = await createParties(books.ledger);
  key = (await createApiKey(books.ledger, { role: 'operator', name: 'test', programId })).key;
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  receiver.closeAllConnections();
  receiver.close();
  await books?.close();
  await warehouse?.drop();
  rmSync(home, { recursive: true, force: true });
});

/** Starts `afflux api`; returns a function that kills it and waits for its end. */
async function startApi(): Promise<() => Promise<void>> {
  const child = fork(fromProject('dist/bin/afflux.js'), ['api'], {
    env: {
      ...process.env,
      AFFLUX_HOME: home,
      DATABASE_URL: books.appUrl,
      CLICKHOUSE_URL: warehouse.url,
      API_PORT: String(port),
      WEBHOOK_NETWORKS: '127.0.0.1',
      LOG_LEVEL: 'error',
    },
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  children.add(child);
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await waitFor(async () => (await fetch(`http://127.0.0.1:${port}/readyz`)).ok, {
    deadlineMs: 30_000,
    what: 'the API',
  });
  return async () => {
    child.kill('SIGKILL');
    await exited;
    children.delete(child);
  };
}

async function post(path: string, json: object = {}): Promise<Record<string, unknown>> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(json),
  });
  expect([path, response.ok]).toEqual([path, true]);
  return (await response.json()) as Record<string, unknown>;
}

/** What a killed process held is free again, as it is a minute later. */
async function endClaims(): Promise<void> {
  await books.ledger`update webhook_deliveries set claimed_until = null where state = 'pending'`;
}

async function untold(): Promise<number> {
  const [row] = await books.ledger<{ n: number }[]>`
    select (select count(*) from webhook_events where not fanned_out)::int
      + (select count(*) from webhook_deliveries where state <> 'delivered')::int as n`;
  return row?.n ?? 0;
}

test('every event arrives, however often the process is killed', async () => {
  let kill = await startApi();
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`;
  const { webhook } = await post('/v1/webhooks', { url });
  const test = `/v1/webhooks/${(webhook as { id: string }).id}/test`;

  for (let i = 0; i < KILLS; i++) {
    const before = received.length;
    // The receiver has the message, and the sender will never know it; some have no more than been accepted.
    answer = (response) => void (i % 2 === 0 ? undefined : response.writeHead(204).end());
    await post(test);
    await post(test);
    if (i < KILLS - 1)
      await waitFor(() => received.length > before, { deadlineMs: 15_000, what: 'a message' });
    await kill();
    receiver.closeAllConnections();
    await endClaims();
    kill = await startApi();
  }
  answer = (response) => void response.writeHead(204).end();
  await waitFor(
    async () => {
      await endClaims();
      return (await untold()) === 0;
    },
    { deadlineMs: 30_000, what: 'every delivery' },
  );
  await kill();

  const events = await books.ledger<{ messageId: string }[]>`select message_id from webhook_events`;
  expect(events).toHaveLength(2 * KILLS);
  const bodies = new Map<string, Set<string>>();
  for (const { id, body } of received) bodies.set(id, (bodies.get(id) ?? new Set()).add(body));
  expect([...bodies.keys()].toSorted()).toEqual(events.map(({ messageId }) => messageId).toSorted());
  for (const [id, texts] of bodies) expect([id, texts.size]).toEqual([id, 1]);
  // Those that were under way at a kill came again.
  expect(received.length).toBeGreaterThan(events.length);
});
