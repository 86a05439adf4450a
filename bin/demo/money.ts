import type { Demo } from './data.ts';
import { type HttpClient, inParallel } from './http.ts';
import { decimal, type PlayedOrder } from './orders.ts';
import { createProgress } from './progress.ts';

/** A conversion as the API shows it. */
export interface ConversionView {
  readonly id: string;
  readonly order_id: string;
  readonly state: string;
  readonly status: string;
  readonly reason: string | null;
}

interface Page<T> {
  readonly data: readonly T[];
  readonly next_cursor: string | null;
}

/** What happened to the run's money, step by step. */
export interface MoneyTrail {
  readonly refundsBeforePayout: number;
  readonly approved: number;
  readonly rejected: number;
  /** Orders left in review, for a look at the portal. */
  readonly leftInReview: number;
  readonly confirmed: number;
  readonly payouts: number;
  readonly refundsAfterPayout: number;
}

const WIDTH = 16;
/** Of a hundred attributed orders, this many are given back, every second one only in part. */
const REFUNDED_PERCENT = 6;
const AFTER_PAYOUT = 2;
/** The decisions about orders in review, in turn; the last stay in review. */
const DECISIONS = ['approve', 'reject', undefined, undefined] as const;

/** Refunds some orders, reviews what is in review, ends the holds, pays, and takes some of it back. */
export async function playMoney(options: {
  http: HttpClient;
  apiUrl: string;
  demo: Demo;
  orders: readonly PlayedOrder[];
  run: string;
}): Promise<MoneyTrail> {
  const { http, apiUrl, demo, orders, run } = options;
  const { operator, advertiser } = demo.keys;
  const amounts = new Map(orders.map((order) => [order.orderId, order.amountMinor]));
  const conversions = await listRun({ http, apiUrl, key: operator, run });

  async function refund(conversion: ConversionView, amountMinor: number): Promise<void> {
    await http.post(`${apiUrl}/v1/refunds`, {
      key: advertiser,
      body: {
        order_id: conversion.order_id,
        refund_ref: `${conversion.order_id}-r`,
        amount: decimal(amountMinor),
        currency: demo.program.currency,
      },
    });
  }

  const attributed = conversions.filter((conversion) => conversion.state === 'attributed');
  const refunded = attributed.slice(0, Math.ceil((attributed.length * REFUNDED_PERCENT) / 100));
  for (const [i, conversion] of refunded.entries()) {
    const amountMinor = amounts.get(conversion.order_id) ?? 0;
    await refund(conversion, i % 2 === 0 ? amountMinor : Math.ceil(amountMinor / 3));
  }

  const inReview = conversions.filter((conversion) => conversion.state === 'review');
  const decisions = inReview.map((_, i) => DECISIONS[i % DECISIONS.length]);
  for (const [i, conversion] of inReview.entries()) {
    const decision = decisions[i];
    if (decision === undefined) continue;
    await http.post(`${apiUrl}/v1/conversions/${conversion.id}/${decision}`, {
      key: operator,
      body: { note: 'reviewed by the demo' },
    });
  }

  const creditable = (await listRun({ http, apiUrl, key: operator, run })).filter((conversion) =>
    ['attributed', 'partially_refunded'].includes(conversion.state),
  );
  const progress = createProgress('confirm', creditable.length);
  await inParallel(creditable, WIDTH, async (conversion) => {
    await http.post(`${apiUrl}/v1/conversions/${conversion.id}/confirm`, { key: operator });
    progress.advance();
  });
  progress.done();

  const { preview } = await http.getJson<{ preview: string }>(`${apiUrl}/v1/payouts/preview`, {
    key: operator,
  });
  const { payouts } = await http.post<{ payouts: { id: string }[] }>(`${apiUrl}/v1/payouts/run`, {
    key: operator,
    body: { preview },
  });
  await endPayouts({ http, apiUrl, key: operator, ids: payouts.map(({ id }) => id) });

  const takenBack = creditable
    .filter((conversion) => conversion.state === 'attributed')
    .slice(0, AFTER_PAYOUT);
  for (const conversion of takenBack) await refund(conversion, amounts.get(conversion.order_id) ?? 0);
  return {
    refundsBeforePayout: refunded.length,
    approved: decisions.filter((decision) => decision === 'approve').length,
    rejected: decisions.filter((decision) => decision === 'reject').length,
    leftInReview: decisions.filter((decision) => decision === undefined).length,
    confirmed: creditable.length,
    payouts: payouts.length,
    refundsAfterPayout: takenBack.length,
  };
}

/** Most payouts arrive; one fails, one comes back, and the last is still on its way. */
async function endPayouts(options: {
  http: HttpClient;
  apiUrl: string;
  key: string;
  ids: readonly string[];
}): Promise<void> {
  const { http, apiUrl, key, ids } = options;
  const end = (id: string, word: string, failure?: string) =>
    http.post(`${apiUrl}/v1/payouts/${id}/${word}`, { key, ...(failure && { body: { failure } }) });
  const [failed, returned] = ids.slice(-3);
  for (const id of ids.slice(0, -1)) {
    if (id === failed) {
      await end(id, 'fail', 'the bank does not know the account');
      continue;
    }
    await end(id, 'mark-paid');
    if (id === returned) await end(id, 'return', 'the account is closed');
  }
}

/** Every conversion of the run, by the API's pages. */
export async function listRun(options: {
  http: HttpClient;
  apiUrl: string;
  key: string;
  run: string;
}): Promise<ConversionView[]> {
  const { http, apiUrl, key, run } = options;
  const found: ConversionView[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const query = new URLSearchParams({ limit: '500', ...(cursor !== '' && { cursor }) });
    const page: Page<ConversionView> = await http.getJson(`${apiUrl}/v1/conversions?${query}`, { key });
    const ours = page.data.filter((conversion) => conversion.order_id.startsWith(`${run}-`));
    found.push(...ours);
    // The newest come first: a page without any of ours is older than the run.
    cursor = ours.length > 0 ? page.next_cursor : null;
  }
  return found;
}
