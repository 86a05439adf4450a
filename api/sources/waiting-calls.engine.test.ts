import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { readMigrations } from '../../core/migrations.ts';
import type { JsonValue } from '../../core/postgres/sql.ts';
import { createLogger } from '../../core/service/log.ts';
import { recordConversion } from '../../ledger/conversions/conversions.ts';
import { insertPostbackCalls } from '../../ledger/integrations/postback-calls.ts';
import {
  addOrderNames,
  createSource,
  deleteSource,
  forgetOrderNames,
  rotateSourceSecret,
  updateSource,
} from '../../ledger/integrations/sources.ts';
import {
  addWaitingCalls,
  forgetWaitingCalls,
  MAX_CALLS_OF_ORDER,
  takeWaitingCalls,
} from '../../ledger/integrations/waiting-calls.ts';
import {
  connectOwner,
  type Database,
  type DatabaseSql,
  type DatabaseTransaction,
  inTransaction,
} from '../../ledger/postgres/db.ts';
import { freshPostgresDatabase } from '../../test/support/engines.ts';
import { createParties, freshLedger, type TestLedger } from '../../test/support/ledger.ts';
import type { ProblemCode } from '../http/problems.ts';
import { doWaitingCalls } from './waiting-calls.ts';

let db: TestLedger;
let ledger: Database;
let programId: number;
let sourceId: number;

beforeAll(async () => {
  db = await freshLedger({ max: 6 });
  ({ ledger } = db);
  ({ programId } = await createParties(ledger));
  await db.owner`update programs set events = '{sale,lead}' where id = ${programId}`;
  sourceId = await source();
});
afterAll(async () => await db?.close());

async function source(): Promise<number> {
  const named = { programId, kind: 'anything', name: 'a shop', host: null, secret: null, mapping: null };
  const address = randomBytes(32);
  return (await createSource(ledger, { ...named, address, addressHash: address })).id;
}

/** A call that waits for orders. */
async function waiting(orderIds: readonly string[], of = sourceId, bodyHash?: Buffer): Promise<bigint> {
  return await inTransaction(ledger, (tx) => waitingIn(tx, orderIds, of, bodyHash));
}

async function waitingIn(
  tx: DatabaseTransaction,
  orderIds: readonly string[],
  of = sourceId,
  bodyHash?: Buffer,
): Promise<bigint> {
  const line = {
    requestId: 'test',
    via: 'source',
    programId,
    sourceId: of,
    actor: null,
    ip: null,
  } as const;
  const refused = {
    params: {},
    outcome: 'rejected',
    status: 202,
    code: 'not_found',
    detail: null,
  } as const;
  const of1 = { orderId: null, conversionId: null, replayOf: null, bodyHash };
  const [callId] = await insertPostbackCalls(tx, [{ ...line, ...refused, ...of1 }]);
  if (callId === undefined) throw new Error('a line has an id');
  const orders = orderIds.map((orderId) => ({ orderId, eventName: 'sale' }));
  await addWaitingCalls(tx, [{ callId, sourceId: of, programId, orders }]);
  return callId;
}

const order = async (sql: DatabaseSql, orderId: string, eventName = 'sale') =>
  await recordConversion(sql, {
    programId,
    orderId,
    eventName,
    amountMinor: 1_000n,
    currency: 'EUR',
    source: 'api',
  });

const log = createLogger({ name: 'test', level: 'silent' });
const failing = new Set<bigint>();
const done: bigint[] = [];
const refusing = new Map<bigint, ProblemCode>();
const receiver = {
  async replay(callId: bigint) {
    if (failing.has(callId)) throw new Error('no');
    done.push(callId);
    const code = refusing.get(callId);
    return { refusal: code && { code, detail: 'refused' } };
  },
};

/** What is done until nothing is due any more. */
async function look(): Promise<bigint[]> {
  done.length = 0;
  for (let n = 0; n < 10; n++) if ((await doWaitingCalls({ ledger, receiver, log })) === 0) break;
  return done.toSorted();
}
const isWaiting = async (callId: bigint) =>
  (await ledger`select from waiting_calls where call_id = ${callId}`).length === 1;

test('a call with several orders is done for each of them, and ends with the last', async () => {
  const callId = await waiting(['a-1', 'a-2', 'a-3']);
  expect(await look()).toEqual([]);
  await order(ledger, 'a-2');
  expect(await look()).toEqual([callId]);
  expect(await look()).toEqual([]);
  await order(ledger, 'a-1', 'lead');
  expect(await look()).toEqual([]);
  await inTransaction(ledger, async (tx) => {
    await order(tx, 'a-1');
    await order(tx, 'a-3');
  });
  expect(await look()).toEqual([callId]);
  expect(await isWaiting(callId)).toBe(false);
});

