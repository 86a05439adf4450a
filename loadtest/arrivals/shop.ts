import type { DemoFile } from '../platform.ts';
import type { Client } from './client.ts';
import type { Outcome } from './rate.ts';

/** Orders that a postback has accepted. */
export interface Accepted {
  readonly orders: number;
  readonly amountMinor: number;
}

export interface Shop {
  /** Calls the postback for the n-th order, with the click id of a recent click. */
  postback(n: number): Promise<Outcome>;
  accepted(): Accepted;
}

/** Every so many-th order is sent a second time, as shops do that have missed the answer. */
const SENT_TWICE_EVERY = 10;
const SMALLEST_MINOR = 1_000;
const AMOUNTS = 39_000;

export function createShop(options: {
  client: Client;
  demo: Pick<DemoFile, 'program' | 'keys'>;
  recentClick: () => string | undefined;
  reportProblem: (text: string) => void;
}): Shop {
  const { client, demo, recentClick, reportProblem } = options;
  const { currency } = demo.program;
  let orders = 0;
  let amount = 0;

  async function send(path: string, status: 'accepted' | 'duplicate'): Promise<Outcome> {
    const answer = await client.send({ method: 'GET', path });
    if (!answer) return 'unanswered';
    if (answer.status === 200 && (JSON.parse(answer.body) as { status: string }).status === status) {
      return 'good';
    }
    reportProblem(`a postback that should be ${status} was answered ${answer.status}: ${answer.body}`);
    return 'wrong';
  }

  return {
    async postback(n) {
      const clickId = recentClick();
      const amountMinor = SMALLEST_MINOR + ((n * 7_919) % AMOUNTS);
      const query = new URLSearchParams({
        key: demo.keys.advertiser,
        order_id: `order-${n}`,
        amount: (amountMinor / 100).toFixed(2),
        currency,
        ...(clickId !== undefined && { click_id: clickId }),
      });
      const first = await send(`/postback?${query}`, 'accepted');
      if (first !== 'good') return first;
      orders++;
      amount += amountMinor;
      return n % SENT_TWICE_EVERY === 0 ? await send(`/postback?${query}`, 'duplicate') : 'good';
    },
    accepted: () => ({ orders, amountMinor: amount }),
  };
}
