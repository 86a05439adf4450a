import { z } from 'zod';
import { ClickFlag } from '../../../core/clicks/click-record.ts';
import { UNKNOWN_IP } from '../../../core/ip.ts';
import { COMMISSION_STATES } from '../../../ledger/books/commissions.ts';
import {
  CONVERSION_REASONS,
  CONVERSION_STATES,
  CONVERSION_STATUSES,
  type Conversion,
} from '../../../ledger/conversions/conversions.ts';
import type { ClickKeys, ExploredClick } from '../../../warehouse/lookups/explorer.ts';
import { isNetworkOnly, networkAround } from '../../../warehouse/lookups/subjects.ts';
import type { ApiContext } from '../../http/context.ts';
import { formatId, formatOptionalId, idText } from '../../schemas/ids.ts';
import { formatMoney, formatTime, moneyText, timeText } from '../../schemas/schemas.ts';
import { customerValues, explorerKey } from './subject.ts';

/** Answers of the explorer. Fields that are named as a key hold a value of it: there one goes on. */

export const completeTo = timeText.nullable().meta({ description: 'Every click before this is counted.' });
export const ordersCompleteTo = timeText.meta({
  description: 'Every order as it was before this is counted.',
});

const FLAGS = Object.keys(ClickFlag) as (keyof typeof ClickFlag)[];

export const clickView = z
  .object({
    click_id: z.string(),
    at: timeText,
    program_id: idText('program'),
    campaign_id: idText('campaign'),
    affiliate: idText('affiliate'),
    link: idText('link'),
    flags: z
      .array(z.string())
      .meta({ description: 'What was seen of it, such as bot, repeat or forced; none: nothing.' }),
    ip: z.string().nullable().meta({
      description:
        'Null: erased, or not known, or shortened (of a visitor who opted out, or by the program), whose network is there.',
    }),
    subnet: z.string().nullable(),
    asn: z.string().nullable(),
    organisation: z.string().meta({ description: 'Who runs the autonomous system.' }),
    country: z.string(),
    fingerprint: z.string().nullable().meta({ description: 'Null: of a visitor who opted out.' }),
    user_agent: z.string(),
    referrer: z.string(),
  })
  .meta({ id: 'ExploredClick' });

/** By what an address leads on: one that is shortened by its network, one that is not known not at all. */
export function addressKeys(ip: string | null): { ip: string | null; subnet: string | null } {
  if (ip === null || ip === UNKNOWN_IP) return { ip: null, subnet: null };
  return { ip: isNetworkOnly(ip) ? null : ip, subnet: networkAround(ip).text };
}

/** The keys of a click, and who runs its autonomous system. */
export function formatClickKeys(click: ClickKeys) {
  return {
    affiliate: formatId('affiliate', click.affiliateId),
    link: formatId('link', click.linkId),
    ...addressKeys(click.ip),
    asn: click.asn === 0 ? null : `AS${click.asn}`,
    organisation: click.organisation,
    fingerprint: click.fingerprint === '0' ? null : click.fingerprint,
  };
}

