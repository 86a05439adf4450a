import type { MappingInput } from '../mapping.ts';

const TOPIC = '$header.x-wc-webhook-topic';
const CLICK_KEYS = 'meta_data[key=click_id|_click_id|afflux_click_id|_afflux_click_id|aff_click].value';

/**
 * Of an order that WooCommerce Subscriptions made: it copies what the first order had, its click too, which won that one alone.
 * A renewal is found by its customer.
 */
const RENEWAL = 'meta_data[key=_subscription_renewal].value';

type Rule = MappingInput['rules'][number];
const ofOrders = (rules: readonly Rule[]): Rule[] =>
  rules.flatMap((rule) => [
    { ...rule, when: { ...rule.when, [RENEWAL]: true }, fields: { click_id: null } },
    { ...rule, when: { ...rule.when, [RENEWAL]: false } },
  ]);

/**
 * Webhooks of WooCommerce in JSON: `order.created` and `order.updated`, each with the order as it stands when it is delivered
 * (woocommerce.github.io/woocommerce-rest-api-docs: "Webhooks", "Order properties"). Amounts are decimal text, times are in
 * UTC without a zone, a guest's `customer_id` is 0, refunds are a list with amounts below zero. The click id is in the order's
 * `meta_data`, or in the landing page that WooCommerce's own order attribution keeps. Its ping, a form with `webhook_id`, is
 * ignored.
 */
export const woocommerce: MappingInput = {
  fields: {
    order_id: 'id',
    amount: 'total',
    currency: 'currency',
    occurred_at: { from: 'date_created_gmt', zone: 'UTC' },
    click_id: [CLICK_KEYS, 'meta_data[key=_wc_order_attribution_session_entry].value?click_id'],
    coupon: 'coupon_lines[*].code',
    customer_id: { from: 'customer_id', words: { '0': '' } },
    customer_email: 'billing.email',
    ip: 'customer_ip_address',
    user_agent: 'customer_user_agent',
  },
  items: [
    {
      each: 'line_items[*]',
      fields: {
        sku: ['sku', 'product_id'],
        quantity: 'quantity',
        amount: { sum: ['total', 'total_tax'] },
        discount: { sum: ['subtotal', { from: 'total', negative: true }] },
        tax: 'total_tax',
      },
    },
    {
      each: 'shipping_lines[*]',
      fields: {
        sku: { value: 'shipping' },
        amount: { sum: ['total', 'total_tax'] },
        shipping: 'total',
        tax: 'total_tax',
      },
    },
    {
      each: 'fee_lines[*]',
      fields: { sku: { value: 'fee' }, amount: { sum: ['total', 'total_tax'] }, tax: 'total_tax' },
    },
  ],
  rules: [
    { when: { webhook_id: true, id: false }, does: 'ignored', reason: 'it is the ping of a new webhook' },
    {
      when: { [TOPIC]: ['order.deleted', 'order.restored'] },
      does: 'ignored',
      reason: 'to remove an old order from the shop takes back nothing: cancel or refund it',
    },
    {
      when: { status: ['pending', 'checkout-draft', 'auto-draft', 'draft', 'trash'] },
      does: 'ignored',
      reason: 'the order is not paid yet, or in the trash',
    },
    ...ofOrders([
      { when: { status: ['processing', 'completed', 'refunded'] }, does: 'approved', snapshot: 'all' },
      { when: { status: 'on-hold' }, does: 'pending', snapshot: 'all' },
      { when: { status: 'cancelled' }, does: 'cancelled' },
      { when: { status: 'failed' }, does: 'rejected' },
    ]),
    {
      when: { 'refunds[*].id': true },
      does: 'refunded',
      each: 'refunds[*]',
      fields: {
        order_id: '$body.id',
        refund_ref: 'id',
        amount: { from: 'total', absolute: true },
        currency: '$body.currency',
        occurred_at: null,
      },
    },
    { when: { status: 'refunded', 'refunds[*].id': false }, does: 'refunded', fields: { amount: null } },
    {
      when: { '$header.x-wc-webhook-resource': ['product', 'customer', 'coupon'] },
      does: 'ignored',
      reason: 'its topic says nothing of an order',
    },
  ],
};
