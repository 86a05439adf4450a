import { randomBytes } from 'node:crypto';
import { Registry } from 'prom-client';
import { createShopClocks } from '../../../api/orders/shop-clocks.ts';
import { createShopSettings } from '../../../api/orders/shop-settings.ts';
import { newAddress } from '../../../api/sources/proofs.ts';
import { createReceiver } from '../../../api/sources/receiver.ts';
import type { CallAnswer } from '../../../api/sources/record-calls.ts';
import { createClickIdCodec } from '../../../core/clicks/click-id.ts';
import { createSecretBox } from '../../../core/secret-box.ts';
import { createLogger } from '../../../core/service/log.ts';
import { createSource } from '../../../ledger/integrations/sources.ts';
import type { Database } from '../../../ledger/postgres/db.ts';

/** A shop that names and writes everything in a way of its own: nested, in minor units, with words of its own. */
const MAPPING = {
  fields: {
    order_id: 'cart.nr',
    event_name: 'cart.of',
    amount: { from: 'cart.cents', units: 'minor' },
    currency: 'cart.cur',
    refund_ref: 'cart.voucher',
  },
  rules: [{ does: { from: 'what' } }],
} as const;

/** What happened to an order, as a source of the program says it. */
export interface SentEvent {
  readonly orderId: string;
  readonly eventName: string;
  readonly kind: string;
  readonly amount: { readonly amountMinor: bigint; readonly currency: string } | undefined;
  readonly refundRef: string | undefined;
}

/** A source of the program that sends such events as JSON, received as the API receives them. */
export async function startSource(
  ledger: Database,
  programId: number,
): Promise<(event: SentEvent) => Promise<CallAnswer>> {
  const secretBox = createSecretBox([randomBytes(32)]);
  const log = createLogger({ name: 'test-source', level: 'silent' });
  const receiver = createReceiver({
    ledger,
    secretBox,
    log,
    shopSettings: createShopSettings({ ledger }),
    clickIds: createClickIdCodec([randomBytes(16)]),
    shopClocks: createShopClocks({ registry: new Registry(), log }),
  });
  const { address, addressHash } = newAddress(secretBox);
  const named = { programId, kind: 'anything', name: 'a shop', host: null, secret: null, mapping: MAPPING };
  const source = await createSource(ledger, { ...named, address, addressHash });
  return async ({ orderId, eventName, kind, amount, refundRef }) => {
    const cart = {
      nr: orderId,
      of: eventName,
      ...(amount && { cents: Number(amount.amountMinor), cur: amount.currency.toLowerCase() }),
      ...(refundRef !== undefined && { voucher: refundRef }),
    };
    const request = {
      method: 'POST',
      query: '',
      headers: { 'content-type': 'application/json' },
      body: Buffer.from(JSON.stringify({ what: kind, cart })),
    };
    const answer = await receiver.receive(source, request, {
      caller: { requestId: 'test', actor: null, ip: null },
      onGuess: () => {},
    });
    if (!answer) throw new Error('a source without a secret is always heard');
    return answer;
  };
}
