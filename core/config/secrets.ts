import { hkdfSync, randomBytes, randomUUID } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OperatingError } from '../errors.ts';
import { applicationUrl } from '../login.ts';
import type { Config, EnvironmentConfig } from './config.ts';

/**
 * The secrets of a data folder, each with how it is made, in `$AFFLUX_HOME/secrets.json` (mode 0600). They are made at
 * first start; a secret that the file of an earlier version lacks is added.
 */
const GENERATORS = {
  /** Of the embedded PostgreSQL's superuser. */
  postgresPassword: () => randomBytes(24).toString('base64url'),
  /** One click key, 32 hexadecimal digits. */
  clickKey: () => randomBytes(16).toString('hex'),
  /** Of the login that processes use at the embedded PostgreSQL. */
  databasePassword: () => randomBytes(24).toString('base64url'),
} as const satisfies Record<string, () => string>;

type Secrets = { readonly [Name in keyof typeof GENERATORS]: string };

/**
 * Completes a configuration by the secrets of its data folder; creates the folder and the secrets at first start.
 * @throws OperatingError `home_unusable`.
 */
export function withGeneratedSecrets(environment: EnvironmentConfig): Config {
  const secrets = readOrCreateSecrets(environment.home);
  const [newestClickKey = secrets.clickKey, ...olderClickKeys] = environment.clickKeys;
  const [newestDataKey = derivedDataKey(secrets), ...olderDataKeys] = environment.dataKeys;
  const { postgresPassword, databasePassword } = secrets;
  const embeddedOwnerUrl = `postgres://postgres:${postgresPassword}@127.0.0.1:${environment.postgresPort}/afflux`;
  return Object.freeze({
    ...environment,
    ...(environment.embedded.postgres && {
      databaseUrl: applicationUrl(embeddedOwnerUrl, databasePassword),
      databaseOwnerUrl: embeddedOwnerUrl,
    }),
    postgresPassword,
    databasePassword,
    clickKeys: [fromHex(newestClickKey), ...olderClickKeys.map(fromHex)] as const,
    dataKeys: [fromHex(newestDataKey), ...olderDataKeys.map(fromHex)] as const,
  });
}

/** Of processes that start at once all read the same secrets. */
function readOrCreateSecrets(home: string): Secrets {
  const file = join(home, 'secrets.json');
  try {
    mkdirSync(home, { recursive: true });
    for (;;) {
      const known = readSecrets(file);
      if (isComplete(known)) return known;
      complete(file, known);
    }
  } catch (error) {
    throw unusableHome(home, error);
  }
}

function readSecrets(file: string): Partial<Secrets> {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Partial<Secrets>;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
}

function isComplete(secrets: Partial<Secrets>): secrets is Secrets {
  return Object.keys(GENERATORS).every((name) => name in secrets);
}

/**
 * Puts a complete file in the place of one that lacks secrets. Of several processes one gives its file the name
 * `secrets.json.added`; each of them, also after a crash, then puts that file in place, unless it is done.
 */
function complete(file: string, known: Partial<Secrets>): void {
  const generated = Object.entries(GENERATORS).map(([name, generate]) => [name, generate()]);
  const own = `${file}.${randomUUID()}`;
  const added = `${file}.added`;
  const content = `${JSON.stringify({ ...Object.fromEntries(generated), ...known }, null, 2)}\n`;
  writeFileSync(own, content, { mode: 0o600, flag: 'wx', flush: true });
  try {
    ignoring('EEXIST', () => linkSync(own, added));
  } finally {
    rmSync(own);
  }
  if (isComplete(readSecrets(file))) rmSync(added, { force: true });
  else ignoring('ENOENT', () => renameSync(added, file));
}

function ignoring(code: string, work: () => void): void {
  try {
    work();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== code) throw error;
  }
}

/** The key that encrypts stored secrets when none is configured: it lasts as long as the file, whatever is added to it. */
function derivedDataKey({ postgresPassword, clickKey }: Secrets): string {
  const secret = `${postgresPassword} ${clickKey}`;
  return Buffer.from(hkdfSync('sha256', secret, '', 'afflux data key', 32)).toString('hex');
}

function fromHex(text: string): Buffer {
  return Buffer.from(text, 'hex');
}

function unusableHome(home: string, cause: unknown): OperatingError {
  return new OperatingError(
    'home_unusable',
    `the data folder ${home} cannot be used: ${(cause as Error).message}. Make it readable and writable, or set AFFLUX_HOME`,
    { cause },
  );
}
