import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { startTestNats, type TestNats } from '../../test/support/engines.ts';
import { type Document, type Operation, readDocument, sampleOf } from '../../test/support/openapi.ts';

/** An Idempotency-Key is honoured where the route declares it and nowhere else; effects happen once. */

let api: TestApi;
let nats: TestNats;
let mine: Tenant;
let document: Document;

beforeAll(async () => {
  nats = await startTestNats();
  api = await startTestApi(async (url) => url, {}, nats.url);
  mine = await api.tenant('mine');
  document = readDocument((await api.call('GET', '/openapi.json')).body);
});
afterAll(async () => {
  await api?.stop();
  await nats?.stop();
});

const KEY = 'idempotency-key';

function declares({ parameters }: Operation): boolean {
  return parameters.some(({ in: place, name }) => place === 'header' && name === KEY);
}

function isReplayed({ headers }: Answer): boolean {
  return headers.get('idempotent-replayed') === 'true';
}

/** The operation with ids that lead nowhere and a body that its schema takes. */
async function callWithKey(operation: Operation, key: string): Promise<Answer> {
  const path = operation.path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const parameter = operation.parameters.find((one) => one.in === 'path' && one.name === name);
    return String(sampleOf(parameter?.schema ?? {}, document)).replace(/_1$/, '_2000000000');
  });
  const query = new URLSearchParams();
  for (const { name, in: place, required, schema } of operation.parameters) {
    if (place === 'query' && required)
      query.set(name, name === 'to' ? '2026-11-02T00:00:00Z' : String(sampleOf(schema, document)));
  }
  const sample = operation.body && sampleOf(operation.body, document);
  const isCsv = operation.bodyType === 'text/csv';
  return await api.call(operation.method, `${path}?${query}`, {
    key: operation.roles.includes('operator')
      ? mine.keys.operator
      : mine.keys[operation.roles[0] as keyof Tenant['keys']],
    ...(isCsv ? { raw: String(sample) } : operation.body && { json: sample }),
    headers: { [KEY]: key, ...(isCsv && { 'content-type': 'text/csv' }) },
  });
}

describe('every operation that changes something', () => {
  test('declares the key, but for sessions and what is known by its order', () => {
    const without = document.operations
      .filter((operation) => operation.method !== 'GET' && !declares(operation))
      .map(({ method, path }) => `${method} ${path}`);
    expect(without.toSorted()).toEqual([
      // A repeated sign-in, sign-out, password or code is a new one.
      'DELETE /v1/session',
      'DELETE /v1/session/second-factor',
      'DELETE /v1/sessions',
      'DELETE /v1/sessions/{id}',
      'POST /postback',
      // Of applicants, who are no callers with keys of their own; a confirmation is done once by its token.
      'POST /v1/applications/confirm',
      'POST /v1/applications/unconfirmed',
      'POST /v1/password-resets',
      'POST /v1/password-resets/confirm',
      'POST /v1/postback-calls/{id}/replay',
      // It changes nothing.
      'POST /v1/programs/{id}/fraud-rules/preview',
      'POST /v1/session',
      'POST /v1/session/confirm',
      'POST /v1/session/password',
      'POST /v1/session/second-factor',
      'POST /v1/session/second-factor/confirm',
      'POST /v1/session/second-factor/recovery-codes',
      // It is done once: after it there is an operator.
      'POST /v1/setup',
      'POST /v1/sign-up/{slug}',
    ]);
  });

  test('refuses a key of 12,000 characters where it is declared and ignores it elsewhere', async () => {
    const wrong: string[] = [];
    for (const operation of document.operations) {
      const { status, body } = await callWithKey(operation, 'x'.repeat(12_000));
      const refused =
        status === 422 && ((body.errors ?? []) as { field: string }[]).some((e) => e.field === KEY);
      if (refused !== declares(operation) || status >= 500)
        wrong.push(`${operation.method} ${operation.path} ${status}`);
    }
    expect(wrong).toEqual([]);
  });

  test('stores a key only where it is declared', async () => {
    const wrong: string[] = [];
    for (const [i, operation] of document.operations.entries()) {
      if (declares(operation)) continue;
      await callWithKey(operation, `undeclared-${i}`);
      const rows = await api.ledger`select from idempotency_keys where key = ${`undeclared-${i}`}`;
      if (rows.length > 0) wrong.push(`${operation.method} ${operation.path}`);
    }
    expect(wrong).toEqual([]);
  });
});

