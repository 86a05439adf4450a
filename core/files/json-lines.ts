import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { createGunzip, createGzip } from 'node:zlib';
import { type MeasuredFile, writeMeasured } from './measured-file.ts';

/** Fast rather than small: the texts of a store shrink to a fifth also at the first level. */
const GZIP_LEVEL = 1;

/** Writes one line a text, compressed by gzip. The texts have no line break. */
export async function writeLines(
  folder: string,
  path: string,
  lines: AsyncIterable<string>,
): Promise<MeasuredFile> {
  const compressed = createGzip({ level: GZIP_LEVEL });
  const source = Readable.from(withBreaks(lines));
  source.on('error', (error) => compressed.destroy(error));
  return await writeMeasured(folder, path, source.pipe(compressed));
}

async function* withBreaks(lines: AsyncIterable<string>): AsyncGenerator<string> {
  for await (const line of lines) yield `${line}\n`;
}

/** The lines of such a file. @throws the disk's error, or that of gzip for a damaged file. */
export async function* readLines(folder: string, path: string): AsyncGenerator<string> {
  const file = createReadStream(join(folder, path));
  const text = createGunzip();
  file.on('error', (error) => text.destroy(error));
  const lines = createInterface({ input: file.pipe(text), crlfDelay: Number.POSITIVE_INFINITY });
  // The interface ends in silence with a failed input.
  let failure: Error | undefined;
  text.on('error', (error) => {
    failure = error;
    lines.close();
  });
  for await (const line of lines) yield line;
  if (failure) throw failure;
}
