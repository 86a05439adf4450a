import type uWebSockets from 'uWebSockets.js';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { type Binary, chooseBinary, type Machine, unavailable } from './binaries.ts';
import { withoutGlibc238 } from './elf.ts';

export type Uws = typeof uWebSockets;

const require = createRequire(import.meta.url);
let loaded: Uws | undefined;

/** What this process runs on. */
export function thisMachine(): Machine {
  const { platform, arch, versions } = process;
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  const version = /^(\d+)\.(\d+)/.exec(header.glibcVersionRuntime ?? '');
  const glibc = version ? ([Number(version[1]), Number(version[2])] as const) : undefined;
  return { platform, arch, abi: versions.modules, glibc };
}

/** The bytes of a library as the package has them. @throws OperatingError `server_unavailable` when they are not the pinned ones. */
export function readBinary(binary: Binary): { readonly path: string; readonly bytes: Buffer } {
  const path = join(dirname(require.resolve(binary.package)), binary.file);
  const bytes = readFileSync(path);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  if (sha256 !== binary.sha256) {
    throw unavailable(`${path} has the SHA-256 ${sha256}, not ${binary.sha256}; run "npm ci"`);
  }
  return { path, bytes };
}

/**
 * uWebSockets.js for this machine, the same for the whole process: the first call decides. A corrected copy lies in
 * `folder` only while it is being loaded; the package is never changed.
 * @param options.maxHeaderBytes limit of request line and headers together; the library reads it when it is loaded
 * @throws OperatingError `server_unavailable`, which says what would work.
 */
export function loadUws(options: { folder: string; maxHeaderBytes: number }): Uws {
  if (loaded) return loaded;
  const binary = chooseBinary(thisMachine());
  const { path, bytes } = readBinary(binary);
  process.env.UWS_HTTP_MAX_HEADERS_SIZE = String(options.maxHeaderBytes);
  if (!binary.corrected) {
    loaded = open(path);
    return loaded;
  }
  mkdirSync(options.folder, { recursive: true });
  const copyFolder = mkdtempSync(join(options.folder, 'uws-'));
  try {
    const copy = join(copyFolder, binary.file);
    writeFileSync(copy, withoutGlibc238(bytes), { mode: 0o500 });
    loaded = open(copy);
    return loaded;
  } finally {
    rmSync(copyFolder, { recursive: true });
  }
}

function open(path: string): Uws {
  const module = { exports: {} as Uws };
  try {
    process.dlopen(module, path);
  } catch (error) {
    throw unavailable((error as Error).message);
  }
  return module.exports;
}
