import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText, OperatingError } from '../core/errors.ts';
import { formatAmount } from '../core/money.ts';

/** One payment to make. */
export interface PaymentOrder {
  /** Names the payment for ever: the provider must not pay two orders with one key. */
  readonly providerKey: string;
  readonly affiliateId: number;
  readonly affiliateName: string;
  readonly affiliateEmail: string;
  readonly currency: string;
  readonly amountMinor: bigint;
}

/** Payments that are handed over together. */
export interface PaymentBatch {
  readonly batchKey: string;
  readonly createdAt: Date;
  readonly orders: readonly PaymentOrder[];
}

export type Submission =
  | { readonly outcome: 'accepted' }
  /** Nothing of the batch was or will be paid. */
  | { readonly outcome: 'refused'; readonly reason: string };

/**
 * Whoever moves the money. `submit` must be idempotent by `batchKey`: after a crash the same batch comes again.
 * When it throws, nobody knows whether the payments were made; they become `unknown` until somebody looks.
 */
export interface PayoutProvider {
  readonly name: string;
  submit(batch: PaymentBatch): Promise<Submission>;
}

const HEADER = ['payment_key', 'affiliate_id', 'name', 'email', 'amount', 'currency'];

/** Writes each batch as `<folder>/<date>-<batch key>.csv` for the bank; a file is whole or not there. */
export function createBankCsvProvider(options: { folder: string }): PayoutProvider {
  async function submit(batch: PaymentBatch): Promise<Submission> {
    const date = batch.createdAt.toISOString().slice(0, 10);
    const file = join(options.folder, `${date}-${batch.batchKey}.csv`);
    const text = renderBankCsv(batch.orders);
    try {
      // It holds names and addresses: for the owner's eyes only.
      await mkdir(options.folder, { recursive: true, mode: 0o700 });
      await writeOnce(file, text);
    } catch (error) {
      throw new OperatingError('payout_file_failed', `cannot write ${file}: ${errorText(error)}`, {
        cause: error,
      });
    }
    return { outcome: 'accepted' };
  }
  return { name: 'bank_csv', submit };
}

/** RFC 4180, every cell quoted, lines ended by CRLF. */
export function renderBankCsv(orders: readonly PaymentOrder[]): string {
  const rows = orders.map((order) => [
    order.providerKey,
    `aff_${order.affiliateId}`,
    order.affiliateName,
    order.affiliateEmail,
    formatAmount(order.amountMinor, order.currency),
    order.currency,
  ]);
  return [HEADER, ...rows].map((cells) => `${cells.map(csvCell).join(',')}\r\n`).join('');
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
