import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { brotliDecompress, createGzip, gunzip, gzip, inflate } from 'node:zlib';
import type { FastifyReply, FastifyRequest } from 'fastify';
import Negotiator from 'negotiator';
import type { ApiServer } from '../context.ts';
import { Problem } from '../problems.ts';

/** What a caller takes and sends (RFC 9110, 8.4 and 12.5): formats of answers, and compression both ways. */

const DECODERS = {
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
  deflate: promisify(inflate),
  br: promisify(brotliDecompress),
} as const;

/** No coding, and character sets that shops write there by mistake. */
const PLAIN: ReadonlySet<string> = new Set([
  '',
  'identity',
  'none',
  'utf-8',
  'utf8',
  'us-ascii',
  'iso-8859-1',
]);

/** Calls whose senders cannot be made to write another header. */
const AS_IT_CAME: ReadonlySet<unknown> = new Set(['postback', 'pixel', 'source']);

function hasBody({ headers }: FastifyRequest): boolean {
  return Number(headers['content-length'] ?? 0) > 0 || headers['transfer-encoding'] !== undefined;
}

/** Reads compressed bodies; decoded they have the limit of their route, so that a few bytes cannot become a flood. */
export function installDecoding(app: ApiServer): void {
  app.addHook('preParsing', async (request, _reply, payload) => {
    const coding = (request.headers['content-encoding'] ?? '').trim().toLowerCase();
    if (PLAIN.has(coding) || !hasBody(request)) return payload;
    if (!Object.hasOwn(DECODERS, coding)) {
      // A call of a shop is read as it came, and logged, whatever its headers say.
      if (AS_IT_CAME.has(request.routeOptions.config.logAs)) return payload;
      throw new Problem('unsupported_media_type', {
        detail: `send the body as it is, or with one Content-Encoding among ${Object.keys(DECODERS).join(', ')}`,
        headers: { 'accept-encoding': Object.keys(DECODERS).join(', ') },
      });
    }
    const limit = request.routeOptions.bodyLimit;
    const encoded = await collect(payload, limit);
    const body = await decode(coding as keyof typeof DECODERS, encoded, limit);
    // Fastify compares Content-Length with the length before decoding.
    return Object.assign(Readable.from(body.length === 0 ? [] : [body]), {
      receivedEncodedLength: encoded.length,
    });
  });
}

async function collect(payload: AsyncIterable<Buffer>, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of payload) {
    length += chunk.length;
    if (length > limit) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function decode(coding: keyof typeof DECODERS, encoded: Buffer, limit: number): Promise<Buffer> {
  try {
    return await DECODERS[coding](encoded, { maxOutputLength: limit });
  } catch (error) {
    if ((error as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge();
    throw new Problem('malformed_body', { detail: `the body is not valid ${coding}` });
  }
}

function tooLarge(): Problem {
  return new Problem('body_too_large', { detail: 'the body is larger than this route takes' });
}

/** The format that Accept prefers among `formats`, which are media types by name; the first one when it names none of them. */
export function acceptedFormat<Name extends string>(
  request: FastifyRequest,
  formats: Readonly<Record<Name, string>>,
): Name {
  const types = Object.entries<string>(formats).map(
    ([name, type]) => [name as Name, type.split(';')[0] ?? type] as const,
  );
  const preferred = new Negotiator(request.raw).mediaType(types.map(([, type]) => type));
  const [[first]] = types as [[Name, string]];
  return types.find(([, type]) => type === preferred)?.[0] ?? first;
}

/** Shorter answers fit one packet as they are. */
const MIN_COMPRESSED_BYTES = 1_024;
/** Parquet, PDF and pictures are compressed in themselves; events are sent one by one. */
const COMPRESSIBLE =
  /^(?:text\/(?!event-stream)|application\/(?:[\w.-]+\+)?json|application\/vnd\.apache\.arrow|image\/svg)/;
const compress = promisify(gzip);

/** Whether the answer may be gzip: the header's weights are respected, `gzip;q=0` among them. */
export function takesGzip(request: FastifyRequest): boolean {
  return new Negotiator(request.raw).encoding(['gzip', 'identity']) === 'gzip';
}

/**
 * Compresses answers for callers that take gzip. Not for those with the portal's cookie: the length of a compressed
 * answer tells how much of a secret in it (a CSRF token, a key) is repeated by text beside it, and another site can choose such
 * text in what it makes a browser ask (BREACH). A browser adds the cookie by itself, and never a key.
 */
export function installCompression(app: ApiServer): void {
  app.addHook('onSend', async (request, reply, payload) => {
    if (!isWorthIt(request, reply, payload)) return payload;
    reply.header('vary', 'accept-encoding');
    if (!takesGzip(request)) return payload;
    reply.header('content-encoding', 'gzip').removeHeader('content-length');
    if (payload instanceof Readable) {
      const compressed = createGzip();
      payload.on('error', (error) => compressed.destroy(error));
      compressed.on('close', () => payload.destroy());
      return payload.pipe(compressed);
    }
    return await compress(payload as string | Buffer);
  });
}

function isWorthIt(request: FastifyRequest, reply: FastifyReply, payload: unknown): boolean {
  if (request.session !== undefined || reply.hasHeader('set-cookie')) return false;
  // A strong ETag is of these very bytes.
  if (reply.hasHeader('content-encoding') || reply.hasHeader('etag')) return false;
  if (!COMPRESSIBLE.test(String(reply.getHeader('content-type')))) return false;
  if (payload instanceof Readable) return true;
  const isText = typeof payload === 'string' || Buffer.isBuffer(payload);
  return isText && Buffer.byteLength(payload) >= MIN_COMPRESSED_BYTES;
}
