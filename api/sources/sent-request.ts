import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { InputError } from '../../core/errors.ts';
import type { SecretBox } from '../../core/secret-box.ts';
import { parseForm } from '../http/bodies.ts';
import type { Sent } from '../mapping/paths.ts';
import { jsonFault } from '../schemas/json-text.ts';

/** A call of a source: as it came, as it is stored, and as values. */

export interface SentRequest {
  readonly method: string;
  /** Without the question mark, as it came. */
  readonly query: string;
  /** Those that matter: see {@link keptHeaders}. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** The body, the parameters and the headers of a call as values. */
export interface SentValues {
  readonly body: Sent;
  readonly query: Sent;
  readonly headers: Sent;
}

/** An order of a shop with a hundred lines takes 100 KB; the largest seen of Shopify are some 500 KB. */
export const MAX_SOURCE_BODY_BYTES = 1024 * 1024;
/** Parts of a form. */
const MAX_PARTS = 1_000;
const MAX_HEADER_LENGTH = 1_000;

const KEPT_HEADERS = /^(?:content-type|user-agent|stripe-signature|x-shopify-.{1,60}|x-wc-.{1,60})$/;

/** Headers that say what a call is and who signed it; not those that carry credentials of others. */
export function keptHeaders(
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => KEPT_HEADERS.test(name))
      .map(([name, value]) => [name, String(value).slice(0, MAX_HEADER_LENGTH)]),
  );
}

const PURPOSE = 'source call';
const compress = promisify(gzip);
const expand = promisify(gunzip);

/** The request as it is stored: it holds who bought, so it is encrypted; compressed, as JSON shrinks to a fifth. */
export async function packRequest(secretBox: SecretBox, { body, ...rest }: SentRequest): Promise<Buffer> {
  const text = JSON.stringify({ ...rest, body: body.toString('base64') });
  return secretBox.encrypt(PURPOSE, (await compress(text, { level: 1 })).toString('base64'));
}

export async function unpackRequest(secretBox: SecretBox, packed: Buffer): Promise<SentRequest> {
  const bytes = Buffer.from(secretBox.decrypt(PURPOSE, packed), 'base64');
  const { body, ...rest } = JSON.parse((await expand(bytes)).toString()) as Omit<SentRequest, 'body'> & {
    body: string;
  };
  return { ...rest, body: Buffer.from(body, 'base64') };
}

/** What was sent, by the type it names or, where that is missing or wrong, by how it begins. @throws InputError naming `body`. */
export async function valuesOf({ query, headers, body }: SentRequest): Promise<SentValues> {
  const parameters = parseForm(query);
  const given = body.length === 0 ? parameters : await bodyValues(body, headers['content-type'] ?? '');
  return { body: given, query: parameters, headers };
}

async function bodyValues(body: Buffer, contentType: string): Promise<Sent> {
  if (/^multipart\/form-data\b/i.test(contentType)) return await multipartValues(body, contentType);
  const text = decoded(body);
  const isForm = /^application\/x-www-form-urlencoded\b/i.test(contentType);
  if (/^\s*[[{]/.test(text) && !isForm) return jsonValues(text);
  if (/^(?:application|text)\/(?:[\w.+-]*\+)?json\b/i.test(contentType)) return jsonValues(text);
  return parseForm(text);
}

function decoded(body: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    throw new InputError('body', 'is not valid UTF-8');
  }
}

async function multipartValues(body: Buffer, contentType: string): Promise<Sent> {
  const headers = { 'content-type': contentType };
  const form = await new Response(new Uint8Array(body), { headers }).formData().catch(() => {
    throw new InputError('body', 'is not a valid multipart form');
  });
  const values: Record<string, string> = Object.create(null);
  for (const [name, value] of [...form].slice(0, MAX_PARTS)) {
    // A file is no parameter.
    if (typeof value === 'string') values[name] ??= value;
  }
  return values;
}

function jsonValues(text: string): Sent {
  const valid = isJson(text);
  const fault = valid ? jsonFault(text) : 'is not valid JSON';
  if (fault !== undefined) throw new InputError('body', fault);
  return JSON.parse(numbersAsText(text)) as Sent;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

const NUMBER = /[\d.eE+-]+/y;
const BEGINS_NUMBER = /[\d-]/;

/** Valid JSON with each number as text: ids of 64 bits and amounts keep every digit. */
function numbersAsText(json: string): string {
  const pieces: string[] = [];
  let from = 0;
  for (let at = 0; at < json.length; at++) {
    const character = json[at] as string;
    if (character === '"') {
      for (at++; json[at] !== '"'; at++) if (json[at] === '\\') at++;
    } else if (BEGINS_NUMBER.test(character)) {
      NUMBER.lastIndex = at;
      const [number = ''] = NUMBER.exec(json) ?? [];
      pieces.push(json.slice(from, at), '"', number, '"');
      from = at + number.length;
      at = from - 1;
    }
  }
  pieces.push(json.slice(from));
  return pieces.join('');
}
