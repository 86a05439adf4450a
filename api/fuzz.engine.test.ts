import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApi, type Tenant, type TestApi } from '../test/support/api.ts';
import { startTestNats, type TestNats } from '../test/support/engines.ts';
import {
  type Document,
  idPrefix,
  type Operation,
  readDocument,
  type Schema,
  sampleOf,
} from '../test/support/openapi.ts';

/** Requests made of the document, right and wrong: no answer is a 5xx, and none has a status or a type that is not documented. */

/** Cases of each operation; AFFLUX_TEST_FUZZ=200 for a thorough run. */
const CASES = Number(process.env.AFFLUX_TEST_FUZZ ?? 15);

let api: TestApi;
let nats: TestNats;
let tenant: Tenant;
let document: Document;

beforeAll(async () => {
  nats = await startTestNats();
  api = await startTestApi(async (url) => url, {}, nats.url);
  tenant = await api.tenant('fuzzed');
  document = readDocument((await api.call('GET', '/openapi.json')).body);
});
afterAll(async () => {
  await api?.stop();
  await nats?.stop();
});

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
  return fc.oneof({ weight: 8, arbitrary: right }, { weight: 1, arbitrary: anything });
}

function rightValue(own: Schema, depth: number): fc.Arbitrary<unknown> {
  const sample = fc.constant(sampleOf(own, document));
  const choices = (own.anyOf ?? own.oneOf) as Schema[] | undefined;
  if (choices) return fc.oneof(...choices.map((choice) => valuesOf(choice, depth + 1)));
  if (Array.isArray(own.enum)) return fc.constantFrom(...own.enum);
  const prefix = idPrefix(own);
  // Its own keys stay alive: small numbers of keys are left alone.
  if (prefix)
    return fc
      .integer({ min: prefix === 'key' ? 1_000_000 : 1, max: prefix === 'key' ? 2_000_000 : 20 })
      .map((n) => `${prefix}_${n}`);
  switch (Array.isArray(own.type) ? own.type[0] : own.type) {
    case 'object': {
      const members = (own.properties ?? {}) as Record<string, Schema>;
      const values = Object.fromEntries(
        Object.entries(members).map(([name, member]) => [name, valuesOf(member, depth + 1)]),
      );
      return fc.record(values, { requiredKeys: (own.required ?? []) as string[] });
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
  const placed = (place: string) =>
    Object.fromEntries(
      operation.parameters
        .filter((parameter) => parameter.in === place)
        .map(({ name, schema }) => [name, valuesOf(schema)]),
    );
  const required = operation.parameters.filter((parameter) => parameter.required).map(({ name }) => name);
  const query = placed('query');
  const { keys } = tenant;
  return fc.record({
    key: fc.oneof(
      { weight: 10, arbitrary: fc.constantFrom(api.operatorKey, keys.operator) },
      { weight: 4, arbitrary: fc.constantFrom(...Object.values(keys), undefined, 'afx_wrong') },
    ),
    path: fc.record(placed('path')),
    query: fc.record(query, { requiredKeys: required.filter((name) => name in query) }),
    headers: fc.record(placed('header'), { requiredKeys: [] }),
    body: operation.body ? valuesOf(operation.body) : fc.constant(undefined),
  });
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

test('every operation answers whatever comes as it is documented', { timeout: CASES * 20_000 }, async () => {
  const faults: string[] = [];
  for (const operation of document.operations) {
    if (operation.path === '/metrics' || operation.path === '/healthz' || operation.path === '/readyz')
      continue;
    await fc.assert(
      fc.asyncProperty(caseOf(operation), async (tried) => {
        const { status, text, headers } = await send(operation, tried);
        const types = operation.answers.get(status);
        const type = headers.get('content-type')?.split(';')[0];
        const isDocumented = types && (type === undefined ? types.length === 0 : types.includes(type));
        if (status < 500 && isDocumented) return;
        faults.push(
          `${operation.method} ${operation.path} ${status} ${type} ${text.slice(0, 200)} ${JSON.stringify(tried).slice(0, 400)}`,
        );
      }),
      { numRuns: CASES, endOnFailure: true },
    );
  }
  expect(faults).toEqual([]);
  expect((await api.call('GET', '/v1/me', { key: api.operatorKey })).status).toBe(200);
});
