import { formatAmount, parseAmount } from '../../../../../../core/money.ts';
import type { Money, Schemas } from '../../../data/api.ts';
import { formatMoney } from '../../../text/format.ts';
import { t } from '../../../text/t.ts';
import { type ExplorerKey, KEY_NAMES } from '../../../ui/explored.tsx';

export type CaseDetails = Schemas['CaseDetails'];
export type CaseOrder = CaseDetails['case_orders'][number];
export type SharedKind = CaseDetails['shared'][number]['kind'];
export type Subject = NonNullable<CaseDetails['subject']>;

/** What orders can share. */
export const SHARED_TEXTS: Readonly<Record<SharedKind, string>> = {
  ip: t('common.address'),
  subnet: t('velocity.network'),
  fingerprint: t('cases.shop_fingerprint'),
  customer: t('common.customer'),
  payment_account: t('cases.payment_account'),
  affiliate: t('common.partner'),
  payout_account: t('cases.payout_account'),
};

export function isSubjectKind(kind: string): kind is ExplorerKey {
  return Object.hasOwn(KEY_NAMES, kind);
}

/** The sum in each currency, such as "€12.00, $3.00"; of nothing, a dash. */
export function sumText(amounts: readonly Money[]): string {
  const sums = new Map<string, bigint>();
  for (const { amount, currency } of amounts) {
    sums.set(currency, (sums.get(currency) ?? 0n) + parseAmount(amount, currency));
  }
  const texts = [...sums].map(([currency, minor]) =>
    formatMoney({ amount: formatAmount(minor, currency), currency }),
  );
  return texts.length === 0 ? '–' : texts.join(', ');
}
