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
  readonly currency?: string | readonly string[];
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
      currency: pathsOf(currency),
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

/**
 * help.redtrack.io/knowledgebase/kb/conversion-tracking/tracking-event-types: `type` names the conversion type, `rdtk_event_id`
 * is the id by which repetitions are known; …/supported-dynamic-parameters/click-id-parameter: `clickid`. (`ref_id` there is
 * the click of a publisher, and no order.) `sum` is in the postbacks of its users. Of `currency`, `coupon` and the words of
 * `status` no page was found; `order_id` is a name of ours.
 */
export const redtrack = postback({
  click: 'clickid',
  amount: 'sum',
  order: ['rdtk_event_id', 'order_id'],
  status: { from: ['status'], words: { other: 'pending' } },
  more: {
    event_name: { from: ['type'], words: { conversion: 'sale', purchase: 'sale', default: 'sale' } },
    coupon: 'coupon',
  },
});

/**
 * helpdesk.everflow.io/customer/accessing-editing-s2s-postback-urls: our click id is their `transaction_id`, `amount` the sale;
 * developers.everflow.io/sdk/conversion-tracking has the other names. Events have numbers there (`event_id`), which name none
 * of ours. Of `currency` no page was found.
 */
export const everflow = postback({
  click: 'transaction_id',
  amount: 'amount',
  order: ['order_id', 'adv1'],
  more: { coupon: 'coupon_code', customer_email: 'email', customer_id: 'user_id' },
});

/**
 * support.tune.com/hc/en-us/articles/4413247665431-Receiving-Conversions-via-Postback-URL: /aff_lsr with our click id as
 * `transaction_id`; …/1500005137081-Basics-of-Parameters-and-Macros: `amount`; …/1500008231142-Advertiser-Sub-Ids: order numbers
 * in `adv_sub` or `adv_unique1`; …/1500008230662-Promo-Codes: `promo_code`. Goals have numbers there, which name none of our
 * events. Of `currency` and `status` no page was found.
 */
export const tune = postback({
  click: 'transaction_id',
  amount: 'amount',
  order: ['adv_sub', 'adv_unique1'],
  more: { coupon: 'promo_code' },
});

/**
 * support.getcake.com/support/solutions/articles/5000546124-conversion-pixel-variables: `r` the request id, `t` the transaction,
 * `p` the revenue; …/5000545822-ecommerce-commerce-pixel: `ecc` and `ecv` the coupons and vouchers with ^ between them, `eccu`
 * the currency, `ect` the order's total, in which taxes and shipping are; …/13000118786-setting-up-postback-urls-and-pixel-tracking-in-cake:
 * `click_id` and `amount` of newer accounts. Their `transaction_id` and `currency` were found on no page.
 */
export const cake = postback({
  click: ['r', 'click_id'],
  amount: ['p', 'amount', 'ect'],
  order: ['t', 'transaction_id'],
  currency: ['eccu', 'currency'],
  more: { coupon: { from: ['ecc', 'ecv'], split: '^' } },
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
