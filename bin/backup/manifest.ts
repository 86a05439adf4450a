import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { OperatingError } from '../../core/errors.ts';
import { type MeasuredFile, measureFile, writeMeasured } from '../../core/files/measured-file.ts';
import type { AppliedMigration } from '../../core/migrations.ts';
import type { LedgerCopy } from '../../ledger/transfer/copy-out.ts';
import type { ExportedPartition } from '../../warehouse/transfer/export.ts';
import type { StreamRecords } from '../../warehouse/transfer/records.ts';
import type { StreamCopy } from '../../warehouse/transfer/stream-copy.ts';

/** Read by this version and every later one, or refused. */
const FORMAT = 1;
const NAME = 'manifest';

/** The parts of a backup's folder, relative to it. */
export const PARTS = {
  ledger: 'postgres',
  warehouse: 'clickhouse',
  batches: 'nats/clicks.jsonl.gz',
  deadLetters: 'nats/dead-letters.jsonl.gz',
  files: 'files',
  sealed: 'secrets.sealed',
} as const;

/** What a backup is, and what proves that it is whole. */
export interface Manifest {
  readonly format: number;
  readonly id: string;
  /** The version that made it. */
  readonly afflux: string;
  /** Everything committed in PostgreSQL until then is in it. */
  readonly madeAt: string;
  /** Every click that was redirected before is in it; null before the first. */
  readonly completeTo: string | null;
  /** What it lacks, in words. */
  readonly warnings: readonly string[];
  readonly ledger: LedgerCopy;
  readonly warehouse: {
    readonly migrations: readonly AppliedMigration[];
    readonly partitions: readonly ExportedPartition[];
  };
  readonly stream: { readonly batches: StreamCopy; readonly deadLetters: StreamCopy };
  readonly records: StreamRecords;
  /** Of AFFLUX_HOME; paths below {@link PARTS.files}. */
  readonly files: readonly MeasuredFile[];
  /** Keys, passwords and payment files; null: left out. */
  readonly sealed: MeasuredFile | null;
}

export async function writeManifest(folder: string, manifest: Omit<Manifest, 'format'>): Promise<void> {
  await writeProof(folder, { name: NAME, value: manifest });
}

/** @throws OperatingError as {@link readProof} does. */
export function readManifest(folder: string): Manifest {
  return readProof<Manifest>(folder, NAME);
}

/** Writes what proves the other files of a folder, behind them: `<name>.json`, then the SHA-256 of it. */
export async function writeProof(
  folder: string,
  { name, value }: { name: string; value: object },
): Promise<void> {
  const text = `${JSON.stringify({ format: FORMAT, ...value }, null, 1)}\n`;
  const { sha256 } = await writeMeasured(folder, `${name}.json`, chunks(text));
  await writeMeasured(folder, `${name}.sha256`, chunks(`${sha256}\n`));
}

async function* chunks(text: string): AsyncGenerator<string> {
  yield text;
}

/**
 * @throws OperatingError `backup_incomplete` without it, `backup_damaged` when it is not what was written, `store_newer`
 *   when another version wrote it in another form.
 */
export function readProof<T extends { format: number; afflux: string }>(folder: string, name: string): T {
  const [file, seal] = [join(folder, `${name}.json`), join(folder, `${name}.sha256`)];
  if (!existsSync(file) || !existsSync(seal)) {
    throw new OperatingError(
      'backup_incomplete',
      `${folder} is not whole: it has no ${name}.json and ${name}.sha256, which are written last`,
    );
  }
  const text = readFileSync(file);
  if (readFileSync(seal, 'utf8').trim() !== createHash('sha256').update(text).digest('hex')) {
    throw new OperatingError('backup_damaged', `${name}.json was changed (another SHA-256)`);
  }
  const value = JSON.parse(text.toString()) as T;
  if (value.format === FORMAT) return value;
  throw new OperatingError(
    'store_newer',
    `${folder} was made by version ${value.afflux} of Afflux in another form; install that version`,
  );
}

/** Every file that the manifest names, by its path in the folder. */
function filesOf(manifest: Manifest): MeasuredFile[] {
  const below = (part: string, file: MeasuredFile): MeasuredFile => ({
    ...file,
    path: `${part}/${file.path}`,
  });
  return [
    ...manifest.ledger.tables.map(({ file }) => below(PARTS.ledger, file)),
    ...manifest.warehouse.partitions.flatMap(({ files }) =>
      files.map((file) => below(PARTS.warehouse, file)),
    ),
    manifest.stream.batches.file,
    manifest.stream.deadLetters.file,
    ...manifest.files.map((file) => below(PARTS.files, file)),
    ...(manifest.sealed ? [manifest.sealed] : []),
  ];
}

/** What is wrong with the files of a backup, in words; nothing when every byte is what was written. */
export async function compareFiles(
  folder: string,
  manifest: Manifest,
): Promise<{ files: number; bytes: number; faults: string[] }> {
  const expected = filesOf(manifest);
  const faults: string[] = [];
  for (const file of expected) {
    const found = existsSync(join(folder, file.path)) ? await measureFile(folder, file.path) : undefined;
    if (!found) faults.push(`${file.path} is missing`);
    else if (found.bytes !== file.bytes)
      faults.push(`${file.path} has ${found.bytes} bytes, and ${file.bytes} were written`);
    else if (found.sha256 !== file.sha256) faults.push(`${file.path} was changed (another SHA-256)`);
  }
  const known = new Set([`${NAME}.json`, `${NAME}.sha256`, ...expected.map(({ path }) => path)]);
  for (const path of listFiles(folder)) if (!known.has(path)) faults.push(`${path} is not of this backup`);
  return { files: expected.length, bytes: expected.reduce((sum, { bytes }) => sum + bytes, 0), faults };
}

/** Paths of the files below a folder, with `/`; none where there is no folder. */
export function listFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .sort();
}
