import { formatAmount, parseAmount } from '../../../../../../core/money.ts';
import type { Money, Schemas } from '../../../data/api.ts';
import { formatMoney } from '../../../text/format.ts';
import { t } from '../../../text/t.ts';

export type CaseDetails = Schemas['CaseDetails'];
export type CaseOrder = CaseDetails['case_orders'][number];
export type SharedKind = CaseDetails['shared'][number]['kind'];
export type SubjectKind = NonNullable<CaseDetails['subject']>['kind'];

/** What orders can share, and what a case can begin with. */
export const KIND_TEXTS: Readonly<Record<SharedKind | SubjectKind, string>> = {
  ip: t('common.address'),
  subnet: t('velocity.network'),
  asn: t('cases.asn'),
  fingerprint: t('velocity.browser'),
  customer: t('common.customer'),
  payment_account: t('cases.payment_account'),
  affiliate: t('common.partner'),
  link: t('name.link'),
  payout_account: t('cases.payout_account'),
  account: t('cases.payout_account'),
};

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