export function formatClick(
  { clickIds }: Pick<ApiContext, 'clickIds'>,
  click: ExploredClick,
): z.output<typeof clickView> {
  return {
    click_id: clickIds.encode(click),
    at: formatTime(new Date(click.ts)),
    program_id: formatId('program', click.programId),
    campaign_id: formatId('campaign', click.campaignId),
    ...formatClickKeys(click),
    flags: FLAGS.filter((flag) => (click.flags & ClickFlag[flag]) !== 0).map(snakeCase),
    country: click.country,
    user_agent: click.userAgent,
    referrer: click.referrer,
  };
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export const orderView = z
  .object({
    conversion_id: idText('conversion'),
    order_id: z.string(),
    program_id: idText('program'),
    at: timeText,
    status: z.enum(CONVERSION_STATUSES),
    state: z.enum(CONVERSION_STATES),
    reason: z.enum(CONVERSION_REASONS).nullable(),
    amount: moneyText,
    campaign_id: idText('campaign').nullable(),
    affiliate: idText('affiliate').nullable(),
    link: idText('link').nullable(),
    ip: z.string().nullable().meta({
      description: 'Of the click that won it, else of the order; null: not known, or shortened.',
    }),
    subnet: z.string().nullable(),
    fingerprint: z.string().nullable().meta({
      description: 'As the shop reported it; the fingerprint of a click is in the list of clicks.',
    }),
    customers: z.array(z.string()).meta({
      description: 'Values of `customer`: the id at the shop, and the hash of the e-mail address.',
    }),
  })
  .meta({ id: 'ExploredOrder' });

export function formatOrder(order: Conversion): z.output<typeof orderView> {
  const { fingerprint } = order;
  return {
    conversion_id: formatId('conversion', order.id),
    order_id: order.orderId,
    program_id: formatId('program', order.programId),
    at: formatTime(order.occurredAt),
    status: order.status,
    state: order.state,
    reason: order.reason,
    amount: formatMoney(order.amountMinor, order.currency),
    campaign_id: formatOptionalId('campaign', order.campaignId),
    affiliate: formatOptionalId('affiliate', order.affiliateId),
    link: formatOptionalId('link', order.linkId),
    ...addressKeys(order.clickIp ?? order.ip),
    fingerprint: fingerprint === null || fingerprint === 0n ? null : String(fingerprint),
    customers: customerValues(order),
  };
}

/** Where a related key was seen. */
export const SEEN_IN = ['clicks', 'orders', 'own_sessions', 'payout_account'] as const;

export const relatedView = z
  .object({
    key: explorerKey,
    value: z.string(),
    name: z.string().nullable(),
    seen_in: z.enum(SEEN_IN).meta({
      description:
        'clicks: of the newest clicks; orders: of the orders; own_sessions: where an affiliate itself used the platform; payout_account: affiliates that are paid to the same account.',
    }),
    count: z
      .int()
      .nullable()
      .meta({ description: 'Clicks or orders it has of those, or affiliates of the account.' }),
  })
  .meta({ id: 'RelatedKey' });
export type RelatedView = z.output<typeof relatedView>;

export const explorationView = z
  .object({
    key: explorerKey,
    value: z.string(),
    name: z.string().nullable(),
    from: timeText.meta({
      description: 'Everything is of the time since then: addresses are kept for 90 days.',
    }),
    days: z.int(),
    complete_to: completeTo,
    orders_complete_to: ordersCompleteTo,
    account: z.object({ affiliates: z.int(), is_partial: z.boolean() }).nullable().meta({
      description:
        'Of an account: so many affiliates that are paid to it are counted; is_partial: more are paid to it. Null for other keys.',
    }),
    clicks: z.object({
      days: z.int().meta({
        description:
          'Clicks of so many last days are counted: of an autonomous system 1, since most of its clicks are old; else all.',
      }),
      total: z.int().meta({ description: 'Without loads of the impression pixel.' }),
      by_flag_group: z.record(z.string(), z.int()),
      first_seen: timeText.nullable().meta({ description: 'Of an affiliate or a link its hour.' }),
      last_seen: timeText.nullable(),
    }),
    sampled_clicks: z.int().meta({ description: 'So many of the newest clicks make the related keys.' }),
    orders: z.object({
      total: z.int(),
      is_partial: z.boolean().meta({ description: 'There are more: these are the newest.' }),
      by_state: z.array(
        z.object({
          state: z.enum(CONVERSION_STATES),
          orders: z.int(),
          amount: moneyText,
          refunded: moneyText,
        }),
      ),
      commissions: z.array(
        z.object({ state: z.enum(COMMISSION_STATES), commissions: z.int(), amount: moneyText }),
      ),
    }),
    related: z.array(relatedView),
  })
  .meta({ id: 'Exploration' });
