import { randomBytes } from 'node:crypto';
import anyAscii from 'any-ascii';
import type { DatabaseSql } from '../postgres/db.ts';

const MAX_REF_CODE_LENGTH = 64;
/** Of erased affiliates, with their id behind it: one that somebody else had would keep its affiliate from being erased. */
export const ERASED_PREFIX = 'erased-';
/** So many namesakes differ by a number. */
const MAX_NUMBER = 100;
/** Any two of the namesakes beyond have the same code once in 10^14. */
const RANDOM_BYTES = 6;
const SUFFIX_LENGTH = 1 + 2 * RANDOM_BYTES;

/** `Bob's Blog` as `bob-s-blog`: read in links and orders. */
export function refCodeOf(name: string): string {
  const words = anyAscii(name)
    .toLowerCase()
    .match(/[a-z0-9]+/g) ?? ['partner'];
  const code = words.join('-');
  // With a number behind it too.
  const isReserved = `${code}-`.startsWith(ERASED_PREFIX);
  return (isReserved ? `partner-${code}` : code).slice(0, MAX_REF_CODE_LENGTH);
}

/** {@link refCodeOf}, with a number where the program has it already, or with something random where many are taken. */
export async function freeRefCode(
  sql: DatabaseSql,
  { programId, name }: { programId: number; name: string },
): Promise<string> {
  const code = refCodeOf(name).slice(0, MAX_REF_CODE_LENGTH - SUFFIX_LENGTH);
  const wanted = [code, ...Array.from({ length: MAX_NUMBER - 1 }, (_, i) => `${code}-${i + 2}`)];
  const taken = await sql<{ refCode: string }[]>`
    select ref_code from affiliates where program_id = ${programId} and ref_code = any(${wanted})`;
  const codes = new Set(taken.map(({ refCode }) => refCode));
  return wanted.find((one) => !codes.has(one)) ?? `${code}-${randomBytes(RANDOM_BYTES).toString('hex')}`;
}
