import { type Answer, jsonRequest, queryText, type TrafficRequest, wrongStatus } from './http.ts';

/** Of so many visitors one buys: two in a hundred. */
export const VISITS_AN_ORDER = 50;
/** Every so many-th order is sent a second time, as shops do that have missed the answer. */
const SENT_TWICE_EVERY = 10;
const SMALLEST_MINOR = 1_000;
const AMOUNTS = 39_000;
const MINOR_UNITS = 100;
/** What Standard Webhooks writes in front of a secret in base64. */
const SECRET_PREFIX = 'whsec_';

/** HMAC-SHA-256 in base64, of a key in base64: each generator has one of its own. */
export type Hmac = (keyBase64: string, text: string) => string;

/** How a shop calls: its key in the address of a postback, and a key that signs. */
export interface ShopAccess {
  readonly currency: string;
  readonly key: string;
  readonly signingKey: { readonly id: string; readonly secret: string };
}

export interface Order {
  readonly orderId: string;
  readonly amountMinor: number;
  readonly clickId: string;
  /** Reported again with the same content. */
  readonly twice: boolean;
}

export function order(run: string, n: number, clickId: string): Order {
  return {
    orderId: `${run}-${n}`,
    amountMinor: SMALLEST_MINOR + ((n * 7_919) % AMOUNTS),
    clickId,
    twice: n % SENT_TWICE_EVERY === 0,
  };
}

/** What an order says of itself in every form. */
function content({ orderId, amountMinor, clickId }: Order, currency: string): Record<string, string> {
  return {
    order_id: orderId,
    amount: (amountMinor / MINOR_UNITS).toFixed(2),
    currency,
    click_id: clickId,
  };
}

/** The order as the address of a postback. */
export function postback(reported: Order, { key, currency }: ShopAccess): TrafficRequest {
  const path = `/postback?${queryText({ key, ...content(reported, currency) })}`;
  return { service: 'api', method: 'GET', path, headers: {} };
}

/** The order as JSON, signed as Standard Webhooks defines it. */
export function signedOrder(
  reported: Order,
  { signingKey, currency }: ShopAccess,
  { now, hmac }: { now: number; hmac: Hmac },
): TrafficRequest {
  const request = jsonRequest('/v1/conversions', content(reported, currency));
  const timestamp = String(Math.floor(now / 1_000));
  const message = `${reported.orderId}.${timestamp}.${request.body}`;
  return {
    ...request,
    headers: {
      ...request.headers,
      'afflux-key': signingKey.id,
      'webhook-id': reported.orderId,
      'webhook-timestamp': timestamp,
      'webhook-signature': `v1,${hmac(signingKey.secret.slice(SECRET_PREFIX.length), message)}`,
    },
  };
}

/** What is wrong with the answer to a report of an order, in words. */
export function wrongReport(
  answer: Answer,
  status: 'accepted' | 'duplicate',
  code: number,
): string | undefined {
  const wrong = wrongStatus(answer, code);
  if (wrong !== undefined) return `an order that should be ${status} was ${wrong}`;
  const { status: said } = JSON.parse(answer.body) as { status?: string };
  return said === status ? undefined : `an order that should be ${status} was answered "${said}"`;
}
