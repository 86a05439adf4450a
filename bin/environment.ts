import { existsSync } from 'node:fs';
import { type Config, loadConfig } from '../core/config/config.ts';
import { fromProject } from '../core/config/paths.ts';
import { withSecretFiles } from '../core/config/secret-files.ts';
import { withGeneratedSecrets } from '../core/config/secrets.ts';

/**
 * The configuration from the environment and the project's `.env` file; variables that are set win over the file.
 * Creates AFFLUX_HOME and its secrets at first start.
 * @throws OperatingError `invalid_config` that lists every fault at once; `home_unusable`.
 */
export function readConfig(): Config {
  const file = fromProject('.env');
  if (existsSync(file)) process.loadEnvFile(file);
  return withGeneratedSecrets(loadConfig(withSecretFiles(process.env)));
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
