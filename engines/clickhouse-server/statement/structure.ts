import { refused } from './access.ts';
import { tokens } from './lexer.ts';

/** What can follow a column's name or type beside the type, most of it with an expression. */
const COLUMN_CLAUSES = new Set([
  'ALIAS',
  'CODEC',
  'COLLATE',
  'COMMENT',
  'DEFAULT',
  'EPHEMERAL',
  'MATERIALIZED',
  'PRIMARY',
  'SETTINGS',
  'STATISTICS',
  'TTL',
]);

/**
 * Checks the structure of rows that come with a request: names and types of columns, `a UInt8, b Array(String)`. The engine
 * computes an expression of constants, such as a DEFAULT, while it reads the structure, and its errors show the value.
 * @throws QueryError 497 for anything else, also for what the lexer does not know.
 */
export function checkStructure(structure: string): void {
  const text = Buffer.from(structure).toString('latin1');
  let isName = true;
  for (const { kind, word, depth } of tokens(text)) {
    if (depth < 0) throw refused('a bracket that nothing opened in a structure');
    // Within brackets are the arguments of a type, which the engine takes as literals and types.
    if (depth > 0) continue;
    if (kind === ',') isName = true;
    else if (isName) {
      // A table in a table has a dot in the names of its columns.
      if (kind !== 'word' && kind !== 'name') throw refused(`${kind} in the place of a column's name`);
      isName = false;
    } else if (COLUMN_CLAUSES.has(word)) throw refused(`${word} in a structure`);
    else if (!['word', 'name', '.', '(', ')'].includes(kind)) throw refused(`${kind} in a structure`);
  }
}
