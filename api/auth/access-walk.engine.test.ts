import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addMonths } from '../../core/time.ts';
import { createApiKey, type Role } from '../../ledger/access/api-keys.ts';
import { issueStatements } from '../../ledger/books/statement-documents.ts';
import { createJob } from '../../ledger/integrations/jobs.ts';
import { decideConversion, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { startTestNats, type TestNats } from '../../test/support/engines.ts';
import {
  type Document,
  idPrefix,
  type Operation,
  readDocument,
  sampleOf,
} from '../../test/support/openapi.ts';
import { fanOut } from '../webhooks/webhook-worker.ts';

/**
 * Walks every route of the document with ids that belong to somebody else. The routes, their roles, ids and bodies are
 * taken from the document, so that a new route is walked as well, and a new kind of id fails here until it is known.
 */

let api: TestApi;
let nats: TestNats;
let mine: Tenant;
let foreign: Tenant;
let document: Document;

beforeAll(async () => {
  nats = await startTestNats();
  api = await startTestApi(async (url) => url, {}, nats.url);
  mine = await api.tenant('mine');
  foreign = await api.tenant('foreign');
  document = readDocument((await api.call('GET', '/openapi.json')).body);
});
afterAll(async () => {
  await api?.stop();
  await nats?.stop();
});

/** Ids of things, by prefix; those an affiliate may share with others of its program are left out of `own`. */
async function thingsOf(
  tenant: Tenant,
  affiliateId: number,
): Promise<{ own: Record<string, string>; shared: Record<string, string> }> {
  const { operator } = tenant.keys;
  const { key, apiKey } = await createApiKey(api.ledger, {
    role: 'affiliate',
    name: 'a',
    programId: tenant.programId,
    affiliateId,
  });
  const post = async (path: string, as: string, json: object) => {
    const answer = await api.call('POST', path, { key: as, json });
    expect([path, answer.status < 300]).toEqual([path, true]);
    return answer.body as Record<string, unknown>;
  };
  const webhook = await post('/v1/webhooks', key, { url: 'https://example.com/' });
  const source = await post('/v1/sources', operator, { kind: 'anything' });
  const orderId = randomUUID();
  const conversion = await decideConversion(api.ledger, {
    tenant,
    orderId,
    affiliateId,
    outcome: 'attributed',
  });
  await fanOut(api);
  const [delivery] = await api.ledger<{ id: bigint }[]>`select max(id) as id from webhook_deliveries`;
  await api.call('POST', `/v1/conversions/cnv_${conversion}/confirm`, { key: operator });
  const run = await api.runPayouts(tenant.keys.finance);
  const [payout] = run.body.payouts as { id: string }[];
  const runs = await api.call('GET', '/v1/payout-runs', { key: operator });
  const [payoutRun] = runs.body.data as { id: string }[];
  const files = await api.call('GET', '/v1/payout-files', { key: operator });
  const [file] = files.body.data as { id: string }[];
  await issueStatements(api.ledger, { now: addMonths(new Date(), 2) });
  const [statement] = await api.ledger<{ id: bigint }[]>`
    select id from statement_documents where affiliate_id = ${affiliateId}`;
  const refund = await post('/v1/refunds', tenant.keys.advertiser, {
    order_id: orderId,
    refund_ref: orderId,
    amount: '1',
    currency: 'EUR',
  });
  const campaignId = `cmp_${tenant.campaignId}`;
  const link = await post('/v1/links', key, {
    campaign_id: campaignId,
    landing_url: 'https://shop.example/',
  });
  const coupon = await post('/v1/coupons', operator, { affiliate_id: `aff_${affiliateId}`, code: orderId });
  const template = await post('/v1/link-templates', operator, {
    campaign_id: campaignId,
    name: orderId,
    landing_url: 'https://shop.example/',
  });
  const terms = await post('/v1/terms', operator, {
    affiliate_id: `aff_${affiliateId}`,
    from: new Date(Date.now() + 86_400_000).toISOString(),
  });
  const user = await post('/v1/users', operator, {
    email: `${orderId}@example.com`,
    name: 'u',
    role: 'affiliate',
    affiliate_id: `aff_${affiliateId}`,
  });
  const postback = await api.call(
    'GET',
    `/postback?key=${tenant.keys.advertiser}&order_id=${randomUUID()}&amount=1&currency=EUR`,
  );
  const job = await createJob(api.ledger, {
    kind: 'report',
    programId: tenant.programId,
    actor: `key:${apiKey.id}`,
    request: {},
  });
  const [session] = await api.ledger<{ id: bigint }[]>`
    insert into sessions (user_id, token_hash, expires_at)
    values (${Number(String(user.id).slice('usr_'.length))}, sha256(${orderId}::text::bytea), now() + interval '1 day')
    returning id`;
  const [application] = await api.ledger<{ id: number }[]>`
    insert into applications (program_id, state, name, email, answers, expires_at, confirmed_at)
    values (${tenant.programId}, 'pending', 'a', ${`${orderId}@example.com`}, '[]', now(), now()) returning id`;
  const blocks = await post('/v1/blocks', operator, {
    entries: [{ kind: 'user_agent', value: orderId, action: 'redirect', reason: 'r' }],
  });
  const saved = await post('/v1/saved-reports', key, { name: 'r', query: {}, range: 'yesterday' });
  const opened = await post('/v1/cases', operator, { title: orderId, conversion_ids: [`cnv_${conversion}`] });
  const message = await post(`/v1/conversions/cnv_${conversion}/messages`, key, { text: 'Why?' });
  return {
    own: {
      aff: `aff_${affiliateId}`,
      key: `key_${apiKey.id}`,
      whk: (webhook.webhook as { id: string }).id,
      src: (source.source as { id: string }).id,
      dlv: `dlv_${delivery?.id}`,
      cnv: `cnv_${conversion}`,
      cas: String(opened.id),
      pay: String(payout?.id),
      run: String(payoutRun?.id),
      bat: String(file?.id),
      stm: `stm_${statement?.id}`,
      ref: (refund.refund as { id: string }).id,
      lnk: String(link.id),
      cpn: String(coupon.id),
      blk: String((blocks.data as { id: string }[])[0]?.id),
      usr: String(user.id),
      pbk: String(postback.body.call_id),
      job: `job_${job.id}`,
      dlt: 'dlt_1',
      ses: `ses_${session?.id}`,
      msg: String(message.id),
      rpt: String(saved.id),
    },
    shared: {
      app: `app_${application?.id}`,
      prg: `prg_${tenant.programId}`,
      cmp: campaignId,
      tpl: String(template.id),
      trm: String(terms.id),
    },
  };
}

async function callWith(operation: Operation, key: string, ids: Readonly<Record<string, string>>) {
  const query = new URLSearchParams();
  let path = operation.path;
  for (const { name, in: place, schema, required } of operation.parameters) {
    const own = document.resolve(schema);
    const prefix = idPrefix(own);
    const value = String((prefix && ids[prefix]) ?? sampleOf(own, document));
    if (place === 'path') path = path.replace(`{${name}}`, value);
    if (place === 'query' && required) query.set(name, name === 'to' ? '2026-11-02T00:00:00Z' : value);
  }
  const sample = operation.body && sampleOf(operation.body, document);
  const body =
    operation.bodyType === 'application/json' ? { json: sample } : operation.body ? { raw: 'a\nb' } : {};
  const headers = operation.bodyType === 'text/csv' ? { headers: { 'content-type': 'text/csv' } } : {};
  const url = query.size > 0 ? `${path}?${query}` : path;
  return await api.call(operation.method, url, {
    key,
    ...(operation.method === 'GET' ? {} : body),
    ...headers,
  });
}

test('nothing of another affiliate or another program is found by its id', { tags: ['attack'] }, async () => {
  const other = await thingsOf(mine, mine.otherAffiliateId);
  const theirs = await thingsOf(foreign, foreign.affiliateId);
  const victims = { sibling: other.own, stranger: { ...theirs.own, ...theirs.shared } };
  const byId = document.operations.filter(({ path, roles }) => /\{id\}/.test(path) && roles.length > 0);
  expect(byId.length).toBeGreaterThan(40);
  const seen: string[] = [];
  for (const operation of byId) {
    const id = operation.parameters.find(({ in: place, name }) => place === 'path' && name === 'id');
    const prefix = idPrefix(document.resolve(id?.schema ?? {})) ?? '';
    expect([operation.path, Object.keys(victims.stranger).includes(prefix)]).toEqual([operation.path, true]);
    for (const role of operation.roles as Role[]) {
      for (const [victim, ids] of Object.entries(victims)) {
        // All other roles are allowed to see every affiliate of the program.
        if (victim === 'sibling' && (role !== 'affiliate' || !(prefix in ids))) continue;
        const { status } = await callWith(operation, mine.keys[role], ids);
        if (status !== 404 && status !== 403)
          seen.push(`${role} ${operation.method} ${operation.path} of a ${victim}: ${status}`);
      }
    }
  }
  expect(seen).toEqual([]);
});

test('nothing of another is listed, nor when it is asked for', { tags: ['attack'] }, async () => {
  const other = await thingsOf(mine, mine.otherAffiliateId);
  const theirs = await thingsOf(foreign, foreign.affiliateId);
  const lists = document.operations.filter(
    ({ method, path, roles, tags }) =>
      method === 'GET' && !path.includes('{') && roles.length > 0 && tags[0] !== 'session',
  );
  const seen: string[] = [];
  for (const operation of lists) {
    for (const role of operation.roles as Role[]) {
      const secrets = Object.values({
        ...theirs.own,
        ...theirs.shared,
        ...(role === 'affiliate' && other.own),
      });
      const key = mine.keys[role];
      const plain = await callWith(operation, key, {});
      for (const secret of secrets) {
        if (plain.text.includes(`"${secret}"`)) seen.push(`${role} ${operation.path} shows ${secret}`);
      }
      for (const { name, in: place, schema } of operation.parameters) {
        const prefix = place === 'query' ? idPrefix(document.resolve(schema)) : undefined;
        const id = prefix && { ...theirs.own, ...theirs.shared }[prefix];
        if (!id) continue;
        const asked = await api.call(
          'GET',
          `${operation.path}?from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z&${name}=${id}`,
          { key },
        );
        const empty = asked.status !== 200 || !/"(data|rows)":\[\{(?!"clicks":0)/.test(asked.text);
        if (!empty) seen.push(`${role} ${operation.path}?${name} of a stranger`);
      }
    }
  }
  expect(seen).toEqual([]);
  // What is shown to its owner: the silence above is not that of empty tables.
  expect(
    (await api.call('GET', `/v1/conversions/${theirs.own.cnv}`, { key: foreign.keys.affiliate })).status,
  ).toBe(200);
});