describe('a repeated request', () => {
  const once = (key: string, json?: object) => ({
    key: mine.keys.operator,
    headers: { [KEY]: key },
    ...(json && { json }),
  });

  test('to set a payout method is answered as the first was, and mails once', async () => {
    const path = `/v1/affiliates/aff_${mine.affiliateId}/payout-method`;
    const call = once('method', { kind: 'paypal', email: 'ann@example.com' });
    const mailsBefore = (await api.mails()).length;
    const [first, again] = [await api.call('PUT', path, call), await api.call('PUT', path, call)];
    expect([first.status, again.status, isReplayed(first), isReplayed(again)]).toEqual([
      200,
      200,
      false,
      true,
    ]);
    expect(again.text).toBe(first.text);
    expect(again.headers.get('etag')).toBe(first.headers.get('etag'));
    expect(await api.mails()).toHaveLength(mailsBefore + 1);
  });

  test('to invite, create or decide mails once', async () => {
    const ann = { ref_code: 'ann', name: 'Ann', email: 'ann@example.com' };
    const repeated = async (path: string, json?: object): Promise<Answer> => {
      const mailsBefore = (await api.mails()).length;
      const answers = [];
      for (let i = 0; i < 3; i++) answers.push(await api.call('POST', path, once(path, json)));
      expect(answers.map(isReplayed)).toEqual([false, true, true]);
      expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
      expect([path, (await api.mails()).length - mailsBefore]).toEqual([path, 1]);
      return answers[0] as Answer;
    };
    const invited = await repeated('/v1/affiliates/invite', ann);
    const { affiliate, user } = invited.body as Record<string, { id: string }>;
    await repeated(`/v1/affiliates/${affiliate?.id}/approve`, { note: 'welcome' });
    await repeated(`/v1/affiliates/${affiliate?.id}/suspend`, { note: 'a check' });
    await repeated(`/v1/users/${user?.id}/invite`);
    await repeated('/v1/users', { email: 'finance@example.com', name: 'Finn', role: 'finance' });
  });

  test('to delete is answered as the first was', async () => {
    const made = await api.call('POST', '/v1/webhooks', once('made', { url: 'https://example.com/hook' }));
    const path = `/v1/webhooks/${(made.body.webhook as { id: string }).id}`;
    const [first, again] = [
      await api.call('DELETE', path, once('gone')),
      await api.call('DELETE', path, once('gone')),
    ];
    expect([first.status, again.status, again.text, isReplayed(again)]).toEqual([204, 204, '', true]);
  });

  test('that failed has no effect, and one that fails in its transaction mails nothing', async () => {
    const mailsBefore = (await api.mails()).length;
    const json = { ref_code: 'bob', name: 'Bob', email: 'ann@example.com' };
    const refused = await api.call('POST', '/v1/affiliates/invite', once('bob', json));
    expect([refused.status, refused.body.field]).toEqual([422, 'email']);
    expect(await api.mails()).toHaveLength(mailsBefore);
  });
});

test('signing out ends the session, whatever key was sent before', async () => {
  const email = 'signs-out@example.com';
  const password = 'correct horse battery';
  await api.call('POST', '/v1/users', { key: mine.keys.operator, json: { email, name: 'S', role: 'fraud' } });
  const token = /token=(\S+)/.exec((await api.mails()).at(-1)?.text ?? '')?.[1];
  await api.call('POST', '/v1/password-resets/confirm', { json: { token, password } });
  for (let i = 0; i < 2; i++) {
    const signedIn = await api.call('POST', '/v1/session', { json: { email, password } });
    const cookie = signedIn.headers.get('set-cookie')?.split(';')[0] ?? '';
    const headers = { cookie, 'x-csrf-token': String(signedIn.body.csrf_token), [KEY]: 'out-1' };
    const signedOut = await api.call('DELETE', '/v1/session', { headers });
    expect([signedOut.status, isReplayed(signedOut)]).toEqual([204, false]);
    expect((await api.call('GET', '/v1/session', { headers: { cookie } })).status).toBe(401);
  }
});
