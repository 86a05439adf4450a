import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync, constants } from 'node:zlib';
import { fromProject } from '../../core/config/paths.ts';

const FOLDER = fromProject('test/fixtures/data-folder');

/** What the packed data folder holds, as its maker counted it. */
export const PACKED = JSON.parse(readFileSync(join(FOLDER, 'expected.json'), 'utf8')) as {
  /** By where they were when the folder was closed. */
  readonly clicks: { readonly loaded: number; readonly inStream: number; readonly inSpool: number };
  readonly books: Readonly<Record<string, number>>;
};

/** One entry of data-folder.br: paths are relative to the data folder, and a folder stands before what it holds. */
interface PackedEntry {
  readonly path: string;
  readonly mode: number;
  readonly folder?: true;
  /** Of a file: bytes. */
  readonly size?: number;
  /** Of a symbolic link: its target. */
  readonly link?: string;
}

/** Unpacks the data folder of an earlier version into `home`. Started by root, the platform hands it to its engines. */
export function unpackDataFolder(home: string): void {
  const content = brotliDecompressSync(readFileSync(join(FOLDER, 'data-folder.br')), {
    params: { [constants.BROTLI_DECODER_PARAM_LARGE_WINDOW]: 1 },
  });
  const endOfList = content.indexOf('\n');
  let offset = endOfList + 1;
  for (const { path, mode, folder, size, link } of JSON.parse(
    content.toString('utf8', 0, endOfList),
  ) as PackedEntry[]) {
    const target = join(home, path);
    if (link !== undefined) symlinkSync(link, target);
    else if (folder) mkdirSync(target, { mode });
    else {
      writeFileSync(target, content.subarray(offset, offset + (size ?? 0)), { mode });
      offset += size ?? 0;
    }
  }
}
