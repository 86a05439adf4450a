import type { z } from 'zod';
import { DAY_MS } from '../../../core/time.ts';
import {
  countSharedAccounts,
  findAccountHolders,
  type OrderFacts,
  readLinkCodes,
  readOrderFacts,
  readOwnSessions,
} from '../../../ledger/audit/explored-orders.ts';
import { mirroredTo } from '../../../ledger/postgres/outbox.ts';
import { namesById } from '../../../ledger/programs/names.ts';
import {
  type ClickKeys,
  type ClickTotals,
  clickTotals,
  orderIds,
  SAMPLED_CLICKS,
  SUMMED_ORDERS,
  sampleClicks,
} from '../../../warehouse/lookups/explorer.ts';
import { EXPLORED_DAYS } from '../../../warehouse/lookups/subjects.ts';
import type { ApiContext } from '../../http/context.ts';
import { formatId, parseId } from '../../schemas/ids.ts';
import { formatMoney, formatOptionalTime, formatTime } from '../../schemas/schemas.ts';
import { customerValues, type Explored, type ExplorerKey } from './subject.ts';
import { addressKeys, type explorationView, formatClickKeys, type RelatedView } from './views.ts';

/** The first page of the explorer: what a key is, its figures, and what goes with it. */

/** Of each kind of related key, those with the most clicks or orders. */
const MAX_RELATED = 20;
/** Keys of a click that lead on. */
const CLICK_KEYS = ['ip', 'subnet', 'asn', 'fingerprint', 'affiliate', 'link'] as const;

export async function explore(
  context: ApiContext,
  { explored, now }: { explored: Explored; now: Date },
): Promise<z.output<typeof explorationView>> {
  const { ledger, warehouse } = context;
  const { selection } = explored;
  const from = new Date(now.getTime() - EXPLORED_DAYS * DAY_MS);
  const ordersTo = await mirroredTo(ledger);
  const [totals, clicks, ids] = await Promise.all([
    clickTotals(warehouse, { selection, now }),
    sampleClicks(warehouse, { selection, now, limit: SAMPLED_CLICKS }),
    orderIds(warehouse, { selection, now, limit: SUMMED_ORDERS + 1 }),
  ]);
  const summed = ids.slice(0, SUMMED_ORDERS);
  const facts = await readOrderFacts(ledger, summed);
  const ofClicks = relatedOfClicks(clicks.map(formatClickKeys));
  const ofOrders = relatedOfOrders(facts);
  const affiliates = affiliatesIn([...ofClicks, ...ofOrders]);
  const ofPeople = await relatedOfPeople(ledger, explored, { affiliates, from });
  const others = [...ofClicks, ...ofOrders, ...ofPeople].filter(
    ({ key, value }) => key !== explored.key || value !== explored.value,
  );
  return {
    key: explored.key,
    value: explored.value,
    name: explored.name ?? organisationOf(explored, clicks),
    from: formatTime(from),
    days: EXPLORED_DAYS,
    complete_to: formatOptionalTime(totals.completeTo ?? null),
    orders_complete_to: formatTime(ordersTo),
    account:
      explored.key === 'account'
        ? { affiliates: explored.affiliateIds.length, is_partial: explored.isPartial }
        : null,
    clicks: { ...formatTotals(totals, clicks[0]), days: selection.countedDays },
    sampled_clicks: clicks.length,
    orders: formatOrders(facts, { total: summed.length, isPartial: ids.length > summed.length }),
    related: await withNames(ledger, others),
  };
}

function organisationOf({ key }: Explored, clicks: readonly { organisation: string }[]): string | null {
  return key === 'asn' ? (clicks[0]?.organisation ?? null) : null;
}

function formatTotals({ byFlagGroup, firstSeen }: ClickTotals, newest: ClickKeys | undefined) {
  const total = Object.entries(byFlagGroup).reduce(
    (sum, [group, clicks]) => sum + (group === 'impression' ? 0 : clicks),
    0,
  );
  return {
    total,
    by_flag_group: byFlagGroup,
    first_seen: formatOptionalTime(firstSeen ?? null),
    last_seen: newest ? formatTime(new Date(newest.ts)) : null,
  };
}

function formatOrders(
  { sums, commissions }: OrderFacts,
  { total, isPartial }: { total: number; isPartial: boolean },
): z.output<typeof explorationView>['orders'] {
  return {
    total,
    is_partial: isPartial,
    by_state: sums.map(({ state, currency, orders, amountMinor, refundedMinor }) => ({
      state,
      orders,
      amount: formatMoney(amountMinor, currency),
      refunded: formatMoney(refundedMinor, currency),
    })),
    commissions: commissions.map(({ state, currency, commissions: count, amountMinor }) => ({
      state,
      commissions: count,
      amount: formatMoney(amountMinor, currency),
    })),
  };
}

