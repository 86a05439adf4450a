import type { SentRequest } from '../sent-request.ts';
import {
  requestOf,
  shopifyCall,
  shopifyOrder,
  stripeCall,
  stripeEvent,
  stripeSession,
  woocommerceCall,
  woocommerceOrder,
} from './example-events.ts';
import type { SourceKindName } from './index.ts';

/** Of the form of a click id, and of no click. */
const CLICK_ID = 'an-example-of-click-id';
/** Calls that are shown and tried are signed by no source. */
const NO_SECRET = '';
const ORDER_ID = '450789469';

const byQuery = (parameters: Readonly<Record<string, string>>): SentRequest => ({
  method: 'GET',
  query: new URLSearchParams(parameters).toString(),
  headers: {},
  body: Buffer.alloc(0),
});
const tuneLike = () => byQuery({ transaction_id: CLICK_ID, amount: '29.00', adv_sub: ORDER_ID });

const EXAMPLES: Readonly<Record<SourceKindName, () => SentRequest>> = {
  shopify: () => {
    const note_attributes = [{ name: 'click_id', value: CLICK_ID }];
    return requestOf(shopifyCall('orders/paid', shopifyOrder(ORDER_ID, { note_attributes }), NO_SECRET));
  },
  woocommerce: () => {
    const meta_data = [{ key: '_afflux_click_id', value: CLICK_ID }];
    const order = woocommerceOrder(Number(ORDER_ID), { meta_data });
    return requestOf(woocommerceCall('order.created', order, NO_SECRET));
  },
  stripe: () => {
    const session = stripeSession('example', { client_reference_id: CLICK_ID });
    return requestOf(stripeCall(stripeEvent('checkout.session.completed', session), NO_SECRET));
  },
  keitaro: () => byQuery({ subid: CLICK_ID, status: 'sale', payout: '29.00', tid: ORDER_ID }),
  voluum: () => byQuery({ cid: CLICK_ID, payout: '29.00', txid: ORDER_ID, et: 'purchase' }),
  binom: () => byQuery({ cnv_id: CLICK_ID, payout: '29.00', txid: ORDER_ID, cnv_status: 'checkout' }),
  redtrack: () => byQuery({ clickid: CLICK_ID, sum: '29.00', ref_id: ORDER_ID, type: 'purchase' }),
  everflow: () => byQuery({ transaction_id: CLICK_ID, amount: '29.00', order_id: ORDER_ID }),
  tune: tuneLike,
  hasoffers: tuneLike,
  cake: () => byQuery({ r: CLICK_ID, p: '29.00', t: ORDER_ID }),
  anything: () => {
    const body = JSON.stringify({ order_id: ORDER_ID, amount: '29.00', click_id: CLICK_ID });
    return requestOf({ headers: { 'content-type': 'application/json' }, body });
  },
};

/** A call as the kind makes it, made up here: what a source makes of it can be shown before its first call comes. */
export function exampleOf(kind: SourceKindName): SentRequest {
  return EXAMPLES[kind]();
}
