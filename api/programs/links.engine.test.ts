import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, startTestApi, type TestApi } from '../../test/support/api.ts';

let api: TestApi;
const ids = { program: '', campaign: '', affiliate: '' };

function send(method: string, path: string, json?: unknown): Promise<Answer> {
  return api.call(method, path, { key: api.operatorKey, ...(json !== undefined && { json }) });
}

async function made(path: string, json: unknown): Promise<Record<string, unknown>> {
  const answer = await send('POST', path, json);
  expect([answer.status, answer.status === 201 ? '' : answer.text]).toEqual([201, '']);
  return answer.body;
}

const newLink = (fields: object) => ({
  campaign_id: ids.campaign,
  affiliate_id: ids.affiliate,
  landing_url: 'https://shop.example/',
  ...fields,
});

beforeAll(async () => {
  api = await startTestApi();
  ids.program = String((await made('/v1/programs', { name: 'Shoes', currency: 'EUR' })).id);
  ids.campaign = String(
    (
      await made('/v1/campaigns', {
        program_id: ids.program,
        name: 'Winter',
        landing_url: 'https://shop.example/',
      })
    ).id,
  );
  const affiliate = { program_id: ids.program, ref_code: 'a', name: 'Ann', email: 'a@example.com' };
  ids.affiliate = String((await made('/v1/affiliates', { ...affiliate, status: 'active' })).id);
});
afterAll(async () => {
  await api?.stop();
});

const ROUTING = {
  rules: [
    {
      when: {
        countries: ['AT'],
        schedule: { timezone: 'Europe/Vienna', days: ['mon'], from: '09:00', to: '24:00' },
      },
      destinations: [{ url: 'https://shop.example/at?c={click_id}', weight: 3 }],
    },
  ],
  destinations: [{ url: 'https://shop.example/b', weight: 1 }],
};

describe('routing and caps of links', () => {
  test('are kept as they were given, changed, and taken away', async () => {
    const plain = await made('/v1/links', newLink({}));
    expect(plain).toMatchObject({ routing: null, daily_click_cap: null });
    const link = await made('/v1/links', newLink({ routing: ROUTING, daily_click_cap: 500 }));
    expect(link).toMatchObject({ routing: ROUTING, daily_click_cap: 500 });
    const other = { rules: [], destinations: ROUTING.destinations };
    const path = `/v1/links/${link.id}`;
    expect((await send('PATCH', path, { routing: other })).body).toMatchObject({
      routing: other,
      daily_click_cap: 500,
    });
    const without = { routing: null, daily_click_cap: null };
    expect((await send('PATCH', path, without)).body).toMatchObject(without);
    expect((await send('GET', path)).body).toMatchObject(without);
  });

  test.each([
    [{ routing: { rules: [] } }, 'routing'],
    [{ routing: { ...ROUTING, other: 1 } }, 'routing.other'],
    [
      { routing: { rules: [], destinations: [{ url: 'javascript:a', weight: 1 }] } },
      'routing.destinations.0.url',
    ],
    [
      { routing: { rules: [], destinations: [{ url: 'https://a.test/', weight: 0 }] } },
      'routing.destinations.0.weight',
    ],
    [{ routing: { rules: [{ ...ROUTING.rules[0], when: { os: [] } }] } }, 'routing.rules.0.when.os'],
    [{ daily_click_cap: 0 }, 'daily_click_cap'],
    [{ daily_click_cap: 1.5 }, 'daily_click_cap'],
    [{ daily_click_cap: '5' }, 'daily_click_cap'],
    [{ daily_click_cap: 1_000_000_001 }, 'daily_click_cap'],
  ])('refuse %j by the name of the field', async (fields, field) => {
    const answer = await send('POST', '/v1/links', newLink(fields));
    expect([answer.status, answer.text]).toEqual([422, expect.stringContaining(`"${field}"`)]);
  });
});

describe('an affiliate who links to a host of their own', { tags: ['attack'] }, () => {
  test('is refused, until an operator allows the host; the answers show what is sent', async () => {
    const path = `/v1/campaigns/${ids.campaign}`;
    await made('/v1/links', newLink({}));
    const elsewhere = newLink({ landing_url: 'https:///Other.example/x' });
    const refused = await send('POST', '/v1/links', elsewhere);
    expect([refused.status, refused.body.field]).toEqual([422, 'landing_url']);
    const changed = await send('PATCH', path, { allowed_hosts: ['*.shop.example', 'OTHER.example'] });
    expect(changed.body).toMatchObject({
      landing_url: 'https://shop.example/',
      allowed_hosts: ['*.shop.example', 'other.example'],
    });
    expect(await made('/v1/links', elsewhere)).toMatchObject({ landing_url: 'https://other.example/x' });
    expect((await send('PATCH', path, { allowed_hosts: ['a/b'] })).body.field).toBe('allowed_hosts.0');
    await send('PATCH', path, { allowed_hosts: [] });
    const { body } = await send('GET', `${path}/hosts`);
    expect(body.hosts).toContainEqual({ host: 'other.example', links: 1, allowed: false });
    expect(body.hosts).toContainEqual(expect.objectContaining({ host: 'shop.example', allowed: true }));
    const { body: listed } = await send('GET', `/v1/links?campaign_id=${ids.campaign}&host=other.example`);
    expect(listed.data).toHaveLength(1);
  });
});

describe('settings', () => {
  test('of a campaign: its cap', async () => {
    const path = `/v1/campaigns/${ids.campaign}`;
    expect((await send('GET', path)).body).toMatchObject({ daily_click_cap: null });
    expect((await send('PATCH', path, { daily_click_cap: 7 })).body).toMatchObject({ daily_click_cap: 7 });
    expect((await send('PATCH', path, { daily_click_cap: -7 })).status).toBe(422);
    expect((await send('PATCH', path, { daily_click_cap: null })).body).toMatchObject({
      daily_click_cap: null,
    });
  });

  test('of a program: what it keeps of its visitors', async () => {
    const path = `/v1/programs/${ids.program}`;
    expect((await send('GET', path)).body).toMatchObject({
      anonymise_ip: false,
      cookies: true,
      honour_opt_out: false,
    });
    const privately = { anonymise_ip: true, cookies: false, honour_opt_out: true };
    expect((await send('PATCH', path, privately)).body).toMatchObject(privately);
    expect((await send('PATCH', path, { cookies: 'no' })).status).toBe(422);
    const born = await made('/v1/programs', { name: 'Quiet', currency: 'EUR', ...privately });
    expect(born).toMatchObject(privately);
  });
});
