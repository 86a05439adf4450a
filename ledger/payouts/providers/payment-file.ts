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
  readonly extension: keyof typeof MEDIA_TYPES;
  readonly render: (batch: PaymentBatch, referenceOf: (order: PaymentOrder) => string) => string;
  /** How a reference stands in the text. */
  readonly quote: (reference: string) => string;
}

const MEDIA_TYPES = { csv: 'text/csv', xml: 'application/xml' } as const;

/** A file as it was written. */
export interface PaymentFile {
  readonly name: string;
  readonly mediaType: (typeof MEDIA_TYPES)[keyof typeof MEDIA_TYPES];
  readonly text: string;
}

/** Date, key of the batch, and the ending; a further part where payments were handed over again. */
const FILE_NAME = /^\d{4}-\d\d-\d\d-(bat_[0-9a-f]{32})(?:-again-.*)?\.(csv|xml)$/;

/** None while the folder does not exist: no file was written yet. @throws OperatingError `payout_file_failed` */
async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await ifThere(readdir(folder))) ?? [];
  } catch (error) {
    throw new OperatingError('payout_file_failed', `cannot read ${folder}: ${errorText(error)}`, {
      cause: error,
    });
  }
}

/** Undefined for what does not exist; what cannot be read is another matter. */
async function ifThere<T>(read: Promise<T>): Promise<T | undefined> {
  try {
    return await read;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Keys of the batches that have files in this folder, each once. @throws OperatingError `payout_file_failed` */
export async function listPaymentFileBatches(folder: string): Promise<string[]> {
  const names = await namesIn(folder);
  return [...new Set(names.flatMap((name) => FILE_NAME.exec(name)?.[1] ?? []))].toSorted();
}

/**
 * The files of a batch, whichever provider has written them: a second one has the payments that were handed over again.
 * Empty: they are not in this folder.
 */
export async function readPaymentFiles(folder: string, batchKey: string): Promise<PaymentFile[]> {
  const names = (await namesIn(folder)).toSorted();
  const files: PaymentFile[] = [];
  for (const name of names) {
    const [, key, extension] = FILE_NAME.exec(name) ?? [];
    if (key !== batchKey || (extension !== 'csv' && extension !== 'xml')) continue;
    files.push({ name, mediaType: MEDIA_TYPES[extension], text: await readFile(join(folder, name), 'utf8') });
  }
  return files;
}

/** Writes each batch as `<folder>/<date>-<batch key>.<extension>`; a file is whole or not there. */
export function createFileProvider(options: { folder: string; format: FileFormat }): PayoutProvider {
  const { folder, format } = options;
  // Keys of earlier versions are longer than some providers take.
  const referenceOf = ({ providerKey }: PaymentOrder) => providerKey.slice(0, format.limits.referenceLength);

  async function submit(batch: PaymentBatch): Promise<Submission> {
    const date = batch.createdAt.toISOString().slice(0, 10);
    const file = join(folder, `${date}-${batch.batchKey}.${format.extension}`);
    const text = format.render(batch, referenceOf);
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
    const names = await namesIn(folder);
    const texts = await Promise.all(
      names
        .filter((name) => name.endsWith(`.${format.extension}`))
        .map((name) => readFile(join(folder, name), 'utf8')),
    );
    // Files of earlier versions have the whole key.
    const known = orders.filter((order) =>
      [referenceOf(order), order.providerKey].some((key) =>
        texts.some((text) => text.includes(format.quote(key))),
      ),
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
  const before = await ifThere(readFile(file, 'utf8'));
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
