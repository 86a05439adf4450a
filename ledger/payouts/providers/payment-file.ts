import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText, OperatingError } from '../../../core/errors.ts';
import {
  answerAll,
  type PaymentBatch,
  type PaymentOrder,
  type PayoutProvider,
  type ProviderLimits,
  type Submission,
} from '../provider.ts';

/** A file that a person uploads to a bank or to PayPal: its provider's name and limits, and its text. */
interface FileFormat {
  readonly name: string;
  readonly limits: ProviderLimits;
  readonly render: (orders: readonly PaymentOrder[], referenceOf: (order: PaymentOrder) => string) => string;
}

/** Writes each batch as `<folder>/<date>-<batch key>.csv`; a file is whole or not there. */
export function createFileProvider(options: { folder: string; format: FileFormat }): PayoutProvider {
  const { folder, format } = options;
  // Keys of earlier versions are longer than some providers take.
  const referenceOf = ({ providerKey }: PaymentOrder) => providerKey.slice(0, format.limits.referenceLength);

  async function submit(batch: PaymentBatch): Promise<Submission> {
    const date = batch.createdAt.toISOString().slice(0, 10);
    const file = join(folder, `${date}-${batch.batchKey}.csv`);
    const text = format.render(batch.orders, referenceOf);
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
    // Files of earlier versions have the whole key.
    const known = orders.filter((order) =>
      [referenceOf(order), order.providerKey].some((key) => texts.some((text) => text.includes(`"${key}"`))),
    );
    return new Map(known.map(({ providerKey }) => [providerKey, { outcome: 'accepted' }]));
  }
  return { name: format.name, limits: format.limits, submit, lookUp };
}

/** RFC 4180: every cell quoted, the line ended by CRLF. */
export function csvRow(cells: readonly string[]): string {
  return `${cells.map(csvCell).join(',')}\r\n`;
}

export function csvCell(text: string): string {
  return `"${text.replaceAll('"', '""')}"`;
}

/**
 * A cell that people read: a spreadsheet would run it when it begins like a formula, so that it gets a leading
 * apostrophe (OWASP, CSV injection). A cell that a machine reads must not: it would be another address or reference.
 */
export function forPeople(text: string): string {
  return /^[=+\-@\t\r\n]/.test(text) ? `'${text}` : text;
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
