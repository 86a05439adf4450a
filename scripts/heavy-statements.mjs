// A migration of the ledger from 0053 on holds no lock on a large table while it reads or writes all of it: `ALTER TABLE` and
// its like block every order until they are done. Where it must, the comment above the statement says why it may:
// `-- large table: …`.
import { readFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';

/** Of the ledger: they grow with orders, calls or clicks, to 10⁷ rows and more. */
const LARGE_TABLES = [
  'audit_log',
  'commission_lines',
  'commissions',
  'conversions',
  'entries',
  'journals',
  'order_changes',
  'order_names',
  'payout_items',
  'payouts',
  'postback_calls',
  'refunds',
  'webhook_attempts',
  'webhook_deliveries',
  'webhook_events',
];
/** Files before this one were applied somewhere, and never change. */
const FIRST_WATCHED = '0053';
const LARGE = `(?:public\\.)?"?(${LARGE_TABLES.join('|')})"?`;
const ALTER = `alter table (?:if exists )?(?:only )?${LARGE}(?= )`;
/** Statements in lower case with single spaces; each with what it does to the table of its first group. */
const HEAVY = [
  [`${ALTER}[^;]* (?:set data )?type `, 'rewrites it'],
  [`${ALTER}[^;]* set (?:logged|unlogged|tablespace|access method)`, 'rewrites it'],
  [`${ALTER}[^;]* add (?:column )?(?!constraint)[^;,]* generated always as \\(`, 'rewrites it'],
  [
    `${ALTER}[^;]* add (?:column )?(?!constraint)[^;,]* default [^,;]*\\(`,
    'rewrites it, unless the default is a constant',
  ],
  [`${ALTER}[^;]* set not null`, 'reads all of it, unless a validated check says so already'],
  [
    `${ALTER}[^;]* (?:check \\(|references )(?![^;]* not valid)`,
    'reads all of it: add the constraint "not valid", and validate it in a later file',
  ],
  [
    `${ALTER}[^;]* (?:unique|primary key|exclude)(?! using index)`,
    'builds an index without any writes meanwhile',
  ],
  [
    `create (?:unique )?index [^;]*on (?:only )?${LARGE}(?= )`,
    'reads all of it without any writes meanwhile',
  ],
  [
    `(?:update (?:only )?|delete from (?:only )?|truncate (?:table )?|lock (?:table )?|cluster |reindex table )${LARGE}(?= |$)`,
    'may change or lock every row of it',
  ],
];

/** What a migration does to large tables without a reason; of another store than the ledger nothing is known. */
export function heavyStatements(path) {
  if (basename(path) < FIRST_WATCHED || /\bwarehouse\b/.test(dirname(path))) return [];
  const text = readFileSync(path, 'utf8');
  const created = new Set([...text.matchAll(/^create table (\w+)/gm)].map(([, name]) => name));
  return splitStatements(text).flatMap(({ sql, comment, line }) => {
    // What a function does is done when it is called.
    if (/^create (or replace )?(function|procedure|view|trigger|constraint trigger) /.test(sql)) return [];
    if (/-- large table: \S/.test(comment)) return [];
    const [found] = HEAVY.flatMap(([pattern, effect]) => {
      const table = new RegExp(pattern).exec(sql)?.[1];
      return table === undefined || created.has(table) ? [] : [{ table, effect }];
    });
    if (!found) return [];
    const { table, effect } = found;
    return [
      `${path}:${line}: the statement on the large table ${table} ${effect}. Find another way, or say above it why it may: "-- large table: …"`,
    ];
  });
}

/** Statements in lower case with single spaces and without comments, each with the comments before and in it. */
function splitStatements(text) {
  const tokens = /--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'|(\$\w*\$)[\s\S]*?\1|;|\n|[^;'$\n-]+|[\s\S]/g;
  const statements = [];
  let sql = '';
  let comment = '';
  let line = 1;
  let start = 1;
  for (const [token] of text.matchAll(tokens)) {
    if (token.startsWith('--')) comment += `${token}\n`;
    else if (token === ';') {
      statements.push({ sql: sql.toLowerCase().replace(/\s+/g, ' ').trim(), comment, line: start });
      sql = '';
      comment = '';
    } else if (!token.startsWith('/*')) {
      if (sql.trim() === '') start = line;
      sql += token.startsWith("'") ? "''" : token.replace(/--[^\n]*/g, ' ');
    }
    line += token.split('\n').length - 1;
  }
  return statements;
}
