import { percentOf } from '../../core/money/rates.ts';
import { formatAmount } from '../../core/money.ts';
import { type EarningLine, shareOfLines, uncutCommission } from '../../ledger/books/commission-amounts.ts';
import type { Commission } from '../../ledger/books/commissions.ts';
import type { Conversion } from '../../ledger/conversions/conversions.ts';
import { earningLines } from '../../ledger/decisions/earning-lines.ts';
import { termsFor } from '../../ledger/programs/special-rates.ts';
import type { Terms } from '../../ledger/programs/terms.ts';
import { decidedAmount, type Evidence } from '../decide/evidence.ts';

/** Why an order earns what it does, in sentences. */

const KINDS = {
  new: 'The customer is new',
  returning: 'The customer has bought before',
  renewal: 'The order is a later one of its subscription',
} as const;

/** Who bought, and who said so. */
export function explainCustomer({ customer }: Evidence): string[] {
  if (!customer || customer.kind === null) return [];
  const { kind, by, earlierOrder } = customer;
  if (by === 'subscription') return [`${KINDS[kind]}.`];
  if (by === 'shop') return [`${KINDS[kind]}: the shop has reported it so.`];
  const books =
    earlierOrder === null ? 'the books have no earlier order' : `the books have cnv_${earlierOrder}`;
  return [`${KINDS[kind]}: ${books} of the same customer and event.`];
}

/** By which rates the order earns, line by line, and what is fixed in it or was cut. */
export function explainEarning(
  conversion: Conversion,
  context: { evidence: Evidence; terms: Terms; commissions: readonly Commission[] },
): string[] {
  const { currency, state, customerKind, items, commissionBase } = conversion;
  const { evidence, terms: promised, commissions } = context;
  const outcome = evidence.decided?.outcome ?? state;
  if (outcome === 'rejected' || outcome === 'unattributed') return [];
  const money = (minor: bigint) => `${formatAmount(minor, currency)} ${currency}`;
  const own = commissions.find(({ level }) => level === 1);
  const terms = termsFor(promised, customerKind);
  const earning = {
    lines: earningLines({ ...conversion, amountMinor: decidedAmount(conversion, evidence) }, promised),
    terms,
    volumeBeforeMinor: BigInt(evidence.volumeBeforeMinor ?? own?.volumeBeforeMinor ?? 0n),
  };
  const uncutMinor = uncutCommission(earning);
  const earnedMinor = own?.amountMinor ?? 0n;
  const isSpecial = customerKind !== null && terms !== promised;
  const shares = items ? shareOfLines(earning) : [];
  return [
    ...(isSpecial
      ? [
          `For ${customerKind === 'renewal' ? 'renewals' : `${customerKind} customers`} these terms ${paying(terms, money)}.`,
        ]
      : []),
    ...(items && commissionBase !== null && commissionBase !== 'order_amount'
      ? [`Its items earn ${commissionBase.replaceAll('_', ' ')}.`]
      : []),
    ...earning.lines.flatMap((line, i) =>
      items ? [explainLine(conversion, { line, terms, earned: money(shares[i] ?? 0n) })] : [],
    ),
    ...(terms.fixedMinor > 0n ? [explainFixed(terms, evidence, money)] : []),
    ...(earnedMinor < uncutMinor
      ? [`The commission of level 1 would be ${money(uncutMinor)}, and was cut to ${money(earnedMinor)}.`]
      : []),
  ];
}

function paying({ commissionType, rateBps, fixedMinor }: Terms, money: (minor: bigint) => string): string {
  const parts = [
    ...(commissionType === 'fixed' ? [] : [percent(rateBps)]),
    ...(commissionType === 'percent' ? [] : [money(fixedMinor)]),
  ];
  return `pay ${parts.join(' and ')}`;
}

function explainFixed(
  { fixedWithinOrder, fixedMinor }: Terms,
  { rulesVersion }: Evidence,
  money: (minor: bigint) => string,
): string {
  return fixedWithinOrder || rulesVersion < 5
    ? 'Its fixed commission is cut to the amount of the order, as percentages are.'
    : `Its fixed commission of ${money(fixedMinor)} is earned whatever the amount of the order; only percentages are cut to that.`;
}

function explainLine(
  { items, currency }: Conversion,
  { line, terms, earned }: { line: EarningLine; terms: Terms; earned: string },
): string {
  const { item, baseMinor, rate, earns } = line;
  const base = `${formatAmount(baseMinor, currency)} ${currency}`;
  const own = terms.tiers.length > 0 ? 'the rates of the tiers' : `${percent(terms.rateBps)} of the terms`;
  const given = item === null ? undefined : items?.[item];
  if (!given) return `What the order was raised by, ${base}: ${own}, ${earned} at level 1.`;
  const marks = [given.sku, given.brand, given.category].filter((mark) => mark !== null).join(', ');
  const name = `Item ${(item ?? 0) + 1}${marks === '' ? '' : ` (${marks})`}`;
  if (given.giftCard) return `${name} is a gift card: it earns nothing.`;
  if (!earns) return `${name} is excluded by its ${rate?.by} ${rate?.name}: it earns nothing.`;
  const by = rate ? `${percent(rate.rateBps)} by its ${rate.by} ${rate.name}` : own;
  return `${name}, ${base}: ${by}, ${earned} at level 1.`;
}

function percent(rateBps: number): string {
  return `${percentOf(rateBps)} %`;
}
