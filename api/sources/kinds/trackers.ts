import type { FieldMapping } from '../../mapping/field.ts';
import type { MappingInput } from '../mapping.ts';

/**
 * Presets of trackers and networks: the parameters of a server-to-server postback under the names that each documents. Their
 * amounts may have more digits than the currency and are rounded; an order without an id is known by its click, so that a
 * click has one order then; without a status it is approved. A new amount of a known order is a change.
 */

type Act = 'approved' | 'pending' | 'rejected' | 'ignored';

interface Names {
  readonly click: string | readonly string[];
  readonly amount: string | readonly string[];
  readonly order: readonly string[];
  readonly currency?: string;
  readonly status?: { readonly from: readonly string[]; readonly words: Readonly<Record<string, Act>> };
  readonly more?: Readonly<Record<string, string | Partial<FieldMapping>>>;
}

const pathsOf = (names: string | readonly string[]): string[] => [names].flat();

function postback({ click, amount, order, currency = 'currency', status, more = {} }: Names): MappingInput {
  const from = [...(status?.from ?? ['status'])];
  return {
    fields: {
      click_id: pathsOf(click),
      order_id: [...order, ...pathsOf(click)],
      amount: { from: pathsOf(amount), round: true },
      currency,
      ...more,
    },
    rules: [{ does: { from, words: { ...status?.words }, default: 'approved' }, snapshot: 'amount' }],
  };
}

/** docs.keitaro.io/en/conversions-and-postback/postback.html: `status` is lead, sale, rejected or rebill. */
export const keitaro = postback({
  click: 'subid',
  amount: ['payout', 'revenue'],
  order: ['tid'],
  status: {
    from: ['status'],
    words: { sale: 'approved', rebill: 'approved', lead: 'pending', rejected: 'rejected', trash: 'rejected' },
  },
});

/** doc.voluum.com/article/parameters-in-postback-urls: `et` names the event. */
export const voluum = postback({
  click: 'cid',
  amount: 'payout',
  order: ['txid'],
  more: { event_name: { from: ['et'], words: { conversion: 'sale', purchase: 'sale', deposit: 'sale' } } },
});

/** docs.binom.org/postback-url.php: `cnv_status` is whatever the network says. */
export const binom = postback({
  click: ['cnv_id', 'clickid'],
  amount: 'payout',
  order: ['txid', 'order_id'],
  currency: 'cnv_currency',
  status: {
    from: ['cnv_status'],
    words: { lead: 'pending', signup: 'pending', checkout: 'approved', trash: 'rejected' },
  },
});

/** docs.redtrack.io/knowledgebase, "Postback URL": `type` names the conversion type. */
export const redtrack = postback({
  click: ['clickid', 'click_id'],
  amount: 'sum',
  order: ['ref_id', 'txid', 'order_id'],
  status: { from: ['status'], words: { other: 'pending' } },
  more: {
    event_name: { from: ['type'], words: { conversion: 'sale', purchase: 'sale', default: 'sale' } },
    coupon: 'coupon',
  },
});

/** helpdesk.everflow.io, "Advertiser Server Postbacks": our click id is their `transaction_id`. */
export const everflow = postback({
  click: 'transaction_id',
  amount: 'amount',
  order: ['order_id', 'adv1'],
  more: { coupon: 'coupon_code', customer_email: 'email', event_name: 'event_name' },
});

/** support.tune.com, "Receiving Conversions via Postback URL": /aff_lsr with our click id as `transaction_id`. */
export const tune = postback({
  click: 'transaction_id',
  amount: ['amount', 'sale_amount'],
  order: ['adv_sub', 'adv_unique1'],
  more: { coupon: { from: ['promo_code', 'coupon'] }, event_name: 'goal_name' },
});

/** support.getcake.com, "Server-to-Server Tracking Using a Postback URL": `r` the request id, `t` the transaction, `p` the price. */
export const cake = postback({
  click: ['r', 'reqid', 'click_id'],
  amount: ['p', 'amount'],
  order: ['t', 'transaction_id'],
  more: { coupon: 'cc' },
});

const OUR_NAMES = [
  'order_id',
  'event_name',
  'refund_ref',
  'click_id',
  'coupon',
  'customer_id',
  'customer_email',
  'customer_status',
  'payment_account',
  'ip',
  'user_agent',
  'accept_language',
];

/** Anything else, until it has a mapping of its own: our own names. */
export const anything: MappingInput = {
  fields: {
    ...Object.fromEntries(OUR_NAMES.map((name) => [name, name])),
    amount: 'amount',
    currency: 'currency',
    occurred_at: 'occurred_at',
  },
  rules: [{ does: { from: ['status', 'event', 'type'], default: 'order' } }],
};