/** Counts the keys of clicks. */
function relatedOfClicks(clicks: readonly ReturnType<typeof formatClickKeys>[]): RelatedView[] {
  return CLICK_KEYS.flatMap((key) => {
    const counts = new Map<string, number>();
    for (const click of clicks) {
      const value = click[key];
      if (value !== null) counts.set(value, (counts.get(value) ?? 0) + 1);
    }
    const organisations = new Map(clicks.map(({ asn, organisation }) => [asn, organisation]));
    return [...counts]
      .sort(([, a], [, b]) => b - a)
      .slice(0, MAX_RELATED)
      .map(([value, count]) => ({
        key,
        value,
        name: key === 'asn' ? (organisations.get(value) ?? null) : null,
        seen_in: 'clicks' as const,
        count,
      }));
  });
}

function relatedOfOrders({ parties }: OrderFacts): RelatedView[] {
  return parties.flatMap(({ kind, value, orders, newestId: id }): RelatedView[] => {
    const shared = { name: null, seen_in: 'orders' as const, count: orders };
    if (kind === 'affiliate' || kind === 'link') {
      return [{ key: kind, value: formatId(kind, Number(value)), ...shared }];
    }
    const customerId = kind === 'customer' ? value : null;
    const customerEmailHash = kind === 'email' ? value : null;
    const values = customerValues({ id, customerId, customerEmailHash });
    return values.map((one) => ({ key: 'customer', value: one, ...shared }));
  });
}

function affiliatesIn(related: readonly RelatedView[]): number[] {
  const ids = related.flatMap(({ key, value }) =>
    key === 'affiliate' ? [Number(parseId('affiliate', value))] : [],
  );
  return [...new Set(ids)];
}

/** Who is behind it: where its affiliate uses the platform, and who else is paid to the same account. */
async function relatedOfPeople(
  ledger: ApiContext['ledger'],
  explored: Explored,
  { affiliates, from }: { affiliates: readonly number[]; from: Date },
): Promise<RelatedView[]> {
  const { affiliateIds, programId } = explored;
  const [owner] = affiliateIds;
  const everyone = [...new Set([...affiliateIds, ...affiliates])];
  const [sessions, accounts, { holders }] = await Promise.all([
    readOwnSessions(ledger, { affiliateIds, from, limit: MAX_RELATED }),
    countSharedAccounts(ledger, { affiliateIds: everyone, programId }),
    owner === undefined ? { holders: [] } : findAccountHolders(ledger, { affiliateId: owner, programId }),
  ]);
  const seenIn = (key: ExplorerKey, value: string): RelatedView => ({
    key,
    value,
    name: null,
    seen_in: 'own_sessions',
    count: null,
  });
  return [
    ...unique(
      sessions.flatMap(({ ip, fingerprint }) => [
        seenIn(...addressKey(ip)),
        seenIn('fingerprint', String(fingerprint)),
      ]),
    ),
    ...accounts.slice(0, MAX_RELATED).map(
      ({ affiliateId, hint, holders: count }): RelatedView => ({
        key: 'account',
        value: formatId('affiliate', affiliateId),
        name: hint,
        seen_in: 'payout_account',
        count,
      }),
    ),
    ...holders.slice(0, MAX_RELATED).map(
      ({ affiliateId }): RelatedView => ({
        key: 'affiliate',
        value: formatId('affiliate', affiliateId),
        name: null,
        seen_in: 'payout_account',
        count: null,
      }),
    ),
  ];
}

function addressKey(address: string): [ExplorerKey, string] {
  const { ip, subnet } = addressKeys(address);
  return ip === null ? ['subnet', subnet ?? address] : ['ip', ip];
}

function unique(related: readonly RelatedView[]): RelatedView[] {
  return [...new Map(related.map((one) => [`${one.key} ${one.value}`, one])).values()];
}

/** What affiliates and links are called. */
async function withNames(
  ledger: ApiContext['ledger'],
  related: readonly RelatedView[],
): Promise<RelatedView[]> {
  const ids = (kind: 'affiliate' | 'link') =>
    related.flatMap(({ key, value }) => (key === kind ? [Number(parseId(kind, value))] : []));
  const [{ affiliates }, codes] = await Promise.all([
    namesById(ledger, { affiliates: ids('affiliate'), campaigns: [] }),
    readLinkCodes(ledger, ids('link')),
  ]);
  return related.map((one) => {
    if (one.key === 'affiliate')
      return { ...one, name: affiliates.get(Number(parseId('affiliate', one.value))) ?? null };
    return one.key === 'link' ? { ...one, name: codes.get(Number(parseId('link', one.value))) ?? null } : one;
  });
}
