import { hkdfSync, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OperatingError } from '../errors.ts';
import type { Config, EnvironmentConfig } from './config.ts';

/** Generated at first start, in `$AFFLUX_HOME/secrets.json` (mode 0600). */
interface Secrets {
  readonly postgresPassword: string;
  /** One click key, 32 hexadecimal digits. */
  readonly clickKey: string;
}

/**
 * Completes a configuration by the secrets of its data folder; creates the folder and the secrets at first start.
 * @throws OperatingError `home_unusable`.
 */
export function withGeneratedSecrets(environment: EnvironmentConfig): Config {
  const secrets = readOrCreateSecrets(environment.home);
  const [newestClickKey = secrets.clickKey, ...olderClickKeys] = environment.clickKeys;
  const [newestDataKey = derivedDataKey(secrets), ...olderDataKeys] = environment.dataKeys;
  return Object.freeze({
    ...environment,
    databaseUrl:
      environment.databaseUrl ||
      `postgres://postgres:${secrets.postgresPassword}@127.0.0.1:${environment.postgresPort}/afflux`,
    postgresPassword: secrets.postgresPassword,
    clickKeys: [fromHex(newestClickKey), ...olderClickKeys.map(fromHex)] as const,
    dataKeys: [fromHex(newestDataKey), ...olderDataKeys.map(fromHex)] as const,
  });
}

/** Of two processes that start at once, one creates the secrets and both read the same. */
function readOrCreateSecrets(home: string): Secrets {
  const file = join(home, 'secrets.json');
  try {
    mkdirSync(home, { recursive: true });
    const fresh: Secrets = {
      postgresPassword: randomBytes(24).toString('base64url'),
      clickKey: randomBytes(16).toString('hex'),
    };
    writeFileSync(file, `${JSON.stringify(fresh, null, 2)}\n`, { mode: 0o600, flag: 'wx' });
    return fresh;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw unusableHome(home, error);
  }
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Secrets;
  } catch (error) {
    throw unusableHome(home, error);
  }
}

/** The key that encrypts stored secrets when none is configured: it lasts as long as the file. */
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
