import { formatAmount } from '../../../core/money.ts';
import type { PaymentBatch, PaymentOrder, PayoutProvider, ProviderLimits } from '../provider.ts';
import { createFileProvider, csvCell, csvRow } from './payment-file.ts';

const TWO_DIGITS = 'AUD BRL CAD CHF CZK DKK EUR GBP HKD ILS MXN MYR NOK NZD PHP PLN SEK SGD THB USD';
const WHOLE = 'HUF JPY TWD';
const currencies = (codes: string, digits: number) => codes.split(' ').map((code) => [code, digits] as const);

/**
 * Currencies, and those whose decimals are an error: developer.paypal.com/docs/archive/mass-pay/integration-guide/currency-codes.
 * Largest payment ("up to $20,000.00 USD in your country's local currency", so known in dollars only):
 * developer.paypal.com/docs/payouts/standard/reference/fees. A unique identifier has at most 30 characters and no space:
 * paypal.com/cgi-bin/webscr?cmd=_batch-payment-format-outside.
 */
const PAYPAL_LIMITS: ProviderLimits = {
  methodKind: 'paypal',
  digits: new Map([...currencies(TWO_DIGITS, 2), ...currencies(WHOLE, 0)]),
  largest: new Map([['USD', '20000.00']]),
  referenceLength: 30,
};

/** PayPal's mass payment file: e-mail, amount, currency, reference, note; no header (developer.paypal.com/docs/payouts). */
export function createPayPalCsvProvider({ folder }: { folder: string }): PayoutProvider {
  return createFileProvider({
    folder,
    format: {
      name: 'paypal_csv',
      limits: PAYPAL_LIMITS,
      extension: 'csv',
      render: renderPayPalCsv,
      quote: csvCell,
    },
  });
}

function renderPayPalCsv({ orders }: PaymentBatch, referenceOf: (order: PaymentOrder) => string): string {
  return orders
    .map((order) =>
      csvRow([
        order.payoutAccount ?? '',
        formatPayPalAmount(order),
        order.currency,
        referenceOf(order),
        'Commission',
      ]),
    )
    .join('');
}

/** "1523" of the forints that ISO 4217 writes "1523.00". */
function formatPayPalAmount({ amountMinor, currency }: PaymentOrder): string {
  const amount = formatAmount(amountMinor, currency);
  return PAYPAL_LIMITS.digits?.get(currency) === 0 ? amount.replace(/\.0+$/, '') : amount;
}
