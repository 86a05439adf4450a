import { randomInt } from 'node:crypto';
import { DAY_MS } from '../../core/time.ts';
import { pick } from './clicks.ts';
import type { Demo } from './data.ts';
import type { HttpClient } from './http.ts';
import { decimal } from './orders.ts';
import { pollUntil } from './poll-until.ts';

/** Data from before today's traffic, so that every page of the portal has something to show. */

const PAST_DAYS = 45;
const ORDERS_A_DAY = 7;

const APPLICANTS = [
  { ref_code: 'gus', name: 'Gus Gadgets' },
  { ref_code: 'hal', name: 'Hal Homes' },
] as const;

/** Accounts from the standards' own examples. */
const IBANS = ['DE89370400440532013000', 'GB29NWBK60161331926819', 'FR1420041010050500013M02606'];

const NEW_IBAN = 'NL91ABNA0417164300';
const HOLD_DAYS = 3;

interface DemoContext {
  readonly http: HttpClient;
  readonly apiUrl: string;
  readonly demo: Demo;
}

/** Creates the demo's past and its settings through the API, once. */
export async function prepareFixture(context: DemoContext): Promise<void> {
  const { http, apiUrl, demo } = context;
  const key = demo.keys.operator;
  const { data } = await http.getJson<{ data: unknown[] }>(`${apiUrl}/v1/affiliates?status=pending`, { key });
  if (data.length > 0) return;
  process.stderr.write('preparing the demo: past orders, applications, payout methods, a webhook\n');
  await importPastOrders(context);
  await setPayoutMethods(context);
  for (const campaign of demo.campaigns) {
    const body = {
      campaign_id: `cmp_${campaign.id}`,
      name: 'Start page',
      landing_url: 'https://shop.example/?partner={affiliate_id}&sub={sub1}',
    };
    await http.post(`${apiUrl}/v1/link-templates`, { key, body });
  }
  await routeByDevice(context);
  await http.post(`${apiUrl}/v1/terms`, {
    key,
    body: {
      rate_bps: 1_200,
      payout_min: { amount: '10.00', currency: demo.program.currency },
      from: inDays(7),
    },
  });
  await http.post(`${apiUrl}/v1/webhooks`, { key, body: { url: 'https://hooks.shop.example/afflux' } });
  await equipPartner(context);
  // Last, because their presence marks the fixture as complete.
  for (const applicant of APPLICANTS) {
    const body = { ...applicant, email: `${applicant.ref_code}@affiliates.example` };
    await http.post(`${apiUrl}/v1/affiliates`, { key, body });
  }
}

/** Everybody has an account. One was changed a moment ago, and its payouts are on hold. */
async function setPayoutMethods({ http, apiUrl, demo }: DemoContext): Promise<void> {
  const key = demo.keys.operator;
  const set = async (id: number, iban: string | undefined) => {
    const body = { kind: 'bank', holder: `Affiliate ${id}`, iban };
    await http.put(`${apiUrl}/v1/affiliates/aff_${id}/payout-method`, { key, body });
  };
  for (const [i, { id }] of demo.affiliates.entries()) await set(id, IBANS[i % IBANS.length]);
  await http.patch(`${apiUrl}/v1/programs/prg_${demo.program.id}`, {
    key,
    body: { payout_method_hold_days: HOLD_DAYS },
  });
  const changed = demo.affiliates.find(({ ref_code }) => ref_code === 'eve');
  if (!changed) throw new Error('the demo has Eve');
  await set(changed.id, NEW_IBAN);
}

function inDays(days: number): string {
  return new Date(Date.now() + days * DAY_MS).toISOString();
}

/** The partner who may sign in has an API key, a webhook and a coupon code of its own. */
async function equipPartner({ http, apiUrl, demo }: DemoContext): Promise<void> {
  const partner = demo.affiliates.find(({ ref_code }) => ref_code === 'cat');
  if (!partner) throw new Error('the demo has Cat');
  const affiliate_id = `aff_${partner.id}`;
  const coupon = { affiliate_id, campaign_id: `cmp_${demo.campaigns[0]?.id}`, code: 'CAT10' };
  await http.post(`${apiUrl}/v1/coupons`, { key: demo.keys.operator, body: coupon });
  const body = { role: 'affiliate', name: 'Newsletter statistics', affiliate_id };
  const { key } = await http.post<{ key: string }>(`${apiUrl}/v1/api-keys`, {
    key: demo.keys.operator,
    body,
  });
  await http.post(`${apiUrl}/v1/webhooks`, {
    key,
    body: { url: 'https://cat.example/conversions', events: ['conversion.created', 'conversion.changed'] },
  });
}

/** Orders from before the platform came, credited to the links that brought them. */
async function importPastOrders({ http, apiUrl, demo }: DemoContext): Promise<void> {
  const key = demo.keys.operator;
  const lines = ['order_id,amount,currency,occurred_at,customer_id,link_code'];
  for (let day = PAST_DAYS; day >= 1; day--) {
    const orders = randomInt(1, 2 * ORDERS_A_DAY);
    for (let i = 0; i < orders; i++) {
      const at = inDays(-day + randomInt(1_000) / 1_000);
      const { code } = pick(demo.links);
      const id = `past-${PAST_DAYS - day}-${i}`;
      lines.push(
        [id, decimal(randomInt(2_000, 60_000)), demo.program.currency, at, `customer-${id}`, code].join(),
      );
    }
  }
  const url = `${apiUrl}/v1/imports?kind=conversions&dry_run=false`;
  const { id } = await http.post<{ id: string }>(url, { key, csv: lines.join('\n') });
  await pollUntil('the import of past orders', async () => {
    const { state } = await http.getJson<{ state: string }>(`${apiUrl}/v1/jobs/${id}`, { key });
    if (state === 'failed') throw new Error('the import of past orders failed');
    return state === 'done';
  });
}

/** One link leads phones elsewhere, and splits German visitors over two pages. */
async function routeByDevice({ http, apiUrl, demo }: DemoContext): Promise<void> {
  const link = demo.links.find(({ code }) => code === 'cat-summer');
  if (!link) throw new Error('the demo has Cat’s link');
  const page = (path: string): string => `https://shop.example/${path}?partner={affiliate_id}&sub={sub1}`;
  const routing = {
    rules: [
      { when: { devices: ['mobile', 'tablet'] }, destinations: [{ url: page('m/summer'), weight: 1 }] },
      {
        when: { countries: ['DE', 'AT', 'CH'] },
        destinations: [
          { url: page('de/sommer'), weight: 3 },
          { url: page('de/sommer-neu'), weight: 1 },
        ],
      },
    ],
  };
  await http.patch(`${apiUrl}/v1/links/lnk_${link.id}`, { key: demo.keys.operator, body: { routing } });
}
