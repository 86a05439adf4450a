import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { readMigrations } from '../../core/migrations.ts';
import { freshPostgresDatabase } from '../../test/support/engines.ts';
import { createParties, freshLedger, type TestLedger, type TestParties } from '../../test/support/ledger.ts';
import { recordConversion } from '../conversions/conversions.ts';
import { emailHash } from '../conversions/emails.ts';
import { insertPostbackCalls, type NewPostbackCall } from '../integrations/postback-calls.ts';
import { addOrderNames, createSource } from '../integrations/sources.ts';
import { connectOwner, inTransaction } from '../postgres/db.ts';
import { auditLedger } from './audit.ts';
import { eraseCustomer, findCustomer } from './erase.ts';

let db: TestLedger | undefined;
afterEach(async () => {
  await db?.close();
  db = undefined;
});

async function order(
  ledger: TestLedger['ledger'],
  { programId }: TestParties,
  orderId: string,
  given: { customerId?: string; email?: string },
): Promise<void> {
  const { customerId, email } = given;
  await recordConversion(ledger, {
    programId,
    orderId,
    amountMinor: 1_000n,
    currency: 'EUR',
    source: 'api',
    customerId,
    customerEmailHash: email && emailHash(email),
    ip: '198.51.100.1',
  });
  await ledger`
    update conversions set state = 'unattributed', reason = 'no_click', decided_at = now(), next_attempt_at = null
    where order_id = ${orderId}`;
}

test.each([
  ['its address', ' Kunde@Example.com', ['address', 'both', 'id']],
  ['the hash of its address', `sha256:${emailHash('kunde@example.com')}`, ['address', 'both', 'id']],
  ['its id', 'cus_1', ['both', 'id']],
])('a customer is erased by %s, and no one else', async (_what, named, erased) => {
  db = await freshLedger({ max: 2 });
  const { ledger } = db;
  const parties = await createParties(ledger);
  await order(ledger, parties, 'address', { email: 'kunde@example.com' });
  await order(ledger, parties, 'both', { email: 'kunde@example.com', customerId: 'cus_1' });
  await order(ledger, parties, 'id', { customerId: 'cus_1' });
  await order(ledger, parties, 'other', { email: 'other@example.com', customerId: 'cus_2' });
  const customer = await findCustomer(ledger, { programId: parties.programId, named });
  expect(customer).toMatchObject({ addresses: ['198.51.100.1'] });
  expect(customer.conversionIds).toHaveLength(erased.length);
  await inTransaction(ledger, (tx) => eraseCustomer(tx, { customer, actor: 'test' }));
  const left = await ledger<{ orderId: string }[]>`
    select order_id from conversions
    where coalesce(customer_id, host(ip), customer_email_hash::text) is null order by order_id`;
  expect(left.map(({ orderId }) => orderId)).toEqual(erased);
});

test('a customer is erased from calls that were refused first, by whatever id and place they name the order', async () => {
  db = await freshLedger({ max: 2 });
  const { ledger } = db;
  const parties = await createParties(ledger);
  const { programId } = parties;
  for (const [id, customerId] of [
    ['mine', 'cus_1'],
    ['other', 'cus_2'],
  ] as const)
    await order(ledger, parties, id, { customerId });
  const named = { programId, kind: 'anything', name: 'a', host: null, secret: null, mapping: null };
  const address = Buffer.alloc(32, 1);
  const { id: sourceId } = await createSource(ledger, { ...named, address, addressHash: address });
  await addOrderNames(ledger, [{ sourceId, name: 'payment', orderId: 'mine' }]);
  const line = async (what: string, given: Partial<NewPostbackCall>) => {
    const refused = {
      params: {},
      outcome: 'rejected',
      status: 202,
      code: 'not_found',
      detail: null,
    } as const;
    const none = { orderId: null, conversionId: null, replayOf: null, actor: null, ip: '198.51.100.1' };
    const call = { requestId: what, via: 'source', programId, sourceId, ...refused, ...none } as const;
    const [id] = await insertPostbackCalls(ledger, [{ ...call, request: Buffer.from('x'), ...given }]);
    return id ?? 0n;
  };
  const customer = await findCustomer(ledger, { programId, named: 'cus_1' });
  const further = (order_id: string) => ({ params: { order_id: 'other', further: [{ order_id }] } });
  await line('by its id', { orderId: 'mine' });
  await line('by another id', { orderId: 'payment' });
  await line('among others', further('mine'));
  await line('of another kind', { params: { further: 'x', customer_id: 'cus_1' } });
  await line('among others by its customer', { params: { further: [{ customer_id: 'cus_1' }] } });
  const replayOf = await line('done later', {});
  await line('the replay', { replayOf, conversionId: customer.conversionIds[0] ?? null });
  const kept = [await line('kept', { orderId: 'other' }), await line('kept', further('others'))];
  await inTransaction(ledger, (tx) => eraseCustomer(tx, { customer, actor: 'test' }));
  const left = await ledger<{ id: bigint; requestId: string }[]>`
    select id, request_id from postback_calls
    where request is not null or params <> '{}' or ip is not null order by id`;
  expect(left).toEqual(kept.map((id) => ({ id, requestId: 'kept' })));
});

test('rows of the audit log from before have pseudonyms too, and what was forged before still shows', async () => {
  const database = await freshPostgresDatabase();
  const owner = await connectOwner({ url: database.url, name: 'test' });
  try {
    const folder = fromProject('ledger/migrations');
    const names = readMigrations(folder).map(({ name }) => name);
    const last = names.findIndex((name) => name.startsWith('0035'));
    const apply = async (from: number, to: number) => {
      for (const name of names.slice(from, to)) await owner.unsafe(readFileSync(join(folder, name), 'utf8'));
    };
    await owner.unsafe('create table schema_migrations (name text)');
    await apply(0, last);
    await owner`insert into audit_log (actor, action, subject, after) values
      ('key:1', 'affiliate.create', 'aff_1', '{"name": "Zed", "status": "active"}'),
      ('key:1', 'program.create', 'prg_1', '{"name": "Shop"}')`;
    const chain = () => owner`select extend_hash_chain('audit_log', interval '1 second')`;
    await chain();
    await owner`insert into audit_log (actor, action, subject, after) values
      ('key:1', 'affiliate.invite', 'aff_2', '{"user": {"email": "zed@example.com"}}')`;
    await chain();
    await owner`set session_replication_role = replica`;
    await owner`update audit_log set actor = 'key:2' where subject = 'aff_2'`;
    await owner`set session_replication_role = origin`;
    await owner`insert into audit_log (actor, action, subject, after) values
      ('key:1', 'user.update', 'usr_1', '{"name": "Zed"}')`;
    await apply(last, names.length);
    await chain();
    const [{ text }] = await owner<[{ text: string }]>`select jsonb_agg(after)::text as text from audit_log`;
    expect(text).not.toMatch(/zed/i);
    expect(text).toContain('Shop');
    const read = await owner<{ after: unknown }[]>`
      select without_pseudonyms(after) as after from audit_log order by id`;
    expect(read.map(({ after }) => after)).toEqual([
      { name: 'Zed', status: 'active' },
      { name: 'Shop' },
      { user: { email: 'zed@example.com' } },
      { name: 'Zed' },
    ]);
    const check = async () =>
      (await auditLedger(owner)).filter(({ name, ok }) => name === 'audit_log_chain' && !ok);
    expect(await check()).toMatchObject([{ detail: expect.stringContaining('ids from 3 to 3') }]);
  } finally {
    await owner.end({ timeoutMs: 1_000 });
    await database.drop();
  }
});
