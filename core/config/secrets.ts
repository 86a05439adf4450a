import { hkdfSync, randomBytes } from 'node:crypto';
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OperatingError } from '../errors.ts';
import type { Config, EnvironmentConfig } from './config.ts';
import { openHome } from './home.ts';

/** Generated at first start, in `$AFFLUX_HOME/secrets.json` (mode 0600). */
interface Secrets {
  readonly postgresPassword: string;
  /** One click key, 32 hexadecimal digits. */
  readonly clickKey: string;
  readonly clickhousePassword: string;
  readonly natsPassword: string;
}

/** What every secrets.json has held from the first version on. */
type FirstSecrets = Pick<Secrets, 'postgresPassword' | 'clickKey'>;

/** The only user of the embedded ClickHouse, by the engine's own name for it. */
export const CLICKHOUSE_USER = 'default';
/** The only user of the embedded NATS. */
export const NATS_USER = 'afflux';

/**
 * Completes a configuration by the secrets of its data folder; creates the folder and the secrets at first start.
 * @throws OperatingError `home_unusable`.
 */
export function withGeneratedSecrets(environment: EnvironmentConfig): Config {
  const secrets = readOrCreateSecrets(environment.home);
  const { postgresPassword, clickhousePassword, natsPassword } = secrets;
  const { postgresPort, clickhousePort, natsPort } = environment;
  const [newestClickKey = secrets.clickKey, ...olderClickKeys] = environment.clickKeys;
  const [newestDataKey = derivedDataKey(secrets), ...olderDataKeys] = environment.dataKeys;
  return Object.freeze({
    ...environment,
    databaseUrl:
      environment.databaseUrl || `postgres://postgres:${postgresPassword}@127.0.0.1:${postgresPort}/afflux`,
    clickhouseUrl:
      environment.clickhouseUrl ||
      `http://${CLICKHOUSE_USER}:${clickhousePassword}@127.0.0.1:${clickhousePort}/afflux`,
    natsUrl: environment.natsUrl || `nats://${NATS_USER}:${natsPassword}@127.0.0.1:${natsPort}`,
    postgresPassword,
    clickhousePassword,
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
  const fresh: Secrets = {
    postgresPassword: randomBytes(24).toString('base64url'),
    clickKey: randomBytes(16).toString('hex'),
    clickhousePassword: randomBytes(24).toString('base64url'),
    natsPassword: randomBytes(24).toString('base64url'),
  };
  writeWhole(file, fresh, (draft) => linkSync(draft, file));
  return readSecrets(file) ?? fresh;
}

/**
 * Adds the passwords that a file of 1.0.0-alpha.1 lacks. They are derived from what it has, so that processes which add
 * them at the same time write the same.
 */
function completed(file: string, secrets: FirstSecrets & Partial<Secrets>): Secrets {
  if (secrets.clickhousePassword && secrets.natsPassword) return secrets as Secrets;
  const whole: Secrets = {
    ...secrets,
    clickhousePassword:
      secrets.clickhousePassword || derive(secrets, 'afflux ClickHouse password', 24).toString('base64url'),
    natsPassword: secrets.natsPassword || derive(secrets, 'afflux NATS password', 24).toString('base64url'),
  };
  writeWhole(file, whole, (draft) => renameSync(draft, file));
  return whole;
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