test('names of orders count in both directions, whichever comes first', async () => {
  const add = (name: string, orderId: string) => addOrderNames(ledger, [{ sourceId, name, orderId }]);
  const calls = [];
  for (const [i, [named, recorded]] of [
    ['pay', 'inv'],
    ['inv', 'pay'],
  ].entries()) {
    const steps = [
      (id: string) => waiting([`${named}-${id}`]),
      (id: string) => add(`pay-${id}`, `inv-${id}`),
      (id: string) => order(ledger, `${recorded}-${id}`),
    ];
    const orders = [
      [0, 1, 2],
      [0, 2, 1],
      [1, 0, 2],
      [1, 2, 0],
      [2, 0, 1],
      [2, 1, 0],
    ];
    for (const [n, sequence] of orders.entries()) {
      for (const step of sequence) {
        const made = await steps[step]?.(`${i}${n}`);
        if (typeof made === 'bigint') calls.push(made);
        if (n % 2 === 0) calls.push(...(await look()).map((id) => -id));
      }
    }
  }
  calls.push(...(await look()).map((id) => -id));
  expect(calls.filter((id) => id > 0n)).toHaveLength(12);
  expect(calls.reduce((sum, id) => sum + id, 0n)).toBe(0n);
});

test('an order that is recorded while the call is, and by a transaction that takes long, is found', async () => {
  let callId: bigint | undefined;
  await inTransaction(ledger, async (tx) => {
    await order(tx, 'late');
    callId = await waiting(['late']);
    expect(await look()).toEqual([]);
  });
  // Transactions of the other databases of the server are waited for as well.
  await expect.poll(look, { timeout: 20_000 }).toEqual([callId]);
});

test('an order is found that began before its call could be seen and is recorded long after the call was looked at', async () => {
  let open = () => {};
  const hold = new Promise<void>((resolve) => {
    open = resolve;
  });
  let recording: Promise<void> | undefined;
  const callId = await inTransaction(ledger, async (tx) => {
    const id = await waitingIn(tx, ['behind']);
    await new Promise<void>((recorded, failed) => {
      recording = inTransaction(ledger, async (other) => {
        await order(other, 'behind');
        recorded();
        await hold;
      });
      recording.catch(failed);
    });
    return id;
  });
  try {
    for (let n = 0; n < 3; n++) await doWaitingCalls({ ledger, receiver, log });
  } finally {
    open();
  }
  await recording;
  // Transactions of the other databases of the server are waited for as well.
  await expect.poll(look, { timeout: 20_000 }).toEqual([callId]);
});

test('what was due when the database was dumped is due in a restored one, which counts its transactions again', async () => {
  const [early, late] = [await waiting(['restored-1']), await waiting(['restored-2'])];
  await look();
  await db.owner`alter table conversions disable trigger wake_calls`;
  await order(ledger, 'restored-1');
  await db.owner`alter table conversions enable trigger wake_calls`;
  await db.owner`
    update waiting_calls set due = '1000000000000', settled = true where call_id = any(${[early, late]}::bigint[])`;
  expect(await look()).toEqual([early]);
  await order(ledger, 'restored-2');
  expect(await look()).toEqual([late]);
});

test('transactions that record orders and names wait for no other, whatever their calls and turn', async () => {
  const calls = [await waiting(['lock-1']), await waiting(['lock-2']), await waiting(['lock-3'])];
  await look();
  const name = (tx: DatabaseTransaction, id: string) =>
    addOrderNames(tx, [{ sourceId, name: `other ${id}`, orderId: id }]);
  await inTransaction(ledger, async (tx) => {
    await name(tx, 'lock-2');
    await order(tx, 'lock-1');
    await inTransaction(ledger, async (other) => {
      await other`set local lock_timeout = '2s'`;
      await order(other, 'lock-2');
      await order(other, 'lock-3');
      await name(other, 'lock-1');
    });
    await name(tx, 'lock-3');
    expect(await look()).toEqual(calls.slice(1));
  });
  expect(await look()).toEqual([calls[0]]);
});

