import { createLogger } from '../../core/service/log.ts';
import { logFormat } from '../../core/service/log-lines.ts';
import { runProcess } from '../../core/service/service.ts';
import { readConfig } from '../environment.ts';
import type { Service } from '../services.ts';

/** Runs one of the platform's processes until it is stopped; `slot` is a collector's, one of several workers. */
export async function runService(service: Service, slot?: number): Promise<void> {
  const config = readConfig();
  const log = createLogger({
    name: service.name,
    level: config.logLevel,
    format: logFormat(config.logFormat),
  });
  await runProcess(log, (stopping) =>
    service.start({ config, log, stopping, ...(slot !== undefined && { slot }) }),
  );
}
