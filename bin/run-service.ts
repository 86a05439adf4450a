import { createLogger } from '../core/log.ts';
import { runProcess } from '../core/service.ts';
import { readConfig } from './environment.ts';
import type { Service } from './services.ts';

/** Runs one of the platform's processes until it is told to stop. */
export async function runService(service: Service): Promise<void> {
  const config = readConfig();
  const log = createLogger({ name: service.name, level: config.logLevel });
  await runProcess(log, () => service.start({ config, log }));
}
