import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createApiKey } from '../../ledger/access/api-keys.ts';
import { auditLedger } from '../../ledger/audit/audit.ts';
import { findCustomer } from '../../ledger/audit/erase.ts';
import { recordConversion } from '../../ledger/conversions/conversions.ts';
import { emailHash } from '../../ledger/conversions/emails.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { recordDecision } from '../../test/support/ledger.ts';
import { eraseAddress } from '../../warehouse/audit/erase.ts';

/** A customer who wants to be forgotten, by the API. */

let api: TestApi;
let shop: Tenant;
let other: Tenant;
beforeAll(async () => {
  api = await startTestApi();
  shop = await api.tenant('shop');
  other = await api.tenant('other');
});
afterAll(async () => await api?.stop());

const EMAIL = 'kunde@example.com';
const IP = '198.51.100.77';

/** An order of 100.00 without an affiliate; decided by default. */
async function order(
  { programId }: Tenant,
  given: { customerId?: string; email?: string; isDecided?: boolean },
): Promise<bigint> {
  const { customerId, email, isDecided = true } = given;
  const { conversion } = await recordConversion(api.ledger, {
    programId,
    orderId: randomUUID(),
    amountMinor: 10_000n,
    currency: 'EUR',
    source: 'api',
    customerId,
    customerEmailHash: email && emailHash(email),
    ip: IP,
  });
  const { id: conversionId } = conversion;
  if (isDecided) {
    const decision = { outcome: 'unattributed', reason: 'no_click', termsId: null, now: new Date() } as const;
    await inTransaction(api.ledger, (tx) =>
      recordDecision(tx, { conversionId, ...decision, evidence: { secret: EMAIL } }),
    );
  }
  return conversionId;
}

const erase = (tenant: Tenant, json: object, more: { key?: string; headers?: Record<string, string> } = {}) =>
  api.call('POST', '/v1/customers/erase', { key: tenant.keys.operator, json, ...more });

const clicksOf = async (ip: string) => {
  const { rows } = await api.warehouse.query<{ found: string }>(
    'SELECT count() AS found FROM conversions WHERE ip = toIPv6({ip:String})',
    { ip },
  );
  return Number(rows[0]?.found);
};

