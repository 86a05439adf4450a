import type { FastifyRequest } from 'fastify';
import { jsonFault } from '../schemas/json-text.ts';
import type { ApiServer } from './context.ts';
import { Problem } from './problems.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** The bytes of the body, for signatures and repeated requests. */
    rawBody: Buffer | undefined;
  }
}

/** How bodies and query strings become values, before any schema sees them. */

/** An order with every field at its longest takes 10 KiB; a larger body is a mistake or an attack. */
export const MAX_BODY_BYTES = 64 * 1024;

/** Understands JSON in well-formed UTF-8 that everybody reads alike and nothing else; an empty body is no body. */
export function installJsonBodies(app: ApiServer): void {
  app.removeAllContentTypeParsers();
  app.decorateRequest('rawBody', undefined);
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    async (request: FastifyRequest, body: Buffer) => {
      request.rawBody = body;
      if (body.length === 0) return undefined;
      const text = decodeUtf8(body);
      return await new Promise((resolve, reject) => {
        parseJson(request, text, (error, value) => {
          const fault = error ? 'is not valid JSON' : jsonFault(text);
          if (fault) reject(malformedBody(`the body ${fault}`));
          else resolve(value);
        });
      });
    },
  );
}

/** Understands forms as well, for the routes of `scope`. */
export function installFormBodies(scope: ApiServer): void {
  scope.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'buffer' },
    async (request: FastifyRequest, body: Buffer) => {
      request.rawBody = body;
      return parseForm(decodeUtf8(body));
    },
  );
}

/** Understands CSV in UTF-8 or UTF-16, or other types of text, as text, for the routes of `scope`. */
export function installTextBodies(scope: ApiServer, ...types: readonly string[]): void {
  scope.addContentTypeParser(
    [...types],
    { parseAs: 'buffer' },
    async (request: FastifyRequest, body: Buffer) => {
      request.rawBody = body;
      return decodeText(body);
    },
  );
}

/** Spreadsheets save "Unicode text" as UTF-16: with a byte order mark, else known by the zeros beside its first letter. */
function decodeText(bytes: Buffer): string {
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first !== 0 && second === 0))
    return decodeAs('utf-16le', bytes);
  if ((first === 0xfe && second === 0xff) || (first === 0 && second !== 0))
    return decodeAs('utf-16be', bytes);
  try {
    return decodeUtf8(bytes);
  } catch {
    throw malformedBody(
      'the body is not valid UTF-8, perhaps Latin-1 or Windows-1252: save the file as "CSV UTF-8"',
    );
  }
}

function decodeAs(encoding: 'utf-16le' | 'utf-16be', bytes: Buffer): string {
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    throw malformedBody(`the body is not valid ${encoding.toUpperCase()}`);
  }
}

/** `a=1&b=2` as an object. A name that comes twice becomes a list, which no schema takes for text. */
export function parseForm(text: string): Record<string, string | string[]> {
  const form: Record<string, string | string[]> = Object.create(null);
  for (const [name, value] of new URLSearchParams(text)) {
    const earlier = form[name];
    if (earlier === undefined) form[name] = value;
    else if (Array.isArray(earlier)) earlier.push(value);
    else form[name] = [earlier, value];
  }
  return form;
}

function decodeUtf8(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw malformedBody('the body is not valid UTF-8');
  }
}

function malformedBody(detail: string): Problem {
  return new Problem('malformed_body', { detail });
}
