import { type Config, loadConfig } from '../../core/config/config.ts';

/** The configuration of this run: the environment's tools, a data folder of its own. */
export function readConfigFor(home: string): Config {
  return loadConfig({ AFFLUX_HOME: home, NATS_SERVER: process.env.NATS_SERVER });
}
