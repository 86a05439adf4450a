import { z } from 'zod';
import type { Role } from '../../ledger/access/api-keys.ts';
import {
  CONVERSION_REASONS,
  CONVERSION_STATES,
  CONVERSION_STATUSES,
  type Conversion,
  type ConversionReason,
} from '../../ledger/conversions/conversions.ts';
import { CONVERSION_SOURCES, CUSTOMER_STATUSES } from '../../ledger/conversions/reported-conversion.ts';
import { COMMISSION_BASES } from '../../ledger/programs/programs.ts';
import { CUSTOMER_KINDS } from '../../ledger/programs/special-rates.ts';
import type { Principal } from '../http/principal.ts';
import { formatId, formatOptionalId, idText } from '../schemas/ids.ts';
import { formatMoney, formatOptionalTime, formatTime, moneyText, timeText } from '../schemas/schemas.ts';
import { formatItem, itemView } from './order-items.ts';

/** A conversion in an answer, by the role of the caller. */

const SAFE_REASONS = ['unusual_traffic', 'needs_review'] as const;
type SafeReason = ConversionReason | (typeof SAFE_REASONS)[number];

/** The reason without the evidence: enough to understand, not enough to tune fraud against a rule. */
const SAFE_REASON_OF: Readonly<Record<ConversionReason, SafeReason>> = {
  self_referral: 'self_referral',
  high_conversion_rate_from_ip: 'unusual_traffic',
  instant_conversion: 'unusual_traffic',
  bot_click: 'unusual_traffic',
  forced_click: 'unusual_traffic',
  click_velocity_ip: 'unusual_traffic',
  click_velocity_subnet: 'unusual_traffic',
  click_velocity_fingerprint: 'unusual_traffic',
  geo_mismatch: 'unusual_traffic',
  data_centre: 'unusual_traffic',
  repeat_orders: 'unusual_traffic',
  fast_conversions: 'unusual_traffic',
  coupon_without_click: 'unusual_traffic',
  repeat_payment_account: 'unusual_traffic',
  shared_payout_account: 'unusual_traffic',
  leaked_coupon: 'unusual_traffic',
  forced_clicks_share: 'unusual_traffic',
  regular_click_to_order: 'unusual_traffic',
  conversion_rate: 'unusual_traffic',
  anomaly: 'unusual_traffic',
  fingerprint_match: 'needs_review',
  first_order_in_review: 'first_order_in_review',
  several_affiliates: 'no_click',
  blocked_click: 'blocked_click',
  invalid_click: 'unusual_traffic',
  no_click: 'no_click',
  invalid_click_id: 'invalid_click_id',
  click_not_found: 'click_not_found',
  click_of_other_program: 'click_not_found',
  click_after_order: 'click_after_order',
  outside_window: 'outside_window',
  unknown_coupon: 'unknown_coupon',
  coupon_not_valid: 'coupon_not_valid',
  subscription_ended: 'subscription_ended',
  affiliate_not_active: 'affiliate_not_active',
  no_terms: 'no_terms',
  customer_not_eligible: 'customer_not_eligible',
  rejected_by_reviewer: 'rejected_by_reviewer',
};

const subField = z.string().nullable().optional().meta({
  description:
    'Of the click that won; null without one, and of orders decided before these were kept. For the affiliate, the operator and the fraud team.',
});
const SUB_FIELDS = { sub1: subField, sub2: subField, sub3: subField, sub4: subField, sub5: subField };

export const conversionView = z
  .object({
    id: idText('conversion'),
    program_id: idText('program'),
    order_id: z.string(),
    event_name: z.string().meta({ description: 'What the order is of: an event of the program.' }),
    amount: moneyText,
    exchange: z
      .object({ amount: moneyText, rate_ids: z.array(idText('rate')) })
      .nullable()
      .meta({ description: 'What the shop reported, where that was another currency, and the rates used.' }),
    refunded: moneyText.meta({
      description: 'What was taken off the order in all; all of it while it is cancelled.',
    }),
    awaits_shop: z.boolean().meta({ description: 'Reported as pending, and not approved by the shop yet.' }),
    cancelled_at: timeText.nullable(),
    items: z.array(itemView).nullable().meta({ description: 'Null: the shop has reported none.' }),
    commission_base: z
      .enum(COMMISSION_BASES)
      .nullable()
      .meta({ description: 'What of the items earned when it was decided.' }),
    customer_kind: z
      .enum(CUSTOMER_KINDS)
      .nullable()
      .meta({ description: 'By whose rates it was decided; null: not known, or not decided.' }),
    status: z.enum(CONVERSION_STATUSES),
    state: z.enum(CONVERSION_STATES),
    reason: z.enum([...CONVERSION_REASONS, ...SAFE_REASONS]).nullable(),
    source: z.enum(CONVERSION_SOURCES),
    occurred_at: timeText,
    received_at: timeText,
    decided_at: timeText.nullable(),
    click_id: z.string().nullable(),
    ...SUB_FIELDS,
    coupon_id: idText('coupon').nullable().meta({ description: 'The coupon that credits it.' }),
    campaign_id: idText('campaign').nullable(),
    affiliate_id: idText('affiliate').nullable(),
    link_id: idText('link').nullable(),
    coupons: z.array(z.string()).optional().meta({
      description: 'Codes as the shop reported them; not for affiliates, as they may be of others.',
    }),
    customer_id: z.string().nullable().optional(),
    customer_status: z
      .enum(CUSTOMER_STATUSES)
      .nullable()
      .optional()
      .meta({ description: 'As the shop reported it.' }),
    customer_email_hash: z.string().nullable().optional(),
    ip: z.string().nullable().optional(),
    user_agent: z.string().nullable().optional(),
    terms_id: idText('terms').nullable().optional(),
    evidence: z.unknown().optional().meta({ description: 'The facts of the decision.' }),
  })
  .meta({
    id: 'Conversion',
    description:
      'The customer, the evidence and the exact reason are for the operator and the fraud team only.',
  });

