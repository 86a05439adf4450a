import { formatAmount } from '../../../core/money.ts';
import type { PaymentOrder, PayoutProvider, ProviderLimits } from '../provider.ts';
import { createFileProvider, csvCell, csvRow, forPeople } from './payment-file.ts';

/** Banks differ; what they all pay are IBANs. A reference fits SEPA's EndToEndId (35 characters). */
export const BANK_LIMITS: ProviderLimits = { methodKind: 'bank', referenceLength: 35 };

/** Every payment with its account, for the bank. */
export function createBankCsvProvider({ folder }: { folder: string }): PayoutProvider {
  return createFileProvider({
    folder,
    format: {
      name: 'bank_csv',
      limits: BANK_LIMITS,
      extension: 'csv',
      render: ({ orders }, referenceOf) => renderBankCsv(orders, referenceOf),
      quote: csvCell,
    },
  });
}

const HEADER = [
  'payment_key',
  'affiliate_id',
  'name',
  'email',
  'holder',
  'account',
  'amount',
  'currency',
] as const;

/** RFC 4180, every cell quoted, lines ended by CRLF. Banks compare the holder with the account. */
export function renderBankCsv(
  orders: readonly PaymentOrder[],
  referenceOf: (order: PaymentOrder) => string,
): string {
  const rows = orders.map((order) =>
    csvRow([
      referenceOf(order),
      `aff_${order.affiliateId}`,
      forPeople(order.affiliateName),
      forPeople(order.affiliateEmail),
      forPeople(order.accountHolder ?? ''),
      order.payoutAccount ?? '',
      formatAmount(order.amountMinor, order.currency),
      order.currency,
    ]),
  );
  return [csvRow(HEADER), ...rows].join('');
}
