import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** A file of a folder that is carried elsewhere, with what proves that it arrived as it was written. */
export interface MeasuredFile {
  /** Relative to the folder, with `/`. */
  readonly path: string;
  readonly bytes: number;
  /** Hexadecimal. */
  readonly sha256: string;
}

type Source = Readable | AsyncIterable<Buffer | string>;

/** Writes a new file, synced to the disk, for its owner alone. @throws the disk's error, such as ENOSPC. */
export async function writeMeasured(folder: string, path: string, source: Source): Promise<MeasuredFile> {
  const file = join(folder, path);
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const measure = createMeasure();
  await pipeline(source, measure.observe, createWriteStream(file, { flags: 'wx', mode: 0o600, flush: true }));
  return { path, ...measure.result() };
}

/** What a file is now. @throws the disk's error, such as ENOENT. */
export async function measureFile(folder: string, path: string): Promise<MeasuredFile> {
  const measure = createMeasure();
  await pipeline(createReadStream(join(folder, path)), measure.observe, async (chunks) => {
    for await (const _ of chunks);
  });
  return { path, ...measure.result() };
}

function createMeasure() {
  const hash = createHash('sha256');
  let bytes = 0;
  return {
    async *observe(chunks: AsyncIterable<Buffer | string>): AsyncGenerator<Buffer> {
      for await (const chunk of chunks) {
        const data = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
        hash.update(data);
        bytes += data.length;
        yield data;
      }
    },
    result: () => ({ bytes, sha256: hash.digest('hex') }),
  };
}
