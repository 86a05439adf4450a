import { createLogger } from '../../core/service/log.ts';
import { settleLedger } from '../../ledger/transfer/settle.ts';
import { forgetLaterLedger } from '../../warehouse/transfer/forget.ts';
import { describe } from '../commands/audit.ts';
import { readConfig, readEnvironment } from '../environment.ts';
import { requireOwnerUrl, withWarehouse } from '../stores.ts';
import { renderTable } from '../table.ts';
import { createBackup } from './create.ts';
import { withEngines } from './engines.ts';
import { compareFiles, type Manifest, readManifest } from './manifest.ts';
import { newPassphrase, type PassphraseOptions, readPassphrase } from './passphrase.ts';
import { restoreBackup } from './restore.ts';
import { auditBackup } from './verify.ts';

const MEGABYTE = 1024 ** 2;

/** `afflux backup create FOLDER`. */
export async function createBackupCommand(
  folder: string,
  options: PassphraseOptions & { version: string; secrets: boolean },
): Promise<void> {
  const config = readConfig();
  const { clickKeys, dataKeys } = readEnvironment();
  const passphrase = options.secrets ? await newPassphrase(options) : null;
  const log = createLogger({ name: 'backup', level: config.logLevel });
  const manifest = await withEngines({ config, log, alone: false }, () =>
    createBackup({
      config,
      version: options.version,
      folder,
      passphrase,
      keysFromEnvironment: [
        ...(clickKeys.length > 0 ? ['CLICK_KEYS'] : []),
        ...(dataKeys.length > 0 ? ['DATA_KEYS'] : []),
      ],
    }),
  );
  process.stdout.write(`${summary(manifest)}\nThe backup is in ${folder}.\n`);
}

/** `afflux backup verify FOLDER [--deep]`; exit code 1 when it is not whole. */
export async function verifyBackupCommand(
  folder: string,
  options: PassphraseOptions & { deep: boolean; scratch?: string | undefined },
): Promise<void> {
  const manifest = readManifest(folder);
  const { files, bytes, faults } = await compareFiles(folder, manifest);
  for (const fault of faults) process.stdout.write(`DAMAGED  ${fault}\n`);
  if (faults.length > 0) {
    process.exitCode = 1;
    return;
  }
  process.stdout.write(
    `${summary(manifest)}\nEvery byte of ${files} files (${Math.ceil(bytes / MEGABYTE)} MB) is what was written.\n`,
  );
  if (!options.deep) return;
  const environment = readEnvironment();
  const report = await auditBackup({
    environment,
    folder,
    scratch: options.scratch,
    passphrase: () => readPassphrase(options),
    log: createLogger({ name: 'backup', level: environment.logLevel }),
  });
  process.stdout.write(`Restored beside, and audited:\n${describe(report)}\n`);
  if (!report.ok) process.exitCode = 1;
}

/** `afflux backup restore FOLDER`. */
export async function restoreBackupCommand(folder: string, options: PassphraseOptions): Promise<void> {
  const environment = readEnvironment();
  const { manifest, config } = await restoreBackup({
    environment,
    folder,
    passphrase: () => readPassphrase(options),
    log: createLogger({ name: 'backup', level: environment.logLevel }),
  });
  process.stdout.write(
    `${summary(manifest)}\n\nRestored into ${config.home}. Next:\n${nextSteps(manifest)}\n`,
  );
}

/** `afflux backup settle`: what a restore by PostgreSQL's own tools leaves to do. */
export async function settleCommand({ at }: { at: Date }): Promise<void> {
  const config = readConfig();
  const madeAt = at.toISOString();
  const url = requireOwnerUrl(config);
  const ends = await settleLedger({ url, backup: { id: `postgres ${madeAt}`, madeAt } });
  await withWarehouse('afflux-settle', (warehouse) => forgetLaterLedger(warehouse, ends));
  process.stdout.write(`Settled. Next:\n${numbered(afterRestore(madeAt))}\n`);
}

function summary(manifest: Manifest): string {
  const count = (table: string): string =>
    manifest.ledger.tables.find(({ name }) => name === table)?.rows ?? '0';
  const clicks = manifest.warehouse.partitions
    .filter(({ table }) => table === 'clicks')
    .reduce((sum, { rows }) => sum + rows, 0);
  const rows = [
    ['backup', `${manifest.id} by version ${manifest.afflux}`],
    [
      'PostgreSQL',
      `as of ${manifest.madeAt}: ${count('conversions')} orders, ${count('entries')} entries of the books`,
    ],
    ['ClickHouse', `${clicks} clicks`],
    ['NATS', `${manifest.stream.batches.messages} batches of clicks that were not loaded yet`],
    ['clicks', `all of those before ${manifest.completeTo ?? 'the first'}`],
    ['secrets', manifest.sealed ? 'sealed with the passphrase' : 'left out'],
  ];
  return [renderTable(rows), ...manifest.warnings.map((warning) => `WARNING: ${warning}.`)].join('\n');
}

function nextSteps(manifest: Manifest): string {
  const secrets = manifest.sealed
    ? []
    : ['Copy secrets.json, count-key.pem and the folder payouts of the old machine into AFFLUX_HOME.'];
  return numbered([...secrets, ...afterRestore(manifest.madeAt)]);
}

function numbered(steps: readonly string[]): string {
  return steps.map((step, i) => `${i + 1}. ${step}`).join('\n');
}

function afterRestore(madeAt: string): string[] {
  return [
    'Start the platform with PAYOUT_HOUR=off, and run "afflux audit" once the loader has caught up.',
    `Payouts: compare the account's statement since ${madeAt} with "afflux payouts preview". What was paid then is not in the books. ` +
      'Payouts that were on their way are "unknown" until the provider or a person says what became of them, and every run waits for a second person. ' +
      'Switch that off again in the settings of each program when the comparison is done.',
    `Orders since ${madeAt} are not there: have shops and trackers send them again; what is there already is not counted twice.`,
    'Everybody signs in again. Look through the users and API keys: what was revoked since then is valid again.',
  ];
}
