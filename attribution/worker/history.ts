import { HOUR_MS, MINUTE_MS } from '../../core/time.ts';
import {
  readAffiliateDays,
  readCampaignOrders,
  readClickToOrder,
  readCouponDays,
  readSharedCustomers,
} from '../../ledger/conversions/order-history.ts';
import { type FraudRuleName, thresholdOf } from '../../ledger/programs/fraud-rules.ts';
import { hourOf, TRAFFIC_HOURS } from '../../warehouse/lookups/campaign-traffic.ts';
import { ownClick, type Won } from '../decide/choose.ts';
import type { OrderHistory } from '../decide/compare-history.ts';
import { askEach } from './ask-each.ts';
import type { FactSources } from './click-facts.ts';

/**
 * What an affiliate's orders and clicks were like before the order that is decided. Orders count once they are a quarter of
 * an hour old: they are decided by then, unless their click is missing. So what is found of an order does not depend on
 * the batches that orders fall into, and no order waits for another one.
 */

/** The steps in which time is cut: orders of one step share their questions. */
const STEP_MS = 15 * MINUTE_MS;

/** Orders received before this count in what the order is compared with: 15 to 30 minutes before its own receipt. */
export function settledBefore(receivedAt: Date): Date {
  return new Date(Math.floor(receivedAt.getTime() / STEP_MS) * STEP_MS - STEP_MS);
}

/** Reads the histories of a batch, by conversion id: six queries at the most. */
export async function gatherHistories(
  { sql, clicks }: Pick<FactSources, 'sql' | 'clicks'>,
  won: readonly Won[],
): Promise<Map<bigint, OrderHistory>> {
  const questions = won.map((one) => ({ one, ...questionsOf(one) }));
  const [affiliateDays, couponDays, times, traffic, orders, shared] = await Promise.all([
    askShared(
      questions,
      (one) => one.days,
      (asked) => readAffiliateDays(sql, asked),
    ),
    askShared(
      questions,
      (one) => one.coupon,
      (asked) => readCouponDays(sql, asked),
    ),
    askShared(
      questions,
      (one) => one.times,
      (asked) => readClickToOrder(sql, asked),
    ),
    askShared(
      questions,
      (one) => one.traffic,
      (asked) => clicks.traffic(asked),
    ),
    askShared(
      questions,
      (one) => one.campaign,
      (asked) => readCampaignOrders(sql, asked),
    ),
    askShared(
      questions,
      (one) => one.shared,
      (asked) => readSharedCustomers(sql, asked),
    ),
  ]);
  return new Map(
    questions.map((one): [bigint, OrderHistory] => [
      one.one.conversion.id,
      {
        affiliateDays: affiliateDays.get(one),
        couponDays: couponDays.get(one),
        clickToOrder: times.get(one),
        traffic: traffic.get(one),
        campaignOrders: orders.get(one),
        sharedCustomer: shared.get(one),
      },
    ]),
  );
}

function isOn({ conversion }: Won, ...rules: FraudRuleName[]): boolean {
  return rules.some((rule) => thresholdOf(conversion.fraudRules, rule) !== false);
}

/** A later order of a subscription was compared with its first one; an import is of the past. */
function isCompared({ conversion, winner }: Won): boolean {
  return winner.source !== 'recurring' && winner.source !== 'manual' && conversion.source !== 'import';
}

function questionsOf(one: Won) {
  const { conversion, winner } = one;
  if (!isCompared(one)) return {};
  const { programId, customerId } = conversion;
  const { affiliateId, campaignId } = winner.click;
  const until = settledBefore(conversion.receivedAt);
  const click = ownClick(winner);
  const history = { affiliateId, until };
  // An older click says less of today, and would make one question read many days.
  const isRecent =
    click !== undefined && click.ts >= conversion.receivedAt.getTime() - TRAFFIC_HOURS * HOUR_MS;
  const hour = hourOf(click?.ts ?? 0);
  const clicks = { from: new Date(hour - TRAFFIC_HOURS * HOUR_MS), to: new Date(hour) };
  const traffic = isRecent && isOn(one, 'forced_clicks_share', 'conversion_rate');
  const isByCode = winner.source === 'coupon' && conversion.clickId === null;
  return {
    days: isOn(one, 'anomaly') ? history : undefined,
    coupon: isByCode && isOn(one, 'leaked_coupon') ? { couponId: winner.couponId, until } : undefined,
    shared:
      customerId !== null && isOn(one, 'shared_payout_account')
        ? { ...history, programId, customerId }
        : undefined,
    times: click && isOn(one, 'regular_click_to_order') ? history : undefined,
    traffic: traffic ? { ts: hour, campaignId, affiliateId } : undefined,
    campaign: isRecent && isOn(one, 'conversion_rate') ? { ...history, campaignId, ...clicks } : undefined,
  };
}

/** As {@link askEach}; a question that several items have is asked once. */
async function askShared<Item extends object, Question extends object, Answer>(
  items: readonly Item[],
  questionOf: (item: Item) => Question | undefined,
  ask: (questions: readonly Question[]) => Promise<readonly Answer[]>,
): Promise<Map<Item, Answer>> {
  const shared = new Map<string, { question: Question; items: Item[] }>();
  for (const item of items) {
    const question = questionOf(item);
    if (question === undefined) continue;
    const key = JSON.stringify(question);
    const known = shared.get(key);
    if (known) known.items.push(item);
    else shared.set(key, { question, items: [item] });
  }
  const answers = await askEach([...shared.values()], ({ question }) => question, ask);
  return new Map(
    [...answers].flatMap(([{ items }, answer]) => items.map((item): [Item, Answer] => [item, answer])),
  );
}