test('a call that fails stops no other, is tried five times, and is given up', async () => {
  const bad = await waiting(['bad']);
  const good = await waiting(['good']);
  failing.add(bad);
  await order(ledger, 'bad');
  await order(ledger, 'good');
  expect(await look()).toEqual([good]);
  const tries = [];
  while (await isWaiting(bad)) {
    const [row] = await ledger<
      { attempts: number }[]
    >`select attempts from waiting_calls where call_id = ${bad}`;
    tries.push(row?.attempts);
    await ledger`update waiting_calls set claimed_until = now() where call_id = ${bad}`;
    await look();
    if (tries.length > 9) break;
  }
  expect(tries).toEqual([1, 2, 3, 4, 5]);
});

test('a refusal of what a call says ends its waiting, a fault of the server is tried again, a source in the way waits', async () => {
  const answers = [
    ['invalid_input', undefined],
    ['conflict', undefined],
    ['not_found', undefined],
    ['internal', 1],
    ['wrong_state', 0],
    ['signature_required', 0],
  ] as const;
  for (const [code, attempts] of answers) {
    const callId = await waiting([`refused-${code}`]);
    refusing.set(callId, code);
    await order(ledger, `refused-${code}`);
    expect(await look()).toEqual([callId]);
    expect(await look()).toEqual([]);
    const [row] = await ledger<{ attempts: number }[]>`
      select attempts from waiting_calls where call_id = ${callId}`;
    expect([code, row?.attempts]).toEqual([code, attempts]);
  }
});

test('what a source was in the way of is done once it is enabled, or has another secret', async () => {
  const of = await source();
  const secret = { id: of, secret: Buffer.from('new'), oldUntil: new Date() };
  for (const [code, change] of [
    ['wrong_state', () => updateSource(ledger, { id: of, changes: { status: 'active' } })],
    ['signature_required', () => rotateSourceSecret(ledger, secret)],
  ] as const) {
    const callId = await waiting([`parked-${code}`], of);
    refusing.set(callId, code);
    await order(ledger, `parked-${code}`);
    expect(await look()).toEqual([callId]);
    refusing.delete(callId);
    await updateSource(ledger, { id: of, changes: { name: 'renamed' } });
    expect(await look()).toEqual([]);
    await change();
    expect(await look()).toEqual([callId]);
    expect(await isWaiting(callId)).toBe(false);
  }
});

test('a signed body waits once, and an order is waited for by so many calls and no more', async () => {
  const body = Buffer.alloc(32, 1);
  const first = await waiting(['once'], sourceId, body);
  expect(await isWaiting(await waiting(['once'], sourceId, body))).toBe(false);
  expect(await isWaiting(await waiting(['once'], await source(), body))).toBe(true);
  await order(ledger, 'once');
  expect(await look()).toHaveLength(2);
  expect(await isWaiting(first)).toBe(false);

  const of = await source();
  const ids = await inTransaction(ledger, async (tx) => {
    const made = [];
    for (let n = 0; n < MAX_CALLS_OF_ORDER; n++) made.push(await waitingIn(tx, ['flooded'], of));
    return made;
  });
  expect(await isWaiting(await waiting(['flooded'], of))).toBe(false);
  // It waits for the other order alone.
  const both = await waiting(['flooded', 'not flooded'], of);
  await order(ledger, 'flooded');
  const woken = [];
  for (let found = await look(); found.length > 0; found = await look()) woken.push(...found);
  expect(woken.toSorted()).toEqual(ids.toSorted());
  await order(ledger, 'not flooded');
  expect(await look()).toEqual([both]);
});

test('each call is taken once, however many look', async () => {
  const calls = [];
  for (let i = 0; i < 30; i++) calls.push(await waiting([`once-${i}`]));
  for (let i = 0; i < 30; i++) await order(ledger, `once-${i}`);
  done.length = 0;
  await Promise.all(Array.from({ length: 4 }, () => doWaitingCalls({ ledger, receiver, log })));
  expect([...done, ...(await look())].toSorted()).toEqual(calls);
});

test('calls of a source that is removed, of 30 days ago, and names without an order are forgotten', async () => {
  const removed = await source();
  const [old, ofRemoved] = [await waiting(['old']), await waiting(['removed'], removed)];
  await deleteSource(ledger, removed);
  expect(await isWaiting(ofRemoved)).toBe(false);
  await db.owner`update waiting_calls set since = now() - interval '31 days' where call_id = ${old}`;
  await forgetWaitingCalls(ledger, { limit: 10 });
  expect(await isWaiting(old)).toBe(false);
  await addOrderNames(ledger, [
    { sourceId, name: 'name of none', orderId: 'none' },
    { sourceId, name: 'name of one', orderId: 'one' },
    { sourceId, name: 'young', orderId: 'none' },
  ]);
  await order(ledger, 'name of one');
  await db.owner`update order_names set unseen_until = now() where name <> 'young'`;
  await forgetOrderNames(ledger);
  const left = await ledger<{ name: string; isKept: boolean }[]>`
    select name, unseen_until is null as is_kept from order_names where name in ('name of none', 'name of one', 'young') order by name`;
  expect(left).toEqual([
    { name: 'name of one', isKept: true },
    { name: 'young', isKept: false },
  ]);
});