describe('a customer that wants to be forgotten', () => {
  test('is erased from orders, calls and clicks of the program, once, as the audit log says without a name', async () => {
    const customerId = `cus-${randomUUID()}`;
    const first = await order(shop, { customerId, email: EMAIL });
    const second = await order(shop, { customerId });
    const foreign = await order(other, { customerId, email: EMAIL });
    await api.call('POST', '/v1/conversions', {
      key: shop.keys.advertiser,
      json: { order_id: 'refused', amount: '1,00', currency: 'EUR', customer_id: customerId },
    });
    await api.warehouse.insertRows('conversions', [
      { conversion_id: 1, version: 1, ip: `::ffff:${IP}`, occurred_at: '2026-11-22 12:00:00' },
    ]);
    expect(await clicksOf(IP)).toBe(1);
    const headers = { 'idempotency-key': randomUUID() };
    const erased = await erase(shop, { customer: ` ${EMAIL} ` }, { headers });
    expect([erased.status, erased.body]).toEqual([
      200,
      { program_id: `prg_${shop.programId}`, conversions: 2, addresses: 1 },
    ]);
    expect((await erase(shop, { customer: ` ${EMAIL} ` }, { headers })).body).toEqual(erased.body);
    expect((await erase(shop, { customer: EMAIL })).body).toMatchObject({ conversions: 0, addresses: 0 });
    expect((await erase(shop, { customer: customerId })).body).toMatchObject({ conversions: 0 });
    expect(await clicksOf(IP)).toBe(0);
    const left = await api.ledger<{ id: bigint }[]>`
      select id from conversions
      where coalesce(customer_id, customer_email_hash::text, host(ip), evidence::text) is not null
        and id = any(${[first, second, foreign]}::bigint[])`;
    expect(left.map(({ id }) => id)).toEqual([foreign]);
    const log = await api.ledger<{ subject: string; before: unknown; after: unknown }[]>`
      select subject, before, after from audit_log where action = 'customer.erase' order by id`;
    expect([...log]).toEqual(
      [first, second].map((id) => ({ subject: `cnv_${id}`, before: null, after: null })),
    );
    for (const table of ['conversions', 'postback_calls', 'audit_log', 'idempotency_keys']) {
      const found = await api.ledger.unsafe<{ text: string }[]>(
        `select t::text as text from ${table} t where t::text like '%${customerId}%'`,
      );
      // The other program's order.
      expect([table, found.length]).toEqual([table, table === 'conversions' ? 1 : 0]);
    }
    expect((await auditLedger(api.ledger)).filter(({ ok }) => !ok)).toEqual([]);
  });

  test('waits for the decision of its orders, which would say again what is erased', async () => {
    const customerId = `cus-${randomUUID()}`;
    const id = await order(shop, { customerId, isDecided: false });
    const refused = await erase(shop, { customer: customerId });
    expect([refused.status, refused.body.code, refused.body.detail]).toEqual([
      409,
      'wrong_state',
      `order cnv_${id} of this customer is not decided yet: repeat this when it is`,
    ]);
    const [kept] = await api.ledger`select customer_id from conversions where id = ${id}`;
    expect(kept).toEqual({ customerId });
  });

  test('is erased once where two ask at the same time, and an order that is looked at again stays as it was', async () => {
    const customerId = `cus-${randomUUID()}`;
    const id = await order(shop, { customerId });
    await api.ledger`update conversions set next_attempt_at = now() where id = ${id}`;
    const answers = await Promise.all([1, 2].map(() => erase(shop, { customer: customerId })));
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    const log = await api.ledger`
      select from audit_log where action = 'customer.erase' and subject = ${`cnv_${id}`}`;
    expect(log).toHaveLength(1);
    const [erased] = await api.ledger`
      select state, next_attempt_at, evidence from conversions where id = ${id}`;
    expect(erased).toEqual({ state: 'unattributed', nextAttemptAt: null, evidence: null });
  });

  test('is erased by a repetition where a process died after the clicks', async () => {
    const named = `cus-${randomUUID()}`;
    await order(shop, { customerId: named });
    const { addresses } = await findCustomer(api.ledger, { programId: shop.programId, named });
    for (const address of addresses) await eraseAddress(api.warehouse, address);
    expect((await erase(shop, { customer: named })).body).toMatchObject({ conversions: 1, addresses: 1 });
  });

  test('is erased by operators alone, with the scope, and with the password given now', async () => {
    const customer = `cus-${randomUUID()}`;
    for (const role of ['finance', 'fraud', 'advertiser', 'affiliate'] as const) {
      const key = shop.keys[role];
      expect([role, (await erase(shop, { customer }, { key })).status]).toEqual([role, 403]);
    }
    const { programId } = shop;
    const key = async (scopes: string[]) =>
      (await createApiKey(api.ledger, { role: 'operator', name: 'k', programId, scopes })).key;
    for (const [scopes, lacking] of [
      [['conversions:write'], 'affiliates:write'],
      [['affiliates:write'], 'conversions:write'],
    ] as const) {
      const refused = await erase(shop, { customer }, { key: await key([...scopes]) });
      expect([refused.status, refused.body.detail]).toEqual([403, `this key lacks the scope ${lacking}`]);
    }
    const able = await key(['conversions:write', 'affiliates:write']);
    expect((await erase(shop, { customer }, { key: able })).status).toBe(200);
    const foreign = await erase(shop, { customer, program_id: `prg_${other.programId}` });
    expect(foreign.status).toBe(403);
    expect((await erase(shop, { customer: '\u200bx' })).body.field).toBe('customer');
    expect((await erase(shop, { customer: '' })).body.field).toBe('customer');
  });
});
