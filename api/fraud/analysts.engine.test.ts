import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApi, type Tenant, type TestApi } from '../../test/support/api.ts';

let api: TestApi;
let mine: Tenant;
let other: Tenant;

beforeAll(async () => {
  api = await startTestApi();
  [mine, other] = [await api.tenant('mine'), await api.tenant('other')];
});
afterAll(async () => {
  await api?.stop();
});

test('operators and the fraud team of a program see how to read it, without a password', async () => {
  for (const role of ['operator', 'fraud'] as const) {
    const { status, body } = await api.call('GET', '/v1/analyst-access', { key: mine.keys[role] });
    expect([role, status, body]).toEqual([
      role,
      200,
      {
        program_id: `prg_${mine.programId}`,
        url: 'http://127.0.0.1:18123',
        embedded: true,
        database: 'afflux',
        user: `analyst_prg_${mine.programId}`,
        command: `npx afflux analyst --program prg_${mine.programId}`,
        statements: [],
      },
    ]);
    expect(JSON.stringify(body)).not.toContain('secret');
  }
});

test('others are not, nor of a program that is not theirs', async () => {
  const path = `/v1/analyst-access?program_id=prg_${other.programId}`;
  expect((await api.call('GET', path, { key: mine.keys.fraud })).status).toBe(403);
  for (const role of ['affiliate', 'advertiser', 'finance'] as const) {
    expect([role, (await api.call('GET', '/v1/analyst-access', { key: mine.keys[role] })).status]).toEqual([
      role,
      403,
    ]);
  }
});
