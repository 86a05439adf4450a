import { hkdfSync, randomBytes } from 'node:crypto';
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OperatingError } from '../errors.ts';
import { applicationUrl } from '../login.ts';
import type { Config, EnvironmentConfig } from './config.ts';
import { openHome } from './home.ts';

/** What every `$AFFLUX_HOME/secrets.json` (mode 0600) has held from the first version on. */
interface FirstSecrets {
  /** Of the embedded PostgreSQL's superuser, who owns the schema there. */
  readonly postgresPassword: string;
  /** One click key, 32 hexadecimal digits. */
  readonly clickKey: string;
}

/** Passwords that later versions have added, each with the purpose under which a file that lacks it gets it. */
const ADDED_PASSWORDS = {
  clickhousePassword: 'afflux ClickHouse password',
  natsPassword: 'afflux NATS password',
  /** Of the login that processes use at the embedded PostgreSQL. */
  databasePassword: 'afflux PostgreSQL application password',
  /** Of the user of the embedded ClickHouse that may only read. */
  analystPassword: 'afflux analyst password',
  /** What the passwords of programs' analysts are made of. */
  programAnalystKey: 'afflux key of program analysts',
} as const;
const PASSWORD_BYTES = 24;

type Secrets = FirstSecrets & { readonly [Name in keyof typeof ADDED_PASSWORDS]: string };

/** The platform's user of the embedded ClickHouse, by the engine's own name for it. */
export const CLICKHOUSE_USER = 'default';
/** The only user of the embedded NATS. */
export const NATS_USER = 'afflux';

/**
 * Completes a configuration by the secrets of its data folder; creates the folder and the secrets at first start.
 * @throws OperatingError `home_unusable`.
 */
export function withGeneratedSecrets(environment: EnvironmentConfig): Config {
  const secrets = readOrCreateSecrets(environment.home);
  const { postgresPassword, databasePassword, clickhousePassword, natsPassword } = secrets;
  const { analystPassword, programAnalystKey } = secrets;
  const { postgresPort, clickhousePort, natsPort } = environment;
  const [newestClickKey = secrets.clickKey, ...olderClickKeys] = environment.clickKeys;
  const [newestDataKey = derivedDataKey(secrets), ...olderDataKeys] = environment.dataKeys;
  const embeddedOwnerUrl = `postgres://postgres:${postgresPassword}@127.0.0.1:${postgresPort}/afflux`;
  return Object.freeze({
    ...environment,
    ...(environment.embedded.postgres && {
      databaseUrl: applicationUrl(embeddedOwnerUrl, databasePassword),
      databaseOwnerUrl: embeddedOwnerUrl,
    }),
    clickhouseUrl:
      environment.clickhouseUrl ||
      `http://${CLICKHOUSE_USER}:${clickhousePassword}@127.0.0.1:${clickhousePort}/afflux`,
    natsUrl: environment.natsUrl || `nats://${NATS_USER}:${natsPassword}@127.0.0.1:${natsPort}`,
    postgresPassword,
    databasePassword,
    clickhousePassword,
    analystPassword,
    programAnalystKey,
    natsPassword,
    clickKeys: [fromHex(newestClickKey), ...olderClickKeys.map(fromHex)] as const,
    dataKeys: [fromHex(newestDataKey), ...olderDataKeys.map(fromHex)] as const,
  });
}

/** Of two processes that start at once, one creates the secrets and both read the same. */
function readOrCreateSecrets(home: string): Secrets {
  const file = join(home, 'secrets.json');
  try {
    openHome(home);
    return completed(file, readSecrets(file) ?? createSecrets(file));
  } catch (error) {
    throw unusableHome(home, error);
  }
}

function readSecrets(file: string): (FirstSecrets & Partial<Secrets>) | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as FirstSecrets & Partial<Secrets>;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function createSecrets(file: string): FirstSecrets & Partial<Secrets> {
  const fresh = {
    postgresPassword: randomBytes(PASSWORD_BYTES).toString('base64url'),
    clickKey: randomBytes(16).toString('hex'),
    ...passwords(() => randomBytes(PASSWORD_BYTES)),
  };
  writeWhole(file, fresh, (draft) => linkSync(draft, file));
  return readSecrets(file) ?? fresh;
}

/**
 * Adds the passwords that the file of an earlier version lacks. They are derived from what it has, so that processes which
 * add them at the same time write the same.
 */
function completed(file: string, secrets: FirstSecrets & Partial<Secrets>): Secrets {
  const whole = { ...passwords((purpose) => derive(secrets, purpose, PASSWORD_BYTES)), ...secrets };
  if (Object.keys(ADDED_PASSWORDS).some((name) => !(name in secrets))) {
    writeWhole(file, whole, (draft) => renameSync(draft, file));
  }
  return whole;
}

function passwords(make: (purpose: string) => Buffer): Omit<Secrets, keyof FirstSecrets> {
  const made = Object.entries(ADDED_PASSWORDS).map(([name, purpose]) => [
    name,
    make(purpose).toString('base64url'),
  ]);
  return Object.fromEntries(made) as Omit<Secrets, keyof FirstSecrets>;
}

/** Writes a draft and puts it in place: no reader sees a part of it. An existing file is kept where `place` refuses it. */
function writeWhole(file: string, secrets: Secrets, place: (draft: string) => void): void {
  const draft = `${file}.${process.pid}`;
  rmSync(draft, { force: true });
  writeFileSync(draft, `${JSON.stringify(secrets, null, 2)}\n`, { mode: 0o600, flag: 'wx', flush: true });
  try {
    place(draft);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

/** The key that encrypts stored secrets when none is configured: it lasts as long as the file. */
function derivedDataKey(secrets: FirstSecrets): string {
  return derive(secrets, 'afflux data key', 32).toString('hex');
}

function derive({ postgresPassword, clickKey }: FirstSecrets, purpose: string, bytes: number): Buffer {
  return Buffer.from(hkdfSync('sha256', `${postgresPassword} ${clickKey}`, '', purpose, bytes));
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
