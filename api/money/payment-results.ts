import { InputError } from '../../core/errors.ts';
import { parseAmount } from '../../core/money.ts';
import { MAX_FAILURE_LENGTH } from '../../core/text-limits.ts';
import type { NoticeStatus } from '../../ledger/payouts/notices.ts';
import type { PaymentResult } from '../../ledger/payouts/results.ts';
import { amountReader, readCsv } from '../schemas/csv.ts';

/** The result file of a bank or PayPal for a payout file, as downloaded from their pages. */

/** Each is a transaction of its own: a minute's work. */
export const MAX_RESULT_ROWS = 5_000;
export const MAX_RESULT_BYTES = 2 * 1024 * 1024;

/** Columns by their names; the first that is there counts. */
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

type Cells = Readonly<Record<string, string>>;

/** A row of the file: its result, or its fault. `line` is where it begins in the file, from 1. */
export interface ResultRow {
  readonly line: number;
  readonly paymentKey: string;
  readonly result: PaymentResult | 'open' | InputError;
  /** The message by whose status alone it has this result; undefined: it has one of its own. */
  readonly byMessage?: string | undefined;
}

/** The rows of a result file. @throws InputError `body`. */
export async function readPaymentResults(csv: string): Promise<ResultRow[]> {
  const file = await readCsv(csv, { maxRows: MAX_RESULT_ROWS });
  if (!COLUMNS.key.some((name) => file.columns.includes(name))) {
    throw new InputError('body', `needs the payments’ keys in a column ${COLUMNS.key.join(', ')}`);
  }
  const column = COLUMNS.amount.find((name) => file.columns.includes(name)) ?? 'amount';
  const amountOf = amountReader(file, column);
  return file.rows.map(({ line, cells }) =>
    cells instanceof InputError
      ? { line, paymentKey: '', result: cells }
      : { line, paymentKey: cell(cells, 'key') ?? '', result: resultOf(cells, amountOf) },
  );
}

/** PayPal lists payments as what left the account: below zero. */
function unsigned(amount: string): string {
  return amount.replace(/^-/, '');
}

/** A cell without the apostrophe that our own files put before what a spreadsheet would run. */
function cell(row: Cells, column: keyof typeof COLUMNS): string | undefined {
  const value = COLUMNS[column].map((name) => row[name]).find((text) => text !== undefined && text !== '');
  return value?.replace(/^'(?=[=+\-@])/, '');
}

function resultOf(row: Cells, amountOf: (cell: string) => string): ResultRow['result'] {
  const providerKey = cell(row, 'key');
  if (providerKey === undefined) return new InputError('payment_key', 'is required');
  // A file without the column lists what was paid.
  const word = cell(row, 'status') ?? (COLUMNS.status.some((name) => name in row) ? '' : 'paid');
  const known = word.toLowerCase().replaceAll(/[^a-z]/g, '');
  const status = STATUSES[known];
  if (status === undefined)
    return new InputError('status', `must be one of ${Object.keys(STATUSES).join(', ')}`);
  if (status === 'open') return 'open';
  const [amount, currency] = [cell(row, 'amount'), cell(row, 'currency')?.toUpperCase()];
  if (amount !== undefined && currency === undefined) return new InputError('currency', 'is required');
  try {
    const amountMinor =
      amount === undefined ? undefined : parseAmount(unsigned(amountOf(amount)), currency ?? '');
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
