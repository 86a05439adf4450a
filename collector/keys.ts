import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { errorText, OperatingError } from '../core/errors.ts';
import {
  fingerprintsOf,
  type ProcessKeys,
  requireKeys,
  verifyPlatformKeys,
} from '../core/keys/platform-keys.ts';
import type { Postgres } from '../core/postgres/postgres.ts';
import type { Logger } from '../core/service/log.ts';

/** Whether the click keys of this collector are the platform's. */
export interface KeyCheck {
  /** Why they are not; '' as long as nothing is known against them. */
  readonly fault: string;
  /**
   * Compares them with the platform's; to be called before links are read from PostgreSQL.
   * @throws OperatingError `keys_differ`, or PostgreSQL's while it is unavailable.
   */
  verify(): Promise<void>;
}

/** A start waits so long for PostgreSQL before it goes by what was confirmed to the last run. */
const START_WAIT_MS = 3_000;

/**
 * Compares the click keys with the platform's at the start. While PostgreSQL is unavailable the fingerprints that it
 * confirmed to an earlier run, in `file`, decide; PostgreSQL is then asked when it is back. Keys that it refuses by then
 * make the collector unready instead of ending it: they had been the platform's, so its clicks can be read.
 * @throws OperatingError `keys_differ`, and what the session's check says.
 */
export async function openKeyCheck(options: {
  sql: Postgres;
  keys: ProcessKeys;
  file: string;
  log: Logger;
}): Promise<KeyCheck> {
  const { sql, keys, file, log } = options;
  let fault = '';
  let wasConfirmed = false;

  async function ask(): Promise<void> {
    await verifyPlatformKeys(sql, [keys]);
    fault = '';
    await writeConfirmed(file, fingerprintsOf(keys)).catch((error: unknown) =>
      log.warn({ reason: errorText(error) }, 'the fingerprints of the click keys cannot be kept'),
    );
  }

  async function verify(): Promise<void> {
    try {
      await ask();
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      fault = error.message;
      log.error({ code: error.code }, fault);
      if (!wasConfirmed) throw error;
    }
  }

  try {
    await Promise.race([
      ask(),
      delay(START_WAIT_MS, undefined, { ref: false }).then(() => Promise.reject(new Error('no answer yet'))),
    ]);
  } catch (error) {
    if (error instanceof OperatingError) throw error;
    const confirmed = await readConfirmed(file);
    requireKeys(keys, confirmed);
    wasConfirmed = confirmed.length > 0;
    log.warn({ reason: errorText(error), wasConfirmed }, 'PostgreSQL does not confirm the click keys yet');
  }
  return {
    get fault() {
      return fault;
    },
    verify,
  };
}

async function readConfirmed(file: string): Promise<string[]> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as string[];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new OperatingError('state_unreadable', `${file} cannot be read: ${errorText(error)}. Remove it`, {
      cause: error,
    });
  }
}

async function writeConfirmed(file: string, fingerprints: readonly string[]): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.new`, `${JSON.stringify(fingerprints)}\n`, { mode: 0o600, flush: true });
  await rename(`${file}.new`, file);
}
