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
const LARGE = `(?:public\\.)?"?(${LARGE_TABLES.join('|')})"?(?=[ (,;]|$)`;
const TABLE = '(?:if exists )?(?:only )?';
/** Clauses of an `alter table` of a large table, each for itself. */
const HEAVY_CLAUSES = [
  [/ (?:set data )?type /, 'rewrites it'],
  [/^set (?:logged|unlogged|tablespace|access method)/, 'rewrites it'],
  [/^add (?:column )?(?!constraint).* generated always as \(/, 'rewrites it'],
  [/^add (?:column )?(?!constraint).* default .*\(/, 'rewrites it, unless the default is a constant'],
  [/ set not null/, 'reads all of it, unless a validated check says so already'],
  [
    /(?:\bcheck ?\(|\breferences )(?!.* not valid)/,
    'reads all of it: add the constraint "not valid", and validate it in a later file',
  ],
  [/\b(?:unique|primary key|exclude)(?! using index)/, 'builds an index without any writes meanwhile'],
];
/** Statements in lower case with single spaces; each with what it does to the table of its first group. */
const HEAVY = [
  [`create (?:unique )?index [^;]*?on (?:only )?${LARGE}`, 'reads all of it without any writes meanwhile'],
  [
    `alter table ${TABLE}[^;]*? references ${LARGE}`,
    'keeps everybody from writing to the table it refers to until the file is done',
  ],
  [
    `(?:update (?:only )?|delete from (?:only )?|merge into (?:only )?|truncate (?:table )?(?:[^;]*, ?)?|lock (?:table )?(?:[^;]*, ?)?|cluster |reindex table )${LARGE}`,
    'may change or lock every row of it',
  ],
].map(([pattern, effect]) => [new RegExp(pattern, 'g'), effect]);
const ALTER = new RegExp(`alter table ${TABLE}${LARGE} ([^;]*)`, 'g');
const FUNCTION = /^create (?:or replace )?(?:function|procedure) (?:public\.)?(\w+)/;

/** What a migration does to large tables without a reason; of another store than the ledger nothing is known. */
export function heavyStatements(path) {
  if (basename(path) < FIRST_WATCHED || /\bwarehouse\b/.test(dirname(path))) return [];
  const text = readFileSync(path, 'utf8');
  const created = new Set([...text.matchAll(/^create table (\w+)/gm)].map(([, name]) => name));
  /** Of this file: constraints that are not valid yet, and functions with what they do when they are called. */
  const file = { unproven: new Set(), functions: new Map() };
  return splitStatements(text).flatMap(({ sql, comment, line }) => {
    const found = effectsOf(sql, file).find(({ table }) => !created.has(table));
    const [, name] = FUNCTION.exec(sql) ?? [];
    if (name !== undefined) {
      if (found) file.functions.set(name, found);
      return [];
    }
    if (!found || /^create (or replace )?(view|trigger|constraint trigger) /.test(sql)) return [];
    if (/-- large table: \S/.test(comment)) return [];
    const { table, effect } = found;
    return [
      `${path}:${line}: the statement on the large table ${table} ${effect}. Find another way, or say above it why it may: "-- large table: …"`,
    ];
  });
}

function effectsOf(sql, { unproven, functions }) {
  const clauses = [...sql.matchAll(ALTER)].flatMap(([, table, rest]) =>
    clausesOf(rest).flatMap((clause) => {
      const [, added] = /^add constraint (\S+) .* not valid/.exec(clause) ?? [];
      if (added !== undefined) unproven.add(added);
      const [, proven] = /^validate constraint (\S+)/.exec(clause) ?? [];
      if (unproven.has(proven))
        return [
          {
            table,
            effect: 'reads all of it under the lock of adding the constraint: validate it in a later file',
          },
        ];
      return HEAVY_CLAUSES.flatMap(([pattern, effect]) => (pattern.test(clause) ? [{ table, effect }] : []));
    }),
  );
  const whole = HEAVY.flatMap(([pattern, effect]) =>
    [...sql.matchAll(pattern)].map(([, table]) => ({ table, effect })),
  );
  const called = [...functions].flatMap(([name, effect]) =>
    new RegExp(`\\b${name} ?\\(`).test(sql) ? [effect] : [],
  );
  return [...clauses, ...whole, ...called];
}

/** What stands between commas outside of brackets. */
function clausesOf(text) {
  const clauses = [''];
  let depth = 0;
  for (const sign of text) {
    if (sign === '(') depth++;
    if (sign === ')') depth--;
    if (sign === ',' && depth === 0) clauses.push('');
    else clauses[clauses.length - 1] += sign;
  }
  return clauses.map((clause) => clause.trim());
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
