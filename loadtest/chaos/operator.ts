import { startLoop } from '../../core/service/loop.ts';
import type { Platform } from '../platform.ts';
import type { SeededRandom } from '../random.ts';
import { isTrueWithin } from '../wait.ts';
import type { Http } from './http.ts';
import type { ClientRecord } from './record.ts';

const CONFIRM_PAUSE_MS = 250;
/** Between two payout runs, in confirmations. */
const CONFIRMS_A_RUN = 20;
/** A run that was killed while it handed payouts over keeps them for two minutes. */
const PAYOUTS_MS = 180_000;
const FINAL_WIDTH = 8;

/** The operator: ends holds, runs payouts and marks them paid, all the while and once more when everything has recovered. */
export interface Operator {
  stop(): Promise<void>;
  /** Confirms what may be confirmed and pays it; whether every payout came to its end. */
  finish(): Promise<boolean>;
}

export function startOperator(options: {
  http: Http;
  platform: Pick<Platform, 'apiUrl' | 'demo'>;
  random: SeededRandom;
  record: ClientRecord;
}): Operator {
  const { http, platform, random, record } = options;
  const headers = { Authorization: `Bearer ${platform.demo.keys.operator}` };
  let confirms = 0;

  const post = (path: string, body: object = {}) =>
    http.send('POST', `${platform.apiUrl}${path}`, { headers, body });
  const confirm = (conversionId: string) => post(`/v1/conversions/${conversionId}/confirm`);

  /** Undefined: no answer. */
  async function openPayouts(): Promise<{ id: string; state: string }[] | undefined> {
    const open = [];
    for (const state of ['created', 'submitting', 'submitted', 'unknown']) {
      const answer = await http.send('GET', `${platform.apiUrl}/v1/payouts?limit=500&state=${state}`, {
        headers,
      });
      if (answer?.status !== 200) return undefined;
      open.push(...(JSON.parse(answer.body) as { data: { id: string; state: string }[] }).data);
    }
    return open;
  }

  async function pay(): Promise<void> {
    const answer = await http.send('GET', `${platform.apiUrl}/v1/payouts/preview`, { headers });
    if (answer?.status === 200) {
      const { preview } = JSON.parse(answer.body) as { preview: string };
      await post('/v1/payouts/run', { preview });
    }
    for (const { id, state } of (await openPayouts()) ?? []) {
      if (state === 'submitted') await post(`/v1/payouts/${id}/mark-paid`);
    }
  }

  const loop = startLoop(async () => {
    const accepted = record.orders.filter(({ conversionId }) => conversionId !== undefined);
    const order = accepted.length === 0 ? undefined : random.pick(accepted);
    if (order?.conversionId !== undefined) await confirm(order.conversionId);
    if (++confirms % CONFIRMS_A_RUN === 0) await pay();
    return CONFIRM_PAUSE_MS;
  });

  return {
    stop: () => loop.stop(),
    async finish() {
      const ids = record.orders.flatMap(({ conversionId }) => conversionId ?? []);
      const worker = async (): Promise<void> => {
        for (let id = ids.pop(); id !== undefined; id = ids.pop()) await confirm(id);
      };
      await Promise.all(Array.from({ length: FINAL_WIDTH }, worker));
      return await isTrueWithin(PAYOUTS_MS, async () => {
        await pay();
        return (await openPayouts())?.length === 0;
      });
    },
  };
}
