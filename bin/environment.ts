import { existsSync } from 'node:fs';
import { type Config, loadConfig } from '../core/config/config.ts';
import { fromProject } from '../core/config/paths.ts';
import { withGeneratedSecrets } from '../core/config/secrets.ts';

/**
 * The configuration from the environment and the project's `.env` file; variables that are set win over the file.
 * Creates AFFLUX_HOME and its secrets at first start.
 * @throws OperatingError `invalid_config` that lists every fault at once; `home_unusable`.
 */
export function readConfig(): Config {
  const file = fromProject('.env');
  if (existsSync(file)) process.loadEnvFile(file);
  return withGeneratedSecrets(loadConfig(process.env));
}
