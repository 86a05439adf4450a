import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { decideConversion, startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';
import { startTestNats, type TestNats } from '../../test/support/engines.ts';
import {
  type Document,
  idPrefix,
  type Operation,
  readDocument,
  type Schema,
  sampleOf,
} from '../../test/support/openapi.ts';
import { fanOut } from '../webhooks/webhook-worker.ts';

/** Requests made of the document, right and wrong: no answer is a 5xx, and none has a status or a type that is not documented. */

/** Cases of each operation. */
const CASES = Number(process.env.AFFLUX_TEST_FUZZ ?? 100);
/** Another one each time; a failure names it. */
const SEED = Number(process.env.AFFLUX_TEST_SEED ?? Date.now() % 2 ** 31);
/** Asked by machines that read the status only. */
const UNDOCUMENTED_CALLERS = new Set(['/metrics', '/healthz', '/readyz']);
const SERVER_FAULT = /"code":"(internal|unavailable|too_costly)"/;

let api: TestApi;
let nats: TestNats;
let tenant: Tenant;
let document: Document;

beforeAll(async () => {
  nats = await startTestNats();
  api = await startTestApi(async (url) => url, {}, nats.url);
  tenant = await api.tenant('fuzzed');
  document = readDocument((await api.call('GET', '/openapi.json')).body);
  await makeThings();
});
afterAll(async () => {
  await api?.stop();
  await nats?.stop();
});

/** Something to do things to: orders that wait and orders that earned, a payout, a webhook with a delivery. */
async function makeThings(): Promise<void> {
  const { affiliateId, keys } = tenant;
  const post = (path: string, json: object) => api.call('POST', path, { key: keys.operator, json });
  await post('/v1/webhooks', { url: 'https://example.com/' });
  for (const [i, outcome] of (['review', 'attributed', 'review', 'attributed'] as const).entries()) {
    const orderId = `made-${i}`;
    const id = await decideConversion(api.ledger, { tenant, orderId, affiliateId, outcome });
    if (outcome === 'attributed') await post(`/v1/conversions/cnv_${id}/confirm`, {});
  }
  await api.runPayouts(keys.operator);
  await fanOut(api);
}

const nasty = fc.constantFrom<unknown>(
  null,
  '',
  ' ',
  '0',
  -1,
  1e308,
  true,
  [],
  {},
  '\u0000',
  '\ud800',
  '‮evil',
  '😀'.repeat(50),
  "';--",
  '{{7*7}}',
  '=1+1',
  '../../etc/passwd',
  '9'.repeat(60),
  'prg_9223372036854775808',
  '2026-13-45T99:99:99Z',
  'null',
  'undefined',
);
const anything = fc.oneof(nasty, fc.string({ unit: 'binary', maxLength: 40 }), fc.jsonValue({ maxDepth: 3 }));

/** A value of a schema, mostly right, sometimes anything at all. */
function valuesOf(schema: Schema, depth = 0): fc.Arbitrary<unknown> {
  const own = document.resolve(schema);
  const right = depth > 6 ? fc.constant(sampleOf(own, document)) : rightValue(own, depth);
  return fc.oneof({ weight: 20, arbitrary: right }, { weight: 1, arbitrary: anything });
}

/** All of `needed`, each of the others seldom: every one more is one more that may not fit the rest. */
function objectOf(
  values: Record<string, fc.Arbitrary<unknown>>,
  needed: readonly string[],
): fc.Arbitrary<Record<string, unknown>> {
  const absent = fc.constant(undefined);
  const chosen = Object.entries(values).map(([name, value]) => [
    name,
    needed.includes(name)
      ? fc.oneof({ weight: 40, arbitrary: value }, { weight: 1, arbitrary: absent })
      : fc.oneof({ weight: 3, arbitrary: absent }, { weight: 1, arbitrary: value }),
  ]);
  return fc
    .record(Object.fromEntries(chosen) as Record<string, fc.Arbitrary<unknown>>)
    .map((all) => Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)));
}

function rightValue(own: Schema, depth: number): fc.Arbitrary<unknown> {
  const sample = { weight: 4, arbitrary: fc.constant(sampleOf(own, document)) };
  const choices = (own.anyOf ?? own.oneOf) as Schema[] | undefined;
  if (choices) return fc.oneof(...choices.map((choice) => valuesOf(choice, depth + 1)));
  if (Array.isArray(own.enum)) return fc.constantFrom(...own.enum);
  const prefix = idPrefix(own);
  // Its own keys stay alive: small numbers of keys are left alone.
  if (prefix)
    return fc
      .integer({ min: prefix === 'key' ? 1_000_000 : 1, max: prefix === 'key' ? 2_000_000 : 4 })
      .map((n) => `${prefix}_${n}`);
  switch (Array.isArray(own.type) ? own.type[0] : own.type) {
    case 'object': {
      const members = (own.properties ?? {}) as Record<string, Schema>;
      const values = Object.fromEntries(
        Object.entries(members).map(([name, member]) => [name, valuesOf(member, depth + 1)]),
      );
      return objectOf(values, (own.required ?? []) as string[]);
    }
    case 'array':
      return fc.array(valuesOf((own.items ?? {}) as Schema, depth + 1), {
        minLength: Number(own.minItems ?? 0),
        maxLength: 3,
      });
    case 'integer':
    case 'number':
      return fc.integer({
        min: Number(own.minimum ?? 0),
        max: Math.min(Number(own.maximum ?? 1_000), 1_000_000),
      });
    case 'boolean':
      return fc.boolean();
    case 'string':
      return fc.oneof(sample, fc.string({ maxLength: 30 }));
    default:
      return anything;
  }
}

