import { createHmac } from 'node:crypto';
import type { SentRequest } from '../sent-request.ts';

/** Events of the shapes that vendors document, made up here. */

export interface Sent {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const hmac = (secret: string, body: string) => createHmac('sha256', secret).update(body).digest('base64');

export function shopifyCall(topic: string, event: object, secret: string): Sent {
  const body = JSON.stringify(event);
  return {
    headers: {
      'content-type': 'application/json',
      'x-shopify-topic': topic,
      'x-shopify-hmac-sha256': hmac(secret, body),
      'x-shopify-webhook-id': 'b54557e4-bdd9-4b37-8a5f-bf7d70bcd043',
    },
    body,
  };
}

/** 2 shirts of 20.00 without 4.00, taxed 6.00 in the prices, and 5.00 of shipping: 41.00. */
export const shopifyOrder = (id: string, more: object = {}) => ({
  id: Number(id),
  name: '#1001',
  email: 'Jon@Example.com',
  currency: 'EUR',
  total_price: '41.00',
  taxes_included: true,
  created_at: new Date().toISOString(),
  cancelled_at: null,
  test: false,
  landing_site: '/?ref=1',
  note_attributes: [],
  discount_codes: [{ code: 'SUMMER', amount: '4.00', type: 'fixed_amount' }],
  customer: { id: 115310627314723950, email: 'jon@example.com' },
  client_details: { browser_ip: '203.0.113.9', user_agent: 'Mozilla/5.0', accept_language: 'en' },
  line_items: [
    {
      id: 1,
      sku: 'SHIRT',
      vendor: 'Acme',
      quantity: 2,
      price: '20.00',
      gift_card: false,
      discount_allocations: [{ amount: '4.00' }],
      tax_lines: [{ price: '6.00' }],
    },
  ],
  shipping_lines: [{ price: '5.00', discounted_price: '5.00', tax_lines: [] }],
  ...more,
});

/** The same money in the currency of the shop and in that of the customer. */
export const shopifyMoney = (euros: string, dollars: string) => ({
  shop_money: { amount: euros, currency_code: 'EUR' },
  presentment_money: { amount: dollars, currency_code: 'USD' },
});

export const shopifyRefund = (orderId: string, id: number, amount: string) => ({
  id,
  order_id: Number(orderId),
  created_at: new Date().toISOString(),
  transactions: [
    { id: 1, kind: 'refund', status: 'success', amount, currency: 'EUR' },
    { id: 2, kind: 'refund', status: 'failure', amount: '1.00', currency: 'EUR' },
  ],
});

export function woocommerceCall(topic: string, event: object, secret: string): Sent {
  const body = JSON.stringify(event);
  return {
    headers: {
      'content-type': 'application/json',
      'x-wc-webhook-topic': topic,
      'x-wc-webhook-resource': 'order',
      'x-wc-webhook-signature': hmac(secret, body),
    },
    body,
  };
}

export const woocommerceOrder = (id: number, more: object = {}) => ({
  id,
  number: String(id),
  status: 'processing',
  currency: 'EUR',
  date_created: '2026-01-01T10:00:00',
  date_created_gmt: new Date().toISOString().slice(0, 19),
  total: '29.35',
  total_tax: '4.89',
  customer_id: 0,
  customer_ip_address: '203.0.113.8',
  customer_user_agent: 'Mozilla/5.0',
  billing: { email: 'ann@example.com' },
  meta_data: [],
  coupon_lines: [],
  line_items: [
    { id: 1, product_id: 93, quantity: 1, subtotal: '20.00', total: '20.00', total_tax: '4.00', sku: '' },
  ],
  shipping_lines: [{ id: 2, total: '4.46', total_tax: '0.89' }],
  fee_lines: [],
  refunds: [],
  ...more,
});

export function stripeCall(
  event: object,
  secret: string,
  { at = Date.now(), before = '' }: { at?: number; before?: string } = {},
): Sent {
  const body = JSON.stringify(event);
  const seconds = Math.floor(at / 1_000);
  const v1 = createHmac('sha256', secret).update(`${seconds}.${body}`).digest('hex');
  return {
    headers: {
      'content-type': 'application/json; charset=utf-8',
      'stripe-signature': `t=${seconds},${before}v1=${v1}`,
    },
    body,
  };
}

export const stripeEvent = (type: string, object: object, previous?: object) => ({
  id: `evt_${type}_${JSON.stringify(object).length}`,
  object: 'event',
  type,
  livemode: true,
  created: Math.floor(Date.now() / 1_000),
  data: { object, ...(previous && { previous_attributes: previous }) },
});

export const stripeSession = (id: string, more: object = {}) => ({
  id: `cs_${id}`,
  object: 'checkout.session',
  mode: 'payment',
  payment_status: 'paid',
  payment_intent: `pi_${id}`,
  invoice: null,
  subscription: null,
  amount_total: 2935,
  currency: 'eur',
  total_details: { amount_discount: 0, amount_shipping: 500, amount_tax: 400 },
  client_reference_id: null,
  metadata: {},
  discounts: [],
  customer: 'cus_1',
  customer_details: { email: 'ann@example.com' },
  created: Math.floor(Date.now() / 1_000),
  ...more,
});

/** A call as a source gets it. */
export function requestOf({ headers, body }: Sent, query = ''): SentRequest {
  return { method: 'POST', query, headers, body: Buffer.from(body) };
}
