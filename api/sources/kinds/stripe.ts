import type { MappingInput } from '../mapping.ts';

const OBJECT = 'data.object';
const minor = (from: string) => ({ from, units: 'stripe' as const });
const METADATA = ['click_id', 'afflux_click_id', 'aff_click'];
/** In the metadata of a subscription, which its invoices repeat: since 2025-03-31 below `parent`. */
const SUBSCRIPTION_CLICKS = ['parent.subscription_details', 'subscription_details'].map(
  (at) => `${OBJECT}.${at}.metadata.click_id`,
);
const ORDER = [`${OBJECT}.invoice`, `${OBJECT}.payment_intent`, `${OBJECT}.id`];

const invoiceFields = {
  order_id: `${OBJECT}.id`,
  other_ids: [`${OBJECT}.payment_intent`, `${OBJECT}.charge`],
  amount: minor(`${OBJECT}.amount_paid`),
  coupon: [
    `${OBJECT}.discount.promotion_code`,
    `${OBJECT}.discount.coupon.id`,
    `${OBJECT}.discounts[*].promotion_code`,
  ],
  customer_email: `${OBJECT}.customer_email`,
};
const disputeFields = {
  order_id: [`${OBJECT}.payment_intent`, `${OBJECT}.charge`],
  other_ids: null,
  refund_ref: `${OBJECT}.id`,
  amount: minor(`${OBJECT}.amount`),
  occurred_at: null,
};

/**
 * Events of Stripe in JSON (docs.stripe.com/api/events/types; the objects: docs.stripe.com/api/checkout/sessions,
 * /invoices, /charges and /disputes). Amounts are in the smallest unit (docs.stripe.com/currencies), currencies in lower case,
 * times in Unix seconds. An order is named by its invoice, else by its payment intent. Refunds and disputes name the payment
 * intent: which invoice it paid is in the invoice itself in versions before 2025-03-31, and in `invoice_payment.paid` since
 * 2025-05-28 (docs.stripe.com/changelog/basil/2025-03-31/add-support-for-multiple-partial-payments-on-invoices and
 * …/2025-05-28/partial-payments; docs.stripe.com/api/invoice-payment/object).
 * The click id is the `client_reference_id` of the session or `click_id` in its metadata. A refund is known by its charge and
 * what was refunded in all after it; `previous_attributes` tells what of that is new. Events of test mode are ignored.
 */