test('what waits when the database is migrated waits for all of its orders, and a signed body once', async () => {
  const database = await freshPostgresDatabase();
  const owner = await connectOwner({ url: database.url, name: 'test' });
  try {
    const folder = fromProject('ledger/migrations');
    const names = readMigrations(folder).map(({ name }) => name);
    const last = names.findIndex((name) => name.endsWith('waiting_calls.sql'));
    const apply = async (from: number, to: number) => {
      for (const name of names.slice(from, to)) await owner.unsafe(readFileSync(join(folder, name), 'utf8'));
    };
    await owner.unsafe('create table schema_migrations (name text)');
    await apply(0, last);
    const parties = await createParties(owner);
    const address = randomBytes(32);
    const named = { kind: 'anything', name: 'a shop', host: null, secret: null, mapping: null };
    const of = { programId: parties.programId, ...named, address, addressHash: address };
    const { id } = await createSource(owner, of);
    const call = async (orderId: string, params: JsonValue, bodyHash?: Buffer) => {
      const line = { requestId: 'test', via: 'source', programId: parties.programId, sourceId: id } as const;
      const refused = { outcome: 'rejected', status: 202, code: 'not_found', detail: null } as const;
      const none = { actor: null, ip: null, conversionId: null, replayOf: null, request: Buffer.from('x') };
      await insertPostbackCalls(owner, [{ ...line, ...refused, ...none, params, orderId, bodyHash }]);
    };
    const body = Buffer.alloc(32, 1);
    await call('1', { order_id: '1' }, body);
    await call('1', { order_id: '1' }, body);
    const further = [{ order_id: '3' }, { order_id: '4', event_name: 'lead' }, { note: 'without an order' }];
    await call('2', { order_id: '2', event_name: 'lead', further });
    await call('5', { order_id: '5', further: 'of a parameter of that name' });
    await apply(last, names.length);
    expect(
      await owner`select call_id::integer, order_id, known_as, event_name from waiting_orders order by order_id`,
    ).toEqual([
      { callId: 1, orderId: '1', knownAs: '1', eventName: 'sale' },
      { callId: 3, orderId: '2', knownAs: '2', eventName: 'lead' },
      { callId: 3, orderId: '3', knownAs: '3', eventName: 'sale' },
      { callId: 3, orderId: '4', knownAs: '4', eventName: 'lead' },
      { callId: 4, orderId: '5', knownAs: '5', eventName: 'sale' },
    ]);
    expect(await owner`select call_id::integer from waiting_calls order by call_id`).toHaveLength(3);
  } finally {
    await owner.end({ timeoutMs: 1_000 });
    await database.drop();
  }
});

test('sixty thousand calls that wait cost nothing until one of their orders comes', async () => {
  await db.owner`
    with calls as (
      insert into postback_calls (request_id, via, program_id, source_id, params, outcome, status)
      select 'many', 'source', ${programId}, ${sourceId}, '{}', 'rejected', 202 from generate_series(1, 60000)
      returning id
    ), waiting as (
      insert into waiting_calls (call_id, source_id, due, settled) select id, ${sourceId}, null, true from calls
    )
    insert into waiting_orders (call_id, program_id, order_id, known_as, event_name)
    select id, ${programId}, 'many-' || id, 'many-' || id, 'sale' from calls`;
  const times = [];
  for (let n = 0; n < 50; n++) {
    const from = performance.now();
    expect(await inTransaction(ledger, (tx) => takeWaitingCalls(tx, { limit: 100 }))).toMatchObject({
      looked: 0,
    });
    times.push(performance.now() - from);
  }
  const median = times.toSorted((a, b) => a - b)[25] ?? Number.NaN;
  const [{ id }] = await ledger<[{ id: bigint }]>`select max(call_id) as id from waiting_calls`;
  const from = performance.now();
  await order(ledger, `many-${id}`);
  expect(performance.now() - from).toBeLessThan(200);
  expect(median).toBeLessThan(20);
  expect(await look()).toEqual([id]);
  // That source has more than one may.
  expect(await isWaiting(await waiting(['one more']))).toBe(false);
  expect(await isWaiting(await waiting(['one more'], await source()))).toBe(true);
});
