import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Config, type EnvironmentConfig, loadConfig } from '../core/config/config.ts';
import { fromProject } from '../core/config/paths.ts';
import { withSecretFiles } from '../core/config/secret-files.ts';
import { withGeneratedSecrets } from '../core/config/secrets.ts';
import { OperatingError } from '../core/errors.ts';

/** In AFFLUX_HOME while a restore is under way, or was ended: names the backup. */
export const RESTORE_MARK = 'restore-unfinished.json';

/**
 * The configuration from the environment and the project's `.env` file; variables that are set win over the file.
 * Creates AFFLUX_HOME and its secrets at first start.
 * @throws OperatingError `invalid_config` that lists every fault at once; `home_unusable`; `restore_unfinished`.
 */
export function readConfig(): Config {
  const environment = readEnvironment();
  if (existsSync(join(environment.home, RESTORE_MARK))) {
    throw new OperatingError(
      'restore_unfinished',
      `the restore into ${environment.home} was ended before it was whole: run "afflux backup restore" of the same backup ` +
        'again, which goes on with it',
    );
  }
  return withGeneratedSecrets(environment);
}

/** The same without what the data folder adds; nothing is made. @throws OperatingError `invalid_config`. */
export function readEnvironment(): EnvironmentConfig {
  const file = fromProject('.env');
  if (existsSync(file)) process.loadEnvFile(file);
  return loadConfig(withSecretFiles(process.env));
}

/**
 * The environment of a service that this process starts: it does not get to know the owner of PostgreSQL's schema, and
 * writes its lines as JSON, which this process brings into the form wanted.
 */
export function serviceEnvironment(): NodeJS.ProcessEnv {
  // Empty, not absent: the service reads the .env file too, and what is set wins.
  return {
    ...process.env,
    DATABASE_OWNER_URL: '',
    DATABASE_OWNER_URL_FILE: '',
    LOG_FORMAT: 'json',
    LOG_FORMAT_FILE: '',
  };
}
