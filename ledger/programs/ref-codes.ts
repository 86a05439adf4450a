import anyAscii from 'any-ascii';
import type { DatabaseSql } from '../postgres/db.ts';

const MAX_REF_CODE_LENGTH = 64;
/** Of the number behind a code that is taken: a million namesakes. */
const NUMBER_LENGTH = 7;

/** `Bob's Blog` as `bob-s-blog`: read in links and orders. */
export function refCodeOf(name: string): string {
  const words = anyAscii(name)
    .toLowerCase()
    .match(/[a-z0-9]+/g) ?? ['partner'];
  return words.join('-').slice(0, MAX_REF_CODE_LENGTH);
}

/** {@link refCodeOf}, with a number where the program has it already. */
export async function freeRefCode(
  sql: DatabaseSql,
  { programId, name }: { programId: number; name: string },
): Promise<string> {
  const code = refCodeOf(name).slice(0, MAX_REF_CODE_LENGTH - NUMBER_LENGTH);
  const taken = await sql<{ refCode: string }[]>`
    select ref_code from affiliates
    where program_id = ${programId} and starts_with(ref_code, ${code})`;
  const codes = new Set(taken.map(({ refCode }) => refCode));
  for (let number = 2; ; number++) {
    const free = number === 2 && !codes.has(code) ? code : `${code}-${number}`;
    if (!codes.has(free)) return free;
  }
}