/** Who may see an affiliate's own labels. */
const SEE_SUB_IDS: ReadonlySet<Role> = new Set<Role>(['operator', 'fraud', 'affiliate']);

/** Who may see the customer and the facts of a decision. */
export const SEE_EVIDENCE: ReadonlySet<Role> = new Set<Role>(['operator', 'fraud']);

export function formatConversion(
  conversion: Conversion,
  principal: Pick<Principal, 'role'>,
): z.output<typeof conversionView> {
  const { currency } = conversion;
  return {
    id: formatId('conversion', conversion.id),
    program_id: formatId('program', conversion.programId),
    order_id: conversion.orderId,
    event_name: conversion.eventName,
    amount: formatMoney(conversion.amountMinor, currency),
    exchange: formatExchange(conversion),
    refunded: formatMoney(conversion.refundedMinor, currency),
    awaits_shop: conversion.awaitsShop,
    cancelled_at: formatOptionalTime(conversion.cancelledAt),
    items: conversion.items?.map((item) => formatItem(item, conversion)) ?? null,
    commission_base: conversion.commissionBase,
    customer_kind: conversion.customerKind,
    status: conversion.status,
    state: conversion.state,
    reason: reasonFor(principal, conversion.reason),
    source: conversion.source,
    occurred_at: formatTime(conversion.occurredAt),
    received_at: formatTime(conversion.receivedAt),
    decided_at: formatOptionalTime(conversion.decidedAt),
    click_id: conversion.clickId,
    ...(SEE_SUB_IDS.has(principal.role) && subIdsOf(conversion)),
    coupon_id: formatOptionalId('coupon', conversion.couponId),
    campaign_id: formatOptionalId('campaign', conversion.campaignId),
    affiliate_id: formatOptionalId('affiliate', conversion.affiliateId),
    link_id: formatOptionalId('link', conversion.linkId),
    ...(principal.role !== 'affiliate' && { coupons: [...conversion.coupons] }),
    ...(SEE_EVIDENCE.has(principal.role) && {
      customer_id: conversion.customerId,
      customer_status: conversion.customerStatus,
      customer_email_hash: conversion.customerEmailHash,
      ip: conversion.ip,
      user_agent: conversion.userAgent,
      terms_id: formatOptionalId('terms', conversion.termsId),
      evidence: conversion.evidence,
    }),
  };
}

/** The exact reason for those who see the evidence that it is drawn from, a safe one for all others. */
export function reasonFor(
  { role }: Pick<Principal, 'role'>,
  reason: ConversionReason | null,
): SafeReason | null {
  return reason === null || SEE_EVIDENCE.has(role) ? reason : SAFE_REASON_OF[reason];
}

/** sub1 to sub5 of the winning click; null where it is not known. */
export function subIdsOf({
  clickSubs,
}: Pick<Conversion, 'clickSubs'>): Record<keyof typeof SUB_FIELDS, string | null> {
  const [sub1 = null, sub2 = null, sub3 = null, sub4 = null, sub5 = null] = clickSubs ?? [];
  return { sub1, sub2, sub3, sub4, sub5 };
}

function formatExchange(conversion: Conversion): z.output<typeof conversionView>['exchange'] {
  const { orderAmountMinor, orderCurrency, rateId, crossRateId } = conversion;
  if (orderAmountMinor === null || orderCurrency === null) return null;
  const rateIds = [rateId, crossRateId].filter((id) => id !== null);
  return {
    amount: formatMoney(orderAmountMinor, orderCurrency),
    rate_ids: rateIds.map((id) => formatId('rate', id)),
  };
}
