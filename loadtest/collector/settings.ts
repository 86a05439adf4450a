import { type Config, loadConfig } from '../../core/config/config.ts';
import { withGeneratedSecrets } from '../../core/config/secrets.ts';

/** The configuration of this run: the environment's tools, a data folder of its own, which is created. */
export function readConfigFor(home: string): Config {
  return withGeneratedSecrets(loadConfig({ AFFLUX_HOME: home, NATS_SERVER: process.env.NATS_SERVER }));
}