export const stripe: MappingInput = {
  fields: {
    order_id: ORDER,
    other_ids: ORDER,
    amount: minor(`${OBJECT}.amount_total`),
    currency: `${OBJECT}.currency`,
    occurred_at: `${OBJECT}.created`,
    click_id: [`${OBJECT}.client_reference_id`, ...METADATA.map((name) => `${OBJECT}.metadata.${name}`)],
    coupon: [
      `${OBJECT}.discounts[*].promotion_code`,
      `${OBJECT}.discounts[*].promotion_code.code`,
      `${OBJECT}.discounts[*].coupon`,
      `${OBJECT}.metadata.coupon`,
    ],
    customer_id: `${OBJECT}.customer`,
    customer_email: [`${OBJECT}.customer_details.email`, `${OBJECT}.customer_email`],
  },
  items: [
    {
      when: { [`${OBJECT}.object`]: 'checkout.session' },
      fields: {
        amount: minor(`${OBJECT}.amount_total`),
        discount: minor(`${OBJECT}.total_details.amount_discount`),
        tax: minor(`${OBJECT}.total_details.amount_tax`),
        shipping: minor(`${OBJECT}.total_details.amount_shipping`),
      },
    },
    {
      when: { [`${OBJECT}.object`]: 'invoice' },
      fields: {
        amount: minor(`${OBJECT}.amount_paid`),
        tax: {
          sum: [
            {
              from: [
                `${OBJECT}.total_taxes[*].amount`,
                `${OBJECT}.total_tax_amounts[*].amount`,
                `${OBJECT}.tax`,
              ],
            },
          ],
          units: 'stripe',
        },
        shipping: minor(`${OBJECT}.shipping_cost.amount_subtotal`),
      },
    },
  ],
  rules: [
    { when: { livemode: 'false' }, does: 'ignored', reason: 'it is an event of test mode' },
    {
      when: { type: 'checkout.session.completed', [`${OBJECT}.mode`]: 'setup' },
      does: 'ignored',
      reason: 'nothing was bought',
    },
    {
      when: { type: ['checkout.session.completed', 'checkout.session.async_payment_succeeded'] },
      does: {
        from: `${OBJECT}.payment_status`,
        words: { paid: 'approved', no_payment_required: 'approved', unpaid: 'pending' },
      },
    },
    { when: { type: 'checkout.session.async_payment_failed' }, does: 'rejected' },
    {
      when: {
        type: 'invoice.paid',
        [`${OBJECT}.billing_reason`]: ['subscription_cycle', 'subscription_threshold', 'subscription_update'],
      },
      does: 'approved',
      fields: { ...invoiceFields, click_id: null },
    },
    ...SUBSCRIPTION_CLICKS.map((click): MappingInput['rules'][number] => ({
      when: {
        type: 'invoice.paid',
        [`${OBJECT}.billing_reason`]: 'subscription_create',
        [click]: true,
      },
      does: 'approved',
      fields: { ...invoiceFields, click_id: click },
    })),
    {
      when: { type: 'invoice_payment.paid' },
      does: 'ignored',
      fields: {
        order_id: `${OBJECT}.invoice`,
        other_ids: [
          `${OBJECT}.payment.payment_intent`,
          `${OBJECT}.payment.charge`,
          `${OBJECT}.payment_intent`,
          `${OBJECT}.charge`,
        ],
      },
      reason: 'it says which payment an invoice was paid by; the invoice is reported by itself',
    },
    {
      when: { type: 'invoice.paid', [`${OBJECT}.billing_reason`]: 'subscription_create' },
      does: 'ignored',
      fields: { order_id: invoiceFields.order_id, other_ids: invoiceFields.other_ids },
      reason: 'the first invoice of a subscription is reported by its checkout session',
    },
    { when: { type: 'invoice.paid' }, does: 'ignored', reason: 'the invoice is of no subscription' },
    {
      when: { type: 'charge.refunded' },
      does: 'refunded',
      fields: {
        refund_ref: { join: [`${OBJECT}.id`, `${OBJECT}.amount_refunded`] },
        amount: {
          sum: [
            `${OBJECT}.amount_refunded`,
            { from: 'data.previous_attributes.amount_refunded', negative: true },
          ],
          units: 'stripe',
        },
        occurred_at: null,
      },
    },
    {
      when: {
        type: ['charge.dispute.created', 'charge.dispute.funds_withdrawn', 'charge.dispute.closed'],
        [`${OBJECT}.status`]: ['warning_needs_response', 'warning_under_review', 'warning_closed'],
      },
      does: 'ignored',
      reason: 'the bank asks, and has taken nothing back',
    },
    {
      when: { type: 'charge.dispute.closed', [`${OBJECT}.status`]: ['won', 'prevented'] },
      does: 'restored',
      dispute: true,
      fields: disputeFields,
    },
    {
      when: { type: ['charge.dispute.created', 'charge.dispute.funds_withdrawn'] },
      does: 'charged_back',
      dispute: true,
      fields: disputeFields,
    },
    {
      when: { type: 'charge.dispute.closed', [`${OBJECT}.status`]: 'lost' },
      does: 'charged_back',
      dispute: true,
      fields: disputeFields,
    },
    {
      when: { type: 'charge.dispute.funds_reinstated' },
      does: 'restored',
      dispute: true,
      fields: disputeFields,
    },
    {
      when: {
        type: [
          'customer.subscription.created',
          'customer.subscription.updated',
          'customer.subscription.deleted',
          'customer.subscription.paused',
          'customer.subscription.resumed',
          'customer.subscription.trial_will_end',
        ],
      },
      does: 'ignored',
      reason: 'a subscription earns by its invoices, and ends with the last one',
    },
    { when: { type: true }, does: 'ignored', reason: 'its type says nothing of an order that counts' },
  ],
};
