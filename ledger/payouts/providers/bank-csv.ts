import { formatAmount } from '../../../core/money.ts';
import type { PaymentOrder, PayoutProvider } from '../provider.ts';
import { createFileProvider, renderCsv } from './payment-file.ts';

/** Every payment with its account, for the bank. */
export function createBankCsvProvider({ folder }: { folder: string }): PayoutProvider {
  return createFileProvider({ folder, format: { name: 'bank_csv', render: renderBankCsv } });
}

const HEADER = ['payment_key', 'affiliate_id', 'name', 'email', 'account', 'amount', 'currency'];

/** RFC 4180, every cell quoted, lines ended by CRLF. */
export function renderBankCsv(orders: readonly PaymentOrder[]): string {
  const rows = orders.map((order) => [
    order.providerKey,
    `aff_${order.affiliateId}`,
    order.affiliateName,
    order.affiliateEmail,
    order.payoutAccount ?? '',
    formatAmount(order.amountMinor, order.currency),
    order.currency,
  ]);
  return renderCsv([HEADER, ...rows]);
}
