import { formatAmount } from '../../../core/money.ts';
import type { PaymentOrder, PayoutProvider } from '../provider.ts';
import { createFileProvider, renderCsv } from './payment-file.ts';

/** PayPal's mass payment file: e-mail, amount, currency, reference, note; no header (developer.paypal.com/docs/payouts). */
export function createPayPalCsvProvider({ folder }: { folder: string }): PayoutProvider {
  return createFileProvider({ folder, format: { name: 'paypal_csv', render: renderPayPalCsv } });
}

function renderPayPalCsv(orders: readonly PaymentOrder[]): string {
  const rows = orders.map((order) => [
    order.payoutAccount ?? '',
    formatAmount(order.amountMinor, order.currency),
    order.currency,
    order.providerKey,
    'Commission',
  ]);
  return renderCsv(rows);
}
