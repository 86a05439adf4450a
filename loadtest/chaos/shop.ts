import { setTimeout as delay } from 'node:timers/promises';
import type { Platform } from '../platform.ts';
import { isTrueWithin } from '../wait.ts';
import type { Answer, Http } from './http.ts';
import type { SeededRandom } from './random.ts';
import type { ClientRecord, ReceivedClick, ShopOrder } from './record.ts';

const ORDERS_PER_SECOND = 8;
const TICK_MS = 50;
/** How far back the click of an order may be: most follow at once, while their click is still on its way. */
const RECENT_CLICKS = 2_000;
/** In a hundred: shops that do not try again after an error; orders sent twice; refunded; without a click. */
const GIVES_UP_PERCENT = 30;
const SENT_TWICE_PERCENT = 10;
const REFUNDED_PERCENT = 10;
const NO_CLICK_PERCENT = 5;
const RETRY_MS = 1_000;
/** Amounts are whole hundreds of minor units: every rate of the demo's terms gives whole minor units of them. */
const HUNDREDS = { from: 10, to: 400 };

/** The shop: reports orders and refunds, and tries again as shops do. */
export interface Shop {
  /** Sends no further orders; resolves when all that shall be retried is answered, or to false at the deadline. */
  stop(deadlineMs: number): Promise<boolean>;
}

export function startShop(options: {
  http: Http;
  platform: Pick<Platform, 'apiUrl' | 'demo'>;
  random: SeededRandom;
  record: ClientRecord;
}): Shop {
  const { http, platform, random, record } = options;
  const { currency } = platform.demo.program;
  const headers = { Authorization: `Bearer ${platform.demo.keys.advertiser}` };
  const underWay = new Set<Promise<void>>();
  const startedAt = performance.now();
  let due = 0;
  let gaveUp = false;

  function draw(): ShopOrder | undefined {
    const recent = record.clicks.slice(-RECENT_CLICKS).filter(({ isPercent }) => isPercent);
    if (recent.length === 0) return undefined;
    const click: ReceivedClick | undefined =
      random.next() * 100 < NO_CLICK_PERCENT ? undefined : random.pick(recent);
    const order: ShopOrder = {
      orderId: `order-${record.orders.length + 1}`,
      amountMinor: 100 * random.whole(HUNDREDS.from, HUNDREDS.to),
      click,
      conversionId: undefined,
      refundedMinor: 0,
    };
    record.orders.push(order);
    return order;
  }

  async function report(order: ShopOrder): Promise<void> {
    const isPatient = random.next() * 100 >= GIVES_UP_PERCENT;
    const isDouble = random.next() * 100 < SENT_TWICE_PERCENT;
    const isRefunded = random.next() * 100 < REFUNDED_PERCENT;
    record.noteOrder({ sent: order.orderId, amountMinor: order.amountMinor, clickId: order.click?.clickId });
    const send = (): Promise<boolean> => sendOrder(order);
    if (isPatient) await untilTrue(send);
    else await send();
    if (isDouble && order.conversionId !== undefined) await untilTrue(send);
    if (isRefunded && order.conversionId !== undefined) await refund(order);
  }

  /** Whether it was accepted, now or before. */
  async function sendOrder(order: ShopOrder): Promise<boolean> {
    const answer = await http.send('POST', `${platform.apiUrl}/v1/conversions`, {
      headers,
      body: {
        order_id: order.orderId,
        amount: decimal(order.amountMinor),
        currency,
        ...(order.click && { click_id: order.click.clickId }),
      },
    });
    if (!isFinal(answer, [200, 202], `order ${order.orderId}`)) return false;
    const { id } = (JSON.parse(answer.body) as { conversion: { id: string } }).conversion;
    record.noteOrder({ accepted: order.orderId, conversionId: id });
    if (order.conversionId !== undefined && order.conversionId !== id) {
      record.strange.push(`order ${order.orderId} is ${order.conversionId} and ${id}`);
    }
    order.conversionId = id;
    return true;
  }

  async function refund(order: ShopOrder): Promise<void> {
    const amountMinor = 100 * random.whole(1, order.amountMinor / 100 + 1);
    await untilTrue(async () => {
      const answer = await http.send('POST', `${platform.apiUrl}/v1/refunds`, {
        headers,
        body: {
          order_id: order.orderId,
          refund_ref: `${order.orderId}-r`,
          amount: decimal(amountMinor),
          currency,
        },
      });
      if (!isFinal(answer, [200, 201], `the refund of ${order.orderId}`)) return false;
      record.noteOrder({ refunded: order.orderId, amountMinor });
      order.refundedMinor = amountMinor;
      return true;
    });
  }

  /** Whether an answer says yes. No answer, 429 and 5xx may be tried again; a refusal is strange, for what is sent is right. */
  function isFinal(answer: Answer | undefined, good: readonly number[], what: string): answer is Answer {
    if (!answer || answer.status === 429 || answer.status >= 500) return false;
    if (good.includes(answer.status)) return true;
    record.strange.push(`${what} was answered ${answer.status}: ${answer.body}`);
    return false;
  }

  async function untilTrue(attempt: () => Promise<boolean>): Promise<void> {
    while (!gaveUp && !(await attempt())) await delay(RETRY_MS);
  }

  const timer = setInterval(() => {
    const sofar = ((performance.now() - startedAt) * ORDERS_PER_SECOND) / 1_000;
    for (; due < sofar; due++) {
      const order = draw();
      if (!order) continue;
      const reported: Promise<void> = report(order).finally(() => underWay.delete(reported));
      underWay.add(reported);
    }
  }, TICK_MS);

  return {
    async stop(deadlineMs) {
      clearInterval(timer);
      const answered = await isTrueWithin(deadlineMs, () => underWay.size === 0);
      gaveUp = true;
      await Promise.all(underWay);
      return answered;
    },
  };
}

function decimal(amountMinor: number): string {
  return `${Math.floor(amountMinor / 100)}.${String(amountMinor % 100).padStart(2, '0')}`;
}
