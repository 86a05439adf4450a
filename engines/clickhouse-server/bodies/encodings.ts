import type { IncomingHttpHeaders } from 'node:http';
import { type Duplex, pipeline, Readable } from 'node:stream';
import * as zlib from 'node:zlib';
import Negotiator from 'negotiator';
import { QueryError } from '../errors.ts';
import { packLz4Frame, unpackLz4Frames } from './lz4-frame.ts';
import { unpackZstdFrames } from './zstd-frames.ts';

/** A stage of a stream: what comes out of it for what goes in. */
export type Stage = (source: AsyncIterable<Buffer>) => AsyncIterable<Buffer>;

/** A codec of node:zlib as a stage. */
function stageOf(create: () => NodeJS.ReadWriteStream): Stage {
  return (source) => {
    const codec = create() as Duplex;
    // What ends the source ends the codec too, with the same error, which its reader gets.
    pipeline(Readable.from(source, { objectMode: false }), codec, () => undefined);
    return codec;
  };
}

/** Encodings of bodies. Node itself has zstd from 22.15 on; ours are the same on every version. */
const DECODERS: Readonly<Record<string, Stage>> = {
  gzip: stageOf(zlib.createGunzip),
  deflate: stageOf(zlib.createInflate),
  br: stageOf(zlib.createBrotliDecompress),
  lz4: unpackLz4Frames,
  zstd: unpackZstdFrames,
};

/** Encodings of answers. */
const ENCODERS = {
  lz4: packLz4Frame,
  gzip: stageOf(() => zlib.createGzip({ level: zlib.constants.Z_BEST_SPEED })),
  deflate: stageOf(() => zlib.createDeflate({ level: zlib.constants.Z_BEST_SPEED })),
  br: stageOf(() => zlib.createBrotliCompress({ params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } })),
} as const satisfies Record<string, Stage>;

export type AnswerEncoding = keyof typeof ENCODERS;

const NOT_IMPLEMENTED = 48;
const CANNOT_DECOMPRESS = 271;

/** The encoding that a client asks for by its Accept-Encoding; undefined for none. */
export function chooseEncoding(headers: IncomingHttpHeaders): AnswerEncoding | undefined {
  if (headers['accept-encoding'] === undefined) return undefined;
  const chosen = new Negotiator({ headers }).encoding([...Object.keys(ENCODERS), 'identity']);
  return chosen === undefined || chosen === 'identity' ? undefined : (chosen as AnswerEncoding);
}

export function encode(encoding: AnswerEncoding, source: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  return ENCODERS[encoding](source);
}

/**
 * A body without its Content-Encoding.
 * @throws QueryError for an unknown encoding at once, for damaged data while it is read.
 */
export function decode(encoding: string | undefined, source: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  if (encoding === undefined || encoding === '' || encoding === 'identity') return source;
  const decoder = DECODERS[encoding];
  if (!decoder) {
    throw new QueryError(NOT_IMPLEMENTED, `Unknown compression method: ${encoding}`, 'NOT_IMPLEMENTED');
  }
  return explained(encoding, decoder(source));
}

async function* explained(encoding: string, content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* content;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // The client that vanished is no matter of the encoding.
    if (error instanceof QueryError || code === 'ECONNRESET') throw error;
    throw new QueryError(
      CANNOT_DECOMPRESS,
      `Cannot decompress the request, Content-Encoding ${encoding}: ${message}`,
      'CANNOT_DECOMPRESS',
    );
  }
}
