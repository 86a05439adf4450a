import { existsSync } from 'node:fs';
import { type Config, loadConfig } from '../core/config/config.ts';
import { fromProject } from '../core/config/paths.ts';

/**
 * The configuration from the environment and the project's `.env` file; variables that are set win over the file.
 * @throws OperatingError `invalid_config` that lists every fault at once.
 */
export function readConfig(): Config {
  const file = fromProject('.env');
  if (existsSync(file)) process.loadEnvFile(file);
  return loadConfig(process.env);
}
