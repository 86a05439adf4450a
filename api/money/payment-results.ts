import { parse } from 'csv-parse/sync';
import { errorText, InputError } from '../../core/errors.ts';
import { parseAmount } from '../../core/money.ts';
import { MAX_FAILURE_LENGTH } from '../../core/text-limits.ts';
import type { NoticeStatus } from '../../ledger/payouts/notices.ts';
import type { PaymentResult } from '../../ledger/payouts/results.ts';

/** The result file of a bank or PayPal for a payout file, as downloaded from their pages. */

/** Each is a transaction of its own: a minute's work. */
export const MAX_RESULT_ROWS = 5_000;
export const MAX_RESULT_BYTES = 2 * 1024 * 1024;

/** Columns by their names in lower case with `_` for anything else; the first that is there counts. */
const COLUMNS = {
  key: ['payment_key', 'unique_id', 'sender_item_id', 'reference', 'customer_id'],
  status: ['status', 'transaction_status'],
  amount: ['amount', 'gross_amount'],
  currency: ['currency', 'currency_code'],
  reason: ['reason', 'error', 'error_message', 'failure'],
} as const;

/** What their words mean; those that are not final say nothing yet. */
const STATUSES: Readonly<Record<string, NoticeStatus | 'open'>> = {
  paid: 'paid',
  settled: 'paid',
  success: 'paid',
  completed: 'paid',
  executed: 'paid',
  failed: 'failed',
  refused: 'failed',
  rejected: 'failed',
  denied: 'failed',
  blocked: 'failed',
  canceled: 'failed',
  cancelled: 'failed',
  returned: 'returned',
  refunded: 'returned',
  reversed: 'returned',
  pending: 'open',
  processing: 'open',
  unclaimed: 'open',
  onhold: 'open',
  held: 'open',
};

/** Of those that failed or came back, the ones by which PayPal or a person stopped the payment, not its account. */
const NOT_OF_THE_ACCOUNT: ReadonlySet<string> = new Set(['canceled', 'cancelled', 'denied']);

/** A row of the file: its result, or its fault. `line` counts from 1, the header being line 1. */
export interface ResultRow {
  readonly line: number;
  readonly paymentKey: string;
  readonly result: PaymentResult | 'open' | InputError;
}

/** The rows of a result file. @throws InputError `body`. */
export function readPaymentResults(csv: string): ResultRow[] {
  let rows: Record<string, string>[];
  try {
    rows = parse(csv, {
      columns: (names: string[]) => names.map(columnName),
      bom: true,
      trim: true,
      skip_empty_lines: true,
    });
  } catch (error) {
    throw new InputError('body', `is not CSV with a header: ${errorText(error)}`);
  }
  checkRowCount(rows);
  const [first = {}] = rows;
  if (!COLUMNS.key.some((name) => name in first)) {
    throw new InputError('body', `needs the payments’ keys in a column ${COLUMNS.key.join(', ')}`);
  }
  return rows.map((row, i) => ({ line: i + 2, paymentKey: cell(row, 'key') ?? '', result: resultOf(row) }));
}

/** @throws InputError `body`. */
export function checkRowCount(rows: readonly unknown[]): void {
  if (rows.length === 0) throw new InputError('body', 'has no rows');
  if (rows.length > MAX_RESULT_ROWS) throw new InputError('body', `must not exceed ${MAX_RESULT_ROWS} rows`);
}

function columnName(name: string): string {
  return name
    .trim()
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '_')
    .replaceAll(/^_|_$/g, '');
}

/** A cell without the apostrophe that our own files put before what a spreadsheet would run. */
function cell(row: Record<string, string>, column: keyof typeof COLUMNS): string | undefined {
  const value = COLUMNS[column].map((name) => row[name]).find((text) => text !== undefined && text !== '');
  return value?.replace(/^'(?=[=+\-@])/, '');
}

function resultOf(row: Record<string, string>): ResultRow['result'] {
  const providerKey = cell(row, 'key');
  if (providerKey === undefined) return new InputError('payment_key', 'is required');
  // A file without the column lists what was paid.
  const word = cell(row, 'status') ?? (COLUMNS.status.some((name) => name in row) ? '' : 'paid');
  const known = word.toLowerCase().replaceAll(/[^a-z]/g, '');
  const status = STATUSES[known];
  if (status === undefined)
    return new InputError('status', `must be one of ${Object.keys(STATUSES).join(', ')}`);
  if (status === 'open') return 'open';
  const [amount, currency] = [cell(row, 'amount'), cell(row, 'currency')];
  if (amount !== undefined && currency === undefined) return new InputError('currency', 'is required');
  try {
    const amountMinor = amount === undefined ? undefined : parseAmount(amount, currency ?? '');
    return {
      providerKey,
      status,
      accountRefused: !NOT_OF_THE_ACCOUNT.has(known),
      amountMinor,
      currency,
      reason: cell(row, 'reason')?.slice(0, MAX_FAILURE_LENGTH),
    };
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
}
