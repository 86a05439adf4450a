import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText, OperatingError } from '../../core/errors.ts';
import { formatAmount } from '../../core/money.ts';

/** One payment to make. */
export interface PaymentOrder {
  /** Names the payment for ever: the provider must not pay two orders with one key. */
  readonly providerKey: string;
  readonly affiliateId: number;
  readonly affiliateName: string;
  readonly affiliateEmail: string;
  /** An IBAN, a PayPal address, a Stripe account: whatever the affiliate gave. */
  readonly payoutAccount: string | null;
  readonly currency: string;
  readonly amountMinor: bigint;
}

/** Payments that are handed over together. */
export interface PaymentBatch {
  readonly batchKey: string;
  readonly createdAt: Date;
  readonly orders: readonly PaymentOrder[];
}

/** What a provider says of one payment. */
export type PaymentAnswer =
  /** It has the order and will pay it. */
  | { readonly outcome: 'accepted' }
  | { readonly outcome: 'paid' }
  /** It was not paid and never will be. */
  | { readonly outcome: 'refused'; readonly reason: string }
  /** It was paid and came back. */
  | { readonly outcome: 'returned' };

/** Answers by the orders' keys; the outcome of an order without an answer is unknown. */
export type Submission = ReadonlyMap<string, PaymentAnswer>;

/**
 * The service that moves the money. `submit` must be idempotent by the orders' keys: after a crash the same orders come
 * again. When it throws, the outcome of all of them is unknown; they stay `unknown` until their reconciliation.
 */
export interface PayoutProvider {
  readonly name: string;
  submit(batch: PaymentBatch): Promise<Submission>;
  /** What it knows of orders it was given; it never received those that are missing. Undefined: it cannot be asked. */
  lookUp?(orders: readonly PaymentOrder[]): Promise<Submission>;
}

/** The same answer for every order of a batch. */
export function answerAll(batch: PaymentBatch, answer: PaymentAnswer): Submission {
  return new Map(batch.orders.map(({ providerKey }) => [providerKey, answer]));
}

/** A file for somebody who reads it into a bank's or PayPal's page: how it is named, and what stands in it. */
interface FileFormat {
  readonly name: string;
  readonly render: (orders: readonly PaymentOrder[]) => string;
}

/** Every payment with its account, for the bank. */
const BANK: FileFormat = { name: 'bank_csv', render: renderBankCsv };
/** PayPal's mass payment file: e-mail, amount, currency, reference, note; no header (developer.paypal.com/docs/payouts). */
const PAYPAL: FileFormat = { name: 'paypal_csv', render: renderPayPalCsv };

/** Writes each batch as `<folder>/<date>-<batch key>.csv` for the bank; a file is whole or not there. */
export function createBankCsvProvider(options: { folder: string }): PayoutProvider {
  return createFileProvider({ ...options, format: BANK });
}

/** Writes each batch as PayPal's mass payment file, in the same way. */
export function createPayPalCsvProvider(options: { folder: string }): PayoutProvider {
  return createFileProvider({ ...options, format: PAYPAL });
}

function createFileProvider(options: { folder: string; format: FileFormat }): PayoutProvider {
  const { folder, format } = options;
  async function submit(batch: PaymentBatch): Promise<Submission> {
    const date = batch.createdAt.toISOString().slice(0, 10);
    const file = join(folder, `${date}-${batch.batchKey}.csv`);
    const text = format.render(batch.orders);
    try {
      // It holds names and addresses: for the owner's eyes only.
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await writeOnce(file, text);
    } catch (error) {
      throw new OperatingError('payout_file_failed', `cannot write ${file}: ${errorText(error)}`, {
        cause: error,
      });
    }
    return answerAll(batch, { outcome: 'accepted' });
  }
  /** A payment is known when its key stands in one of the files. */
  async function lookUp(orders: readonly PaymentOrder[]): Promise<Submission> {
    const names = await readdir(folder).catch(() => []);
    const texts = await Promise.all(
      names.filter((name) => name.endsWith('.csv')).map((name) => readFile(join(folder, name), 'utf8')),
    );
    const known = orders.filter(({ providerKey }) => texts.some((text) => text.includes(`"${providerKey}"`)));
    return new Map(known.map(({ providerKey }) => [providerKey, { outcome: 'accepted' }]));
  }
  return { name: format.name, submit, lookUp };
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

function renderPayPalCsv(orders: readonly PaymentOrder[]): string {
  const rows = orders.map((order) => [
    order.payoutAccount?.includes('@') ? order.payoutAccount : order.affiliateEmail,
    formatAmount(order.amountMinor, order.currency),
    order.currency,
    order.providerKey,
    'Commission',
  ]);
  return renderCsv(rows);
}

/** RFC 4180, every cell quoted, lines ended by CRLF, no cell that a spreadsheet would run. */
function renderCsv(rows: readonly (readonly string[])[]): string {
  return rows.map((cells) => `${cells.map(csvCell).join(',')}\r\n`).join('');
}

/** A spreadsheet would run a cell that begins like a formula: such a cell gets a leading apostrophe (OWASP, CSV injection). */
function csvCell(value: string): string {
  const safe = /^[=+\-@\t\r\n]/.test(value) ? `'${value}` : value;
  return `"${safe.replaceAll('"', '""')}"`;
}

/** Writes beside, syncs, renames. A file that is there already with this text is left alone. */
async function writeOnce(file: string, text: string): Promise<void> {
  const before = await readFile(file, 'utf8').catch(() => undefined);
  if (before === text) return;
  if (before !== undefined) throw new Error('the file exists with other payments in it');
  const draft = `${file}.${randomBytes(4).toString('hex')}.tmp`;
  const handle = await open(draft, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } catch (error) {
    await unlink(draft).catch(() => undefined);
    throw error;
  } finally {
    await handle.close();
  }
  await rename(draft, file);
  await syncFolder(join(file, '..'));
}

/** The name of a renamed file survives a power cut only when its folder was synced too. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
