import type { Config } from '../../core/config/config.ts';
import { OperatingError } from '../../core/errors.ts';
import type { Logger } from '../../core/service/log.ts';
import type { Engine } from '../../engines/engine.ts';
import { lockHome } from '../supervisor/home-lock.ts';
import { chooseEngines } from '../supervisor/start-engines.ts';

/**
 * Runs `work` with the engines of the data folder: those of a platform that runs, else the embedded ones are started for
 * it and stopped after it. With `alone` a platform that runs is refused.
 * @throws OperatingError `already_running`, and what the start of an engine throws.
 */
export async function withEngines<T>(
  options: { config: Config; log: Logger; alone: boolean },
  work: () => Promise<T>,
): Promise<T> {
  const { config, log, alone } = options;
  const lock = takeHome(config.home, alone);
  if (!lock) return await work();
  const started: Engine[] = [];
  try {
    for (const { start } of chooseEngines(config)) if (start) started.push(await start(log, {}));
    return await work();
  } finally {
    await Promise.all(started.map((engine) => engine.stop()));
    lock.release();
  }
}

function takeHome(home: string, alone: boolean): ReturnType<typeof lockHome> | undefined {
  try {
    return lockHome(home);
  } catch (error) {
    if (!alone && error instanceof OperatingError && error.code === 'already_running') return undefined;
    throw error;
  }
}
