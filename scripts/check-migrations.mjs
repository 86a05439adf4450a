// A migration that was applied somewhere never changes: each folder's CHECKSUMS lists its files with their SHA-256.
// `node scripts/check-migrations.mjs` compares; `--add` lists files that are new, and changes no line that is there.
// Folders may be named; by default those of both stores.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { heavyStatements } from './heavy-statements.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const HEADER = `# SHA-256 of every migration. An applied migration never changes: a change of the schema is a new file with the next
# number. "node scripts/check-migrations.mjs --add" lists a new file here; "sha256sum -c CHECKSUMS" compares by hand.
`;

const { values, positionals } = parseArgs({ options: { add: { type: 'boolean' } }, allowPositionals: true });
const folders =
  positionals.length > 0
    ? positionals.map((path) => resolve(path))
    : [join(root, 'ledger/migrations'), join(root, 'warehouse/migrations')];
const violations = folders.flatMap((folder) => check(folder, values.add === true));
for (const violation of violations) process.stdout.write(`${violation}\n`);
process.exitCode = violations.length === 0 ? 0 : 1;

/** The violations of a folder; with `add` new files are listed first. */
function check(folder, add) {
  const files = readdirSync(folder)
    .filter((name) => name.endsWith('.sql'))
    .sort();
  const listed = readList(join(folder, 'CHECKSUMS'));
  const missing = files.filter((name) => !listed.has(name));
  if (add && missing.length > 0) {
    for (const name of missing) listed.set(name, checksum(join(folder, name)));
    const lines = [...listed].map(([name, sum]) => `${sum}  ${name}\n`);
    writeFileSync(join(folder, 'CHECKSUMS'), `${HEADER}${lines.join('')}`);
  }
  return [
    ...files.flatMap((name) => heavyStatements(join(folder, name))),
    ...[...listed].flatMap(([name, sum]) => {
      const path = join(folder, name);
      if (!existsSync(path))
        return [`${path} is listed in CHECKSUMS and missing: an applied migration stays`];
      return checksum(path) === sum
        ? []
        : [`${path} has changed: restore it, and write a new file with the next number`];
    }),
    ...files
      .filter((name) => !listed.has(name))
      .map((name) => `${join(folder, name)} is not listed: node scripts/check-migrations.mjs --add`),
  ];
}

function readList(path) {
  if (!existsSync(path)) return new Map();
  const lines = readFileSync(path, 'utf8').matchAll(/^([0-9a-f]{64}) {2}(\S+)$/gm);
  return new Map([...lines].map(([, sum, name]) => [name, sum]));
}

function checksum(path) {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}
