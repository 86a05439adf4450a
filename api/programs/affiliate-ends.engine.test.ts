import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addMonths, DAY_MS } from '../../core/time.ts';
import { createApiKey } from '../../ledger/access/api-keys.ts';
import { auditLedger } from '../../ledger/audit/audit.ts';
import { extendHashChains } from '../../ledger/audit/hash-chains.ts';
import { vestDue } from '../../ledger/books/commissions.ts';
import { issueStatements } from '../../ledger/books/statement-documents.ts';
import { recordRefund } from '../../ledger/decisions/refunds.ts';
import { inTransaction } from '../../ledger/postgres/db.ts';
import { createAffiliate } from '../../ledger/programs/affiliates.ts';
import { decideConversion, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { givePayoutMethod } from '../../test/support/ledger.ts';

let api: TestApi;
let tenants = 0;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(async () => await api?.stop());

const fresh = () => api.tenant(`tenant ${++tenants}`);
const aff = (id: number) => `aff_${id}`;

const operate = (tenant: Tenant, path: string, json: object = {}) =>
  api.call('POST', path, { key: tenant.keys.operator, json });

async function earn(tenant: Tenant, orderId: string, affiliateId: number): Promise<void> {
  await decideConversion(api.ledger, { tenant, orderId, affiliateId, outcome: 'attributed' });
}

async function vest({ programId }: Tenant): Promise<void> {
  await vestDue(api.ledger, { now: new Date(Date.now() + 40 * 86_400_000), limit: 100, programId });
  await api.ledger`update commissions set available_at = now() where program_id = ${programId}`;
}

async function refund({ programId }: Tenant, orderId: string): Promise<void> {
  await inTransaction(api.ledger, (tx) =>
    recordRefund(tx, { programId, orderId, refundRef: 'all', amountMinor: undefined, actor: 'test' }),
  );
}

/** What can still be paid, by affiliate. */
async function payable(...ids: number[]): Promise<bigint[]> {
  const rows = await api.ledger<{ affiliateId: number; minor: bigint }[]>`
    select affiliate_id, sum(balance_minor)::bigint as minor from accounts
    where affiliate_id = any(${ids}::integer[]) and kind in ('available', 'debt', 'adjustments')
    group by affiliate_id`;
  return ids.map((id) => rows.find(({ affiliateId }) => affiliateId === id)?.minor ?? 0n);
}

async function expectSoundBooks(): Promise<void> {
  expect((await auditLedger(api.ledger)).filter(({ ok }) => !ok)).toEqual([]);
}

describe('two affiliates that are one', () => {
  test('are merged with links, recruits and money, and nothing is paid twice', async () => {
    const tenant = await fresh();
    const { affiliateId: old, otherAffiliateId: kept, programId } = tenant;
    const recruit = await createAffiliate(api.ledger, {
      programId,
      refCode: 'recruit',
      name: 'Recruit',
      email: 'recruit@example.com',
      parentId: old,
      status: 'active',
    });
    await earn(tenant, 'vested', old);
    await vest(tenant);
    await earn(tenant, 'held', old);
    const merged = await operate(tenant, `/v1/affiliates/${aff(old)}/merge`, {
      into_affiliate_id: aff(kept),
      note: 'one person',
    });
    expect([merged.status, merged.body]).toEqual([
      200,
      expect.objectContaining({ status: 'terminated', merged_into: aff(kept) }),
    ]);
    expect(await payable(old, kept)).toEqual([0n, 1_000n]);
    const links = await api.call('GET', `/v1/links?affiliate_id=${aff(old)}`, { key: tenant.keys.operator });
    expect(links.body.data).toEqual([]);
    const child = await api.call('GET', `/v1/affiliates/${aff(recruit.id)}`, { key: tenant.keys.operator });
    expect(child.body.parent_id).toBe(aff(kept));
    // What was in the hold follows when it is vested.
    await vest(tenant);
    await givePayoutMethod(api.ledger, kept, undefined, api.secretBox);
    expect((await api.runPayouts(tenant.keys.finance)).body).toMatchObject({ built: 1, submitted: 1 });
    const [payout] = await api.ledger<{ id: bigint; affiliateId: number; amountMinor: bigint }[]>`
      select id, affiliate_id, amount_minor from payouts where program_id = ${programId}`;
    expect(payout).toMatchObject({ affiliateId: kept, amountMinor: 2_000n });
    expect(await payable(old, kept)).toEqual([0n, 0n]);
    await expectSoundBooks();
    // A refund of an order of the old one is owed by the new one.
    await refund(tenant, 'vested');
    expect((await api.runPayouts(tenant.keys.finance)).body).toMatchObject({ built: 0 });
    expect(await payable(old, kept)).toEqual([0n, -1_000n]);
    await expectSoundBooks();
    const statement = await api.call('GET', `/v1/affiliates/${aff(old)}/statement`, {
      key: tenant.keys.operator,
    });
    expect((statement.body.data as { kind: string }[]).map(({ kind }) => kind)).toContain('merge');
  });

  test('hear of it, and the account that gets the money of both is on hold as a changed one is', async () => {
    const tenant = await fresh();
    const { affiliateId: old, otherAffiliateId: kept } = tenant;
    await earn(tenant, 'vested', old);
    await vest(tenant);
    await operate(tenant, `/v1/affiliates/${aff(old)}/merge`, { into_affiliate_id: aff(kept), note: 'one' });
    const run = await api.runPayouts(tenant.keys.finance);
    expect(run.body).toMatchObject({
      built: 0,
      left_out: [{ affiliate_id: aff(kept), reason: 'destination_on_hold' }],
    });
    const emails = await api.ledger<{ email: string }[]>`
      select email from affiliates where id in (${old}, ${kept})`;
    const mails = (await api.mails()).filter(({ subject }) => subject === `${aff(old)} was merged`);
    expect(mails.map(({ to }) => to)).toEqual(expect.arrayContaining(emails.map(({ email }) => email)));
    for (const { text } of mails) expect(text).toContain('Payouts are on hold until');
    // Setting the same account again does not end the hold.
    await api.ledger`update payout_methods set hint = 'x' where affiliate_id = ${kept}`;
    expect((await api.runPayouts(tenant.keys.finance)).body).toMatchObject({ built: 0 });
    expect(await payable(old, kept)).toEqual([0n, 1_000n]);
  });

  test('are not merged while a payout is open, into one that is not active, or twice', async () => {
    const tenant = await fresh();
    const { affiliateId: old, otherAffiliateId: kept } = tenant;
    await earn(tenant, 'paid', old);
    await vest(tenant);
    await api.runPayouts(tenant.keys.finance);
    const merge = (into = kept) =>
      operate(tenant, `/v1/affiliates/${aff(old)}/merge`, { into_affiliate_id: aff(into), note: 'one' });
    const [payout] = await api.ledger<{ id: bigint }[]>`
      select id from payouts where affiliate_id = ${old}`;
    expect((await merge()).body).toMatchObject({
      code: 'wrong_state',
      detail: `its payout pay_${payout?.id} is submitted: it must be closed first`,
    });
    await api.call('POST', `/v1/payouts/pay_${payout?.id}/mark-paid`, { key: tenant.keys.finance, json: {} });
    expect((await merge(old)).body.field).toBe('into_affiliate_id');
    const foreign = await fresh();
    expect((await merge(foreign.affiliateId)).body.field).toBe('into_affiliate_id');
    expect((await merge()).status).toBe(200);
    expect((await merge()).body.code).toBe('wrong_state');
    // Money that comes back later is the successor's.
    await api.call('POST', `/v1/payouts/pay_${payout?.id}/return`, {
      key: tenant.keys.finance,
      json: { failure: 'closed', account_refused: false },
    });
    await givePayoutMethod(api.ledger, kept, undefined, api.secretBox);
    await api.runPayouts(tenant.keys.finance);
    const payouts =
      await api.ledger`select affiliate_id, state from payouts where program_id = ${tenant.programId} order by id`;
    expect([...payouts]).toEqual([
      { affiliateId: old, state: 'returned' },
      { affiliateId: kept, state: 'submitted' },
    ]);
    await expectSoundBooks();
  });

  test('are merged by a key that may move money as well', async () => {
    const tenant = await fresh();
    const { affiliateId: old, otherAffiliateId: kept, programId } = tenant;
    const merge = async (scopes: string[]) => {
      const { key } = await createApiKey(api.ledger, { role: 'operator', name: 'k', programId, scopes });
      const json = { into_affiliate_id: aff(kept), note: 'one' };
      return await api.call('POST', `/v1/affiliates/${aff(old)}/merge`, { key, json });
    };
    for (const [scopes, lacking] of [
      [['affiliates:write'], 'money:write'],
      [['money:write'], 'affiliates:write'],
      [['affiliates:read', 'money:read'], 'affiliates:write and money:write'],
    ] as const) {
      const refused = await merge([...scopes]);
      expect([refused.status, refused.body.detail]).toEqual([403, `this key lacks the scope ${lacking}`]);
    }
    expect((await merge(['affiliates:write', 'money:write'])).status).toBe(200);
  });

  test('nobody owes what a forfeited balance is short of later', async () => {
    const tenant = await fresh();
    const { affiliateId: old, otherAffiliateId: kept } = tenant;
    await earn(tenant, 'early', old);
    await operate(tenant, `/v1/affiliates/${aff(old)}/terminate`, { note: 'x' });
    const forfeit = (id: number) =>
      api.call('POST', `/v1/affiliates/${aff(id)}/forfeit`, {
        key: tenant.keys.finance,
        json: { note: 'x' },
      });
    expect((await forfeit(old)).status).toBe(201);
    const merge = await operate(tenant, `/v1/affiliates/${aff(old)}/merge`, {
      into_affiliate_id: aff(kept),
      note: 'one person',
    });
    expect(merge.body).toMatchObject({
      code: 'wrong_state',
      detail: 'the affiliate has forfeited what it had',
    });
    await refund(tenant, 'early');
    await earn(tenant, 'own', kept);
    await vest(tenant);
    await api.runPayouts(tenant.keys.finance);
    expect(await payable(kept)).toEqual([0n]);
    const [paid] = await api.ledger`select amount_minor from payouts where affiliate_id = ${kept}`;
    expect(paid).toEqual({ amountMinor: 1_000n });
    // Nor is forfeited what is the successor's when it is vested.
    const other = await fresh();
    await earn(other, 'hold', other.affiliateId);
    await operate(other, `/v1/affiliates/${aff(other.affiliateId)}/merge`, {
      into_affiliate_id: aff(other.otherAffiliateId),
      note: 'one person',
    });
    const refused = await api.call('POST', `/v1/affiliates/${aff(other.affiliateId)}/forfeit`, {
      key: other.keys.finance,
      json: { note: 'x' },
    });
    expect(refused.body).toMatchObject({ code: 'wrong_state', state: 'merged' });
    await expectSoundBooks();
  });

  test('recruits that the successor is too deep for are an error by its name', async () => {
    const tenant = await fresh();
    const { affiliateId: old, programId } = tenant;
    const join = async (name: string, parentId: number | null) => {
      const email = `${name}@example.com`;
      const member = { programId, refCode: name, name, email, parentId, status: 'active' as const };
      return (await createAffiliate(api.ledger, member)).id;
    };
    await join('recruit', old);
    let deepest: number | null = null;
    for (let level = 1; level <= 20; level++) deepest = await join(`level-${level}`, deepest);
    const refused = await operate(tenant, `/v1/affiliates/${aff(old)}/merge`, {
      into_affiliate_id: aff(deepest ?? 0),
      note: 'one person',
    });
    expect([refused.status, refused.body.field]).toEqual([422, 'parent_id']);
  });

  test('who is above the successor ends without a circle', async () => {
    const tenant = await fresh();
    const { affiliateId: old, otherAffiliateId: kept, programId } = tenant;
    const between = await createAffiliate(api.ledger, {
      programId,
      refCode: 'between',
      name: 'Between',
      email: 'between@example.com',
      parentId: old,
      status: 'active',
    });
    await api.ledger`update affiliates set parent_id = ${between.id} where id = ${kept}`;
    await operate(tenant, `/v1/affiliates/${aff(old)}/merge`, { into_affiliate_id: aff(kept), note: 'one' });
    const parents = await api.ledger`
      select id, parent_id from affiliates where id in (${between.id}, ${kept}) order by id`;
    expect([...parents]).toEqual([
      { id: kept, parentId: between.id },
      { id: between.id, parentId: null },
    ]);
  });
});

describe('an affiliate that wants to be forgotten', () => {
  test('is erased everywhere but in the books, and the audit log keeps its proof', async () => {
    const tenant = await fresh();
    const secret = `Zed-${randomUUID()}`;
    const email = `${secret.toLowerCase()}@example.com`;
    const invited = await operate(tenant, '/v1/affiliates/invite', {
      ref_code: secret.slice(0, 20),
      name: secret,
      email,
    });
    const invitedId = Number(String((invited.body.affiliate as { id: string }).id).slice(4));
    await api.call('PATCH', `/v1/affiliates/${aff(invitedId)}`, {
      key: tenant.keys.operator,
      json: { name: `${secret} two` },
    });
    await operate(tenant, `/v1/affiliates/${aff(invitedId)}/approve`, { note: 'welcome' });
    await api.call('PUT', `/v1/affiliates/${aff(invitedId)}/payout-method`, {
      key: tenant.keys.operator,
      json: { kind: 'paypal', email: `pay-${email}` },
    });
    await extendHashChains(api.ledger);
    const log = () =>
      api.call('GET', `/v1/audit-log?subject=${aff(invitedId)}`, { key: tenant.keys.operator });
    expect((await log()).text).toContain(secret);
    const [stored] = await api.ledger<{ text: string }[]>`
      select jsonb_agg(jsonb_build_array(before, after))::text as text from audit_log where subject = ${aff(invitedId)}`;
    expect(stored?.text).not.toContain(secret);
    const erase = () => operate(tenant, `/v1/affiliates/${aff(invitedId)}/erase`);
    expect((await erase()).body.detail).toBe('the affiliate is active: terminate it first');
    await operate(tenant, `/v1/affiliates/${aff(invitedId)}/terminate`, { note: 'asked for it' });
    const erased = await erase();
    expect([erased.status, erased.body]).toEqual([
      200,
      expect.objectContaining({
        name: 'erased',
        email: `erased-${invitedId}@erased.invalid`,
        customer_ref: null,
      }),
    ]);
    expect((await log()).text).not.toContain(secret);
    expect((await log()).text).toContain('affiliate.erase');
    const method = await api.call('GET', `/v1/affiliates/${aff(invitedId)}/payout-method`, {
      key: tenant.keys.operator,
    });
    expect(method.body).toMatchObject({ kind: null, hint: null });
    const users = await api.ledger`select name, status from users where affiliate_id = ${invitedId}`;
    expect([...users]).toEqual([{ name: 'erased', status: 'disabled' }]);
    expect((await erase()).body.code).toBe('wrong_state');
    await expectSoundBooks();
    // Nowhere in the ledger but in mails that are encrypted and sent within a day.
    const tables = await api.ledger<{ name: string }[]>`
      select relname as name from pg_class
      where relnamespace = 'public'::regnamespace and relkind = 'r' and has_table_privilege(oid, 'select')`;
    const holding: string[] = [];
    for (const { name } of tables) {
      const found = await api.ledger.unsafe(
        `select from ${name} t where t::text ilike '%${secret}%' limit 1`,
      );
      if (found.length > 0) holding.push(name);
    }
    expect(holding).toEqual([]);
  });

  test('is paid, or forfeits, before', async () => {
    const tenant = await fresh();
    const { affiliateId: id } = tenant;
    await earn(tenant, 'unpaid', id);
    await operate(tenant, `/v1/affiliates/${aff(id)}/terminate`, { note: 'x' });
    const refused = await operate(tenant, `/v1/affiliates/${aff(id)}/erase`);
    expect(refused.body.detail).toBe('it has money that is not paid: pay it, or let it forfeit');
    await api.call('POST', `/v1/affiliates/${aff(id)}/forfeit`, {
      key: tenant.keys.finance,
      json: { note: 'x' },
    });
    const early = await operate(tenant, `/v1/affiliates/${aff(id)}/erase`);
    expect([early.status, early.body.code]).toEqual([409, 'wrong_state']);
    const month = new Date().toISOString().slice(0, 7);
    const from = new Date(addMonths(new Date(`${month}-01T00:00:00Z`), 1).getTime() + DAY_MS);
    expect(early.body.detail).toBe(
      `who it is stands on its statement of ${month}, which is made from ${from.toISOString().slice(0, 10)} (UTC) on: erase it then`,
    );
    await issueStatements(api.ledger, { now: addMonths(new Date(), 2) });
    expect((await operate(tenant, `/v1/affiliates/${aff(id)}/erase`)).status).toBe(200);
    const statements = await api.ledger`
      select recipient ->> 'name' as name from statement_documents where affiliate_id = ${id}`;
    expect(statements.map(({ name }) => name)).toEqual([`tenant ${tenants}`]);
    await expectSoundBooks();
  });
});

test('a payout method is removed, and payouts for it never go to the next one', async () => {
  const tenant = await fresh();
  const { affiliateId: id } = tenant;
  await earn(tenant, 'once', id);
  await vest(tenant);
  await api.runPayouts(tenant.keys.finance);
  const path = `/v1/affiliates/${aff(id)}/payout-method`;
  const removed = await api.call('DELETE', path, { key: tenant.keys.affiliate });
  expect([removed.status, removed.body]).toEqual([
    200,
    expect.objectContaining({ kind: null, blocked: 'no_payout_method' }),
  ]);
  expect((await api.call('DELETE', path, { key: tenant.keys.affiliate })).status).toBe(404);
  const again = await api.call('PUT', path, {
    key: tenant.keys.affiliate,
    json: { kind: 'paypal', email: 'next@example.com' },
  });
  expect(again.body.version).toBe(2);
});
