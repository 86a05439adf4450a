import type { MappingInput } from '../mapping.ts';

const TOPIC = '$header.x-shopify-topic';
/** Line items have their taxes beside their price, or in it. */
const TAX_BESIDE = { '$body.taxes_included': 'false' };
const TAX_WITHIN = { '$body.taxes_included': 'true' };

const moneyIn = (currency: 'shop_money' | 'presentment_money', sets: readonly string[]) =>
  sets.map((set) => `${set}.${currency}.amount`);
const LINES = [
  'refund_line_items[*].subtotal_set',
  'refund_line_items[*].total_tax_set',
  'refund_shipping_lines[*].subtotal_amount_set',
];
const ADJUSTMENTS = ['order_adjustments[*].amount_set'];
const SHOP_CURRENCY = ['total_duties_set', ...LINES, ...ADJUSTMENTS].map(
  (set) => `${set}.shop_money.currency_code`,
);
const sameMoney = (sets: readonly string[]) => ({
  of: moneyIn('shop_money', sets),
  per: moneyIn('presentment_money', sets),
});

/**
 * Webhooks of Shopify in JSON: `orders/paid`, `orders/cancelled` and `refunds/create`, with their topic in a header
 * (shopify.dev/docs/api/webhooks; the members of an order and a refund: shopify.dev/docs/api/admin-rest/latest/resources/order
 * and …/refund). Amounts are decimal text in the currency of the shop; an order is named by its `id`, because refunds name it
 * so. Transactions of a refund are in the currency that the customer paid in, what was refunded in both: the refund is what
 * that part of the transactions' money is in the shop's (the sets `shop_money` and `presentment_money` of the same pages;
 * `in_shop_currency` of the resource Transaction). Test notifications of the admin and orders of the test gateway are ignored.
 */
export const shopify: MappingInput = {
  fields: {
    order_id: 'id',
    amount: 'total_price',
    currency: 'currency',
    occurred_at: 'created_at',
    click_id: [
      'note_attributes[name=click_id|afflux_click_id|aff_click].value',
      'landing_site?click_id',
      'landing_site?aff_click',
    ],
    coupon: 'discount_codes[*].code',
    customer_id: 'customer.id',
    customer_email: ['email', 'contact_email', 'customer.email'],
    ip: ['client_details.browser_ip', 'browser_ip'],
    user_agent: 'client_details.user_agent',
    accept_language: 'client_details.accept_language',
  },
  items: [
    {
      each: 'line_items[*]',
      fields: {
        sku: 'sku',
        brand: 'vendor',
        quantity: 'quantity',
        amount: {
          sum: [
            { from: 'price', times: 'quantity' },
            { from: 'discount_allocations[*].amount', negative: true },
            { from: 'tax_lines[*].price', when: TAX_BESIDE },
          ],
        },
        discount: { sum: ['discount_allocations[*].amount'] },
        tax: { sum: ['tax_lines[*].price'] },
        gift_card: 'gift_card',
      },
    },
    {
      each: 'shipping_lines[*]',
      fields: {
        sku: { value: 'shipping' },
        amount: {
          sum: [{ from: ['discounted_price', 'price'] }, { from: 'tax_lines[*].price', when: TAX_BESIDE }],
        },
        shipping: {
          sum: [
            { from: ['discounted_price', 'price'] },
            { from: 'tax_lines[*].price', negative: true, when: TAX_WITHIN },
          ],
        },
        tax: { sum: ['tax_lines[*].price'] },
      },
    },
  ],
  rules: [
    { when: { '$header.x-shopify-test': 'true' }, does: 'ignored', reason: 'it is a test notification' },
    { when: { test: 'true' }, does: 'ignored', reason: 'it is an order of the test gateway' },
    { when: { [TOPIC]: 'orders/paid', cancelled_at: false }, does: 'approved' },
    { when: { [TOPIC]: ['orders/paid', 'orders/cancelled'], cancelled_at: true }, does: 'cancelled' },
    { when: { [TOPIC]: 'orders/cancelled', cancelled_at: false }, does: 'cancelled' },
    {
      when: { [TOPIC]: 'refunds/create', 'transactions[kind=refund][status=success|pending].amount': true },
      does: 'refunded',
      fields: {
        order_id: 'order_id',
        refund_ref: 'id',
        amount: {
          sum: ['transactions[kind=refund][status=success|pending].amount'],
          exchange: {
            from: 'transactions[kind=refund].currency',
            to: SHOP_CURRENCY,
            by: [sameMoney(LINES), sameMoney(ADJUSTMENTS)],
          },
        },
        currency: [...SHOP_CURRENCY, 'transactions[kind=refund].currency'],
        occurred_at: null,
      },
    },
    { when: { [TOPIC]: 'refunds/create' }, does: 'ignored', reason: 'no money was given back' },
    { when: { [TOPIC]: true }, does: 'ignored', reason: 'its topic says nothing of an order that counts' },
  ],
};
