import { randomInt } from 'node:crypto';
import type { PlayedClick } from './clicks.ts';
import { pick } from './clicks.ts';
import type { Demo } from './data.ts';
import { type HttpClient, inParallel } from './http.ts';
import { createProgress } from './progress.ts';

/** An order as the shop reports it. */
export interface PlayedOrder {
  readonly orderId: string;
  readonly amountMinor: number;
  readonly kind: 'ordinary' | 'self_referral' | 'same_ip' | 'same_customer' | 'forged_click' | 'no_click';
}

export interface PlayedOrders {
  readonly orders: readonly PlayedOrder[];
  readonly accepted: number;
  /** Postbacks sent twice that were answered as duplicates. */
  readonly duplicates: number;
  readonly resent: number;
}

const WIDTH = 32;
/** Orders for a hundred clicks. */
const CONVERSION_PERCENT = 0.5;
const SELF_REFERRALS = 5;
/** More than ten conversions of one address within an hour are reviewed. */
const SAME_IP_ORDERS = 18;
/** More than five orders of one customer a day are reviewed too. */
const SAME_CUSTOMER_ORDERS = 9;
const FORGED = 5;
const WITHOUT_CLICK = 5;
/** One shop in twenty retries a postback it already sent. */
const RESENT_PERCENT = 5;
/** Whose visitors order sooner than people read a page: the rule fast_conversions has something to find. */
const HASTY_AFFILIATE = 'dan';
const HASTY_SECONDS = [35, 110] as const;
/** Everybody else's take their time, no more than the API lets an order be ahead of its clock; small delays are common. */
const ORDINARY_SECONDS = [150, 290] as const;
const SMALLEST_ORDER_MINOR = 900;
const LARGEST_ORDER_MINOR = 40_000;

/** Converts a share of the clicks by postback, honestly and otherwise. */
export async function playOrders(options: {
  http: HttpClient;
  apiUrl: string;
  demo: Demo;
  clicks: readonly PlayedClick[];
  run: string;
  /** Settles once every order so far is decided. */
  decided: () => Promise<void>;
}): Promise<PlayedOrders> {
  const { http, apiUrl, demo, clicks, run, decided } = options;
  const orders: PlayedOrder[] = [];
  const postbacks: Record<string, string>[] = [];

  const hasty = demo.affiliates.find((affiliate) => affiliate.ref_code === HASTY_AFFILIATE)?.id;
  /** The click with a plausible time of the order: ahead of the clock, because the demo does not wait for its visitors. */
  function ordered({ clickId, affiliateId, clickedAtMs }: PlayedClick): Record<string, string> {
    const [least, most] = affiliateId === hasty ? HASTY_SECONDS : ORDINARY_SECONDS;
    const seconds = drawSkewed(least, most);
    return { click_id: clickId, occurred_at: new Date(clickedAtMs + seconds * 1_000).toISOString() };
  }

  function add(kind: PlayedOrder['kind'], extra: Record<string, string>): void {
    const orderId = `${run}-${orders.length + 1}`;
    const amountMinor = drawAmount();
    orders.push({ orderId, amountMinor, kind });
    postbacks.push({
      order_id: orderId,
      amount: decimal(amountMinor),
      currency: demo.program.currency,
      ...extra,
    });
  }

  const ordinary = Math.max(1, Math.round((clicks.length * CONVERSION_PERCENT) / 100));
  for (let i = 0; i < ordinary; i++) {
    add('ordinary', { ...ordered(pick(clicks)), customer_id: `customer-${run}-${i}` });
  }
  for (let i = 0; i < SELF_REFERRALS; i++) {
    const click = pick(clicks);
    const owner = demo.affiliates.find((affiliate) => affiliate.id === click.affiliateId);
    add('self_referral', { ...ordered(click), customer_id: owner?.customer_ref ?? '' });
  }
  const busy = pick(clicks);
  for (let i = 0; i < SAME_IP_ORDERS; i++) add('same_ip', ordered(busy));
  const loyal = `customer-${run}-loyal`;
  for (let i = 0; i < SAME_CUSTOMER_ORDERS; i++) {
    add('same_customer', { ...ordered(pick(clicks)), customer_id: loyal });
  }
  for (let i = 0; i < FORGED; i++) add('forged_click', { click_id: 'A'.repeat(22) });
  for (let i = 0; i < WITHOUT_CLICK; i++) add('no_click', {});

  const again = postbacks.filter(() => randomInt(100) < RESENT_PERCENT);
  const progress = createProgress('orders', postbacks.length + again.length);
  const send = async (postback: Record<string, string>): Promise<string> => {
    const query = new URLSearchParams({ ...postback, key: demo.keys.advertiser });
    const answer = await http.get(`${apiUrl}/postback?${query}`);
    progress.advance();
    if (answer.status !== 200) throw new Error(`a postback was answered ${answer.status}: ${answer.body}`);
    return (JSON.parse(answer.body) as { status: string }).status;
  };
  // In two waves: what is unusual of an affiliate is seen by what was decided before.
  const half = Math.ceil(ordinary / 2);
  const first = await inParallel(postbacks.slice(0, half), WIDTH, send);
  await decided();
  first.push(...(await inParallel(postbacks.slice(half), WIDTH, send)));
  const second = await inParallel(again, WIDTH, send);
  progress.done();
  return {
    orders,
    accepted: first.filter((status) => status === 'accepted').length,
    duplicates: second.filter((status) => status === 'duplicate').length,
    resent: again.length,
  };
}

/** Small orders are common, large ones rare. */
function drawAmount(): number {
  return drawSkewed(SMALLEST_ORDER_MINOR, LARGEST_ORDER_MINOR);
}

/** A whole number between two others, the cube of a uniform draw: mostly near the smaller one. */
function drawSkewed(least: number, most: number): number {
  const draw = (randomInt(1_000_000) / 1_000_000) ** 3;
  return Math.round(least + draw * (most - least));
}

/** Minor units of a currency with two digits as a decimal. */
export function decimal(amountMinor: number): string {
  return `${Math.floor(amountMinor / 100)}.${String(amountMinor % 100).padStart(2, '0')}`;
}