interface Case {
  readonly key: string | undefined;
  readonly path: Record<string, unknown>;
  readonly query: Record<string, unknown>;
  readonly headers: Record<string, unknown>;
  readonly body: unknown;
}

function caseOf(operation: Operation): fc.Arbitrary<Case> {
  const placed = (place: string) => {
    const own = operation.parameters.filter((parameter) => parameter.in === place);
    // A range that is none would be all that is ever asked for.
    const values = own.map(({ name, schema }) => [name, name === 'to' ? END : valuesOf(schema)]);
    const needed = own.filter(({ required }) => required || place === 'path').map(({ name }) => name);
    return objectOf(Object.fromEntries(values), needed);
  };
  const { keys } = tenant;
  return fc.record({
    key: fc.oneof(
      { weight: 10, arbitrary: fc.constantFrom(...keysFor(operation)) },
      { weight: 4, arbitrary: fc.constantFrom(...Object.values(keys), undefined, 'afx_wrong') },
    ),
    path: placed('path'),
    query: placed('query'),
    headers: placed('header'),
    body: bodyOf(operation),
  });
}

/** What reads as a file of each route that takes one. */
const FILES = [
  'ref_code,name,email\nfuzz,F,f@example.com\n',
  'order_id,amount,currency\nfuzz,1,EUR\n',
  'payment_key,status\nfuzz,paid\n',
];

function bodyOf({ body, bodyType }: Operation): fc.Arbitrary<unknown> {
  if (!body) return fc.constant(undefined);
  if (bodyType !== 'text/csv') return valuesOf(body);
  return fc.oneof(
    { weight: 2, arbitrary: fc.constantFrom(...FILES) },
    { weight: 1, arbitrary: valuesOf(body) },
  );
}

const END = fc.oneof(
  { weight: 20, arbitrary: fc.constant('2026-11-02T00:00:00Z') },
  { weight: 1, arbitrary: nasty },
);

/** Keys of those who may. */
function keysFor({ roles }: Operation): string[] {
  const own = Object.entries(tenant.keys).flatMap(([role, key]) => (roles.includes(role) ? [key] : []));
  return roles.includes('operator') || own.length === 0 ? [api.operatorKey, ...own] : own;
}

/** A part of a path: what is empty or dots would be another path. */
function segment(value: unknown): string {
  const text = (typeof value === 'string' ? value : (JSON.stringify(value) ?? ''))
    .toWellFormed()
    .slice(0, 30);
  return encodeURIComponent(/^\.*$/.test(text) ? 'x' : text)
    .slice(0, 90)
    .replace(/%.?$/, '');
}

async function send(operation: Operation, tried: Case) {
  const path = operation.path.replace(/\{(\w+)\}/g, (_, name: string) => segment(tried.path[name]));
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(tried.query)) {
    query.append(name, typeof value === 'string' ? value.toWellFormed() : (JSON.stringify(value) ?? ''));
  }
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(tried.headers)) {
    const text = String(value);
    if (/^[\x20-\x7e]+$/.test(text)) headers[name] = text;
  }
  const csv = operation.bodyType === 'text/csv';
  return await api.call(operation.method, `${path}?${query}`.replace(/\?$/, ''), {
    ...(tried.key !== undefined && { key: tried.key }),
    ...(operation.body && !csv && operation.method !== 'GET' && { json: tried.body }),
    ...(csv && { raw: String(tried.body) }),
    headers: { ...(csv && { 'content-type': 'text/csv' }), ...headers },
  });
}

/** Operations under way at the same time: more find more races and take no less time. */
const LANES = 4;

test('every operation answers whatever comes as it is documented', { timeout: CASES * 20_000 }, async () => {
  const faults: string[] = [];
  const done = new Set<string>();
  const operations = document.operations.filter(({ path }) => !UNDOCUMENTED_CALLERS.has(path));
  const lanes = Array.from({ length: LANES }, async () => {
    for (let next = operations.shift(); next; next = operations.shift()) await fuzz(next);
  });
  async function fuzz(operation: Operation): Promise<void> {
    await fc.assert(
      fc.asyncProperty(caseOf(operation), async (tried) => {
        const { status, text, headers } = await send(operation, tried);
        if (status < 300) done.add(operation.operationId);
        const types = operation.answers.get(status);
        const type = headers.get('content-type')?.split(';')[0];
        const isDocumented = types && (type === undefined ? types.length === 0 : types.includes(type));
        if (status < 500 && isDocumented) return;
        faults.push(
          `${operation.method} ${operation.path} ${status} ${type} ${text.slice(0, 200)} ${JSON.stringify(tried).slice(0, 400)}`,
        );
      }),
      { numRuns: CASES, endOnFailure: true, seed: SEED },
    );
  }
  await Promise.all(lanes);
  // What the server wrote of the first ones: their answers do not say.
  const reasons = api.logLines.filter((line) => SERVER_FAULT.test(line)).slice(0, 3);
  expect([...reasons, ...faults.slice(0, 20)], `AFFLUX_TEST_SEED=${SEED}`).toEqual([]);
  // What is only ever refused is not tried.
  expect(done.size / document.operations.length).toBeGreaterThan(0.6);
  expect((await api.call('GET', '/v1/me', { key: api.operatorKey })).status).toBe(200);
});
