import { setTimeout as delay } from 'node:timers/promises';
import type { Platform } from '../platform.ts';
import type { SeededRandom } from '../random.ts';
import { isTrueWithin } from '../wait.ts';
import type { Answer, Http } from './http.ts';
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
/** Half of what the rule for many orders of one address allows: a click's address is its own, and no order is to be reviewed. */
const ORDERS_OF_A_CLICK = 5;
const RETRY_MS = 1_000;
/** Amounts are whole hundreds of minor units: every rate of the demo's terms gives whole minor units of them. */
const HUNDREDS = { from: 10, to: 400 };

/** The shop: reports orders and refunds, and tries again as shops do. */
export interface Shop {
  /** Sends no further orders; resolves when all that is to be retried is answered, or to false at the deadline. */
  stop(deadlineMs: number): Promise<boolean>;
}

interface ShopOptions {
  readonly http: Http;
  readonly platform: Pick<Platform, 'apiUrl' | 'demo'>;
  readonly random: SeededRandom;
  readonly record: ClientRecord;
}

export function startShop(options: ShopOptions): Shop {
  const { random, record } = options;
  const client = new ShopClient(options);
  const inFlight = new Set<Promise<void>>();
  const startedAt = performance.now();
  let due = 0;

  const timer = setInterval(() => {
    const sofar = ((performance.now() - startedAt) * ORDERS_PER_SECOND) / 1_000;
    for (; due < sofar; due++) {
      const order = drawOrder(random, record);
      if (!order) continue;
      const reported: Promise<void> = report(order, { client, random, record }).finally(() =>
        inFlight.delete(reported),
      );
      inFlight.add(reported);
    }
  }, TICK_MS);

  return {
    async stop(deadlineMs) {
      clearInterval(timer);
      const answered = await isTrueWithin(deadlineMs, () => inFlight.size === 0);
      client.giveUp();
      await Promise.all(inFlight);
      return answered;
    },
  };
}

/** An order for a recent click, or for none; undefined before the first click, and for a click that has enough of them. */
function drawOrder(random: SeededRandom, record: ClientRecord): ShopOrder | undefined {
  const recent = record.clicks.slice(-RECENT_CLICKS).filter(({ isPercent }) => isPercent);
  if (recent.length === 0) return undefined;
  const click: ReceivedClick | undefined =
    random.next() * 100 < NO_CLICK_PERCENT ? undefined : random.pick(recent);
  if (click && record.orders.filter((order) => order.click === click).length >= ORDERS_OF_A_CLICK)
    return undefined;
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

/** Reports an order as one of the shops does: with or without retries, once or twice, with or without a refund. */
async function report(
  order: ShopOrder,
  { client, random, record }: { client: ShopClient; random: SeededRandom; record: ClientRecord },
): Promise<void> {
  const isPatient = random.next() * 100 >= GIVES_UP_PERCENT;
  const isDouble = random.next() * 100 < SENT_TWICE_PERCENT;
  const isRefunded = random.next() * 100 < REFUNDED_PERCENT;
  record.noteOrder({ sent: order.orderId, amountMinor: order.amountMinor, clickId: order.click?.clickId });
  const send = (): Promise<boolean> => client.sendOrder(order);
  if (isPatient) await client.retryUntilTrue(send);
  else await send();
  if (isDouble && order.conversionId !== undefined) await client.retryUntilTrue(send);
  if (isRefunded && order.conversionId !== undefined) {
    const amountMinor = 100 * random.whole(1, order.amountMinor / 100 + 1);
    await client.retryUntilTrue(() => client.sendRefund(order, amountMinor));
  }
}

/** The requests of a shop, each noted with its answer. */
class ShopClient {
  readonly #http: Http;
  readonly #record: ClientRecord;
  readonly #apiUrl: string;
  readonly #currency: string;
  readonly #headers: Readonly<Record<string, string>>;
  #gaveUp = false;

  constructor({ http, platform, record }: ShopOptions) {
    this.#http = http;
    this.#record = record;
    this.#apiUrl = platform.apiUrl;
    this.#currency = platform.demo.program.currency;
    this.#headers = { Authorization: `Bearer ${platform.demo.keys.advertiser}` };
  }

  /** Whether it was accepted, now or before. */
  async sendOrder(order: ShopOrder): Promise<boolean> {
    const answer = await this.#post('/v1/conversions', {
      order_id: order.orderId,
      amount: decimal(order.amountMinor),
      ...(order.click && { click_id: order.click.clickId }),
    });
    if (!this.#isAccepted(answer, [200, 202], `order ${order.orderId}`)) return false;
    const { id } = (JSON.parse(answer.body) as { conversion: { id: string } }).conversion;
    this.#record.noteOrder({ accepted: order.orderId, conversionId: id });
    if (order.conversionId !== undefined && order.conversionId !== id) {
      this.#record.strange.push(`order ${order.orderId} is ${order.conversionId} and ${id}`);
    }
    order.conversionId = id;
    return true;
  }

  async sendRefund(order: ShopOrder, amountMinor: number): Promise<boolean> {
    const answer = await this.#post('/v1/refunds', {
      order_id: order.orderId,
      refund_ref: `${order.orderId}-r`,
      amount: decimal(amountMinor),
    });
    if (!this.#isAccepted(answer, [200, 201], `the refund of ${order.orderId}`)) return false;
    this.#record.noteOrder({ refunded: order.orderId, amountMinor });
    order.refundedMinor = amountMinor;
    return true;
  }

  async retryUntilTrue(attempt: () => Promise<boolean>): Promise<void> {
    while (!this.#gaveUp && !(await attempt())) await delay(RETRY_MS);
  }

  /** Ends all retries. */
  giveUp(): void {
    this.#gaveUp = true;
  }

  async #post(path: string, body: Readonly<Record<string, string>>): Promise<Answer | undefined> {
    return await this.#http.send('POST', `${this.#apiUrl}${path}`, {
      headers: this.#headers,
      body: { ...body, currency: this.#currency },
    });
  }

  /** No answer, 429 and 5xx are to be retried; any other refusal is strange, because the requests are right. */
  #isAccepted(answer: Answer | undefined, good: readonly number[], what: string): answer is Answer {
    if (!answer || answer.status === 429 || answer.status >= 500) return false;
    if (good.includes(answer.status)) return true;
    this.#record.strange.push(`${what} was answered ${answer.status}: ${answer.body}`);
    return false;
  }
}

function decimal(amountMinor: number): string {
  return `${Math.floor(amountMinor / 100)}.${String(amountMinor % 100).padStart(2, '0')}`;
}
