import type { IncomingMessage } from 'node:http';
import { QueryError } from '../errors.ts';
import { quoteName } from '../sessions/context.ts';
import { tokens } from '../statement/lexer.ts';
import { checkStructure } from '../statement/structure.ts';

/** A table that a request sends along with its query: `name`, and `name_structure` or `name_types`, `name_format`. */
export interface ExternalTable {
  readonly name: string;
  /** `a UInt8, b String` */
  readonly structure: string;
  readonly format: string;
  readonly rows: Buffer;
}

/** A body that is a form (multipart/form-data). */
export interface Form {
  /** Its fields, which are parameters as those of the URL are. */
  readonly fields: URLSearchParams;
  /** Its files: rows of external tables by name. */
  readonly files: ReadonlyMap<string, Buffer>;
}

export const TABLE_SUFFIXES = ['_structure', '_types', '_format'] as const;
/** It is held in memory. Rows by the million are better inserted. */
const MAX_FORM_BYTES = 16 * 1024 ** 2;

/** It becomes part of a query. */
export const FORMAT_NAME = /^\w+$/;

const BAD_ARGUMENTS = 36;
const FORM_TOO_LARGE = 307;

export function isForm({ headers, method }: IncomingMessage): boolean {
  return method === 'POST' && /^multipart\/form-data\b/i.test(headers['content-type'] ?? '');
}

/** @throws QueryError for a form that is malformed or too large. */
export async function readForm(
  message: IncomingMessage,
  body: AsyncIterable<Buffer>,
  maxBytes = MAX_FORM_BYTES,
): Promise<Form> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      throw new QueryError(FORM_TOO_LARGE, `A form of more than ${maxBytes} bytes`, 'TOO_MANY_BYTES');
    }
    chunks.push(chunk);
  }
  const type = message.headers['content-type'] ?? '';
  const parsed = new Response(Buffer.concat(chunks), { headers: { 'Content-Type': type } }).formData();
  const data = await parsed.catch(() => {
    throw new QueryError(BAD_ARGUMENTS, 'The body is no valid multipart/form-data', 'BAD_ARGUMENTS');
  });
  const fields = new URLSearchParams();
  const files = new Map<string, Buffer>();
  for (const [name, value] of data) {
    if (typeof value === 'string') fields.append(name, value);
    else files.set(name, Buffer.from(await value.arrayBuffer()));
  }
  return { fields, files };
}

/** @param given parameters of the URL and the form. @throws QueryError for a table without structure, or with more in it than types. */
export function readTables(files: Form['files'], given: URLSearchParams): ExternalTable[] {
  return [...files].map(([name, rows]) => {
    const types = given.get(`${name}_types`);
    const structure =
      given.get(`${name}_structure`) ??
      (types === null
        ? undefined
        : splitTypes(types)
            .map((type, i) => `_${i + 1} ${type}`)
            .join(', '));
    if (structure === undefined) {
      throw new QueryError(
        BAD_ARGUMENTS,
        `Neither structure nor types are provided for external table ${name}. Use fields ${name}_structure or ${name}_types to do so`,
        'BAD_ARGUMENTS',
      );
    }
    checkStructure(structure);
    const format = given.get(`${name}_format`) ?? 'TabSeparated';
    if (!FORMAT_NAME.test(format)) {
      throw new QueryError(
        BAD_ARGUMENTS,
        `Unknown format ${format} of external table ${name}`,
        'BAD_ARGUMENTS',
      );
    }
    return { name: quoteName(name), structure, format, rows };
  });
}

function splitTypes(types: string): string[] {
  const commas = [...tokens(types)].filter(({ kind, depth }) => kind === ',' && depth === 0);
  const starts = [0, ...commas.map(({ end }) => end)];
  return starts.map((start, i) => types.slice(start, commas[i]?.start));
}
