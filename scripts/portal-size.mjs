// What a browser loads before the portal shows its first page, compressed as the API sends it: it stays small enough for a
// slow line. Pages that are loaded when they are opened are counted beside it.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const MOST_BYTES = 130_000;
const folder = join(dirname(dirname(fileURLToPath(import.meta.url))), 'dist', 'portal');
const assets = join(folder, 'assets');
/** The messages of one language are loaded before anything is drawn; English has the most. */
const MESSAGES = /^en-/;

const first = new Set(['index.html']);
for (const [, name] of read('index.html').matchAll(/assets\/([\w.-]+)/g)) add(name);
for (const name of readdirSync(assets).filter((one) => MESSAGES.test(one))) add(name);

/** With what it imports in turn. */
function add(name) {
  const path = join('assets', name);
  if (first.has(path)) return;
  first.add(path);
  if (!name.endsWith('.js')) return;
  for (const [, imported] of read(path).matchAll(/(?:from|import)\s*"\.\/([\w.-]+)"/g)) add(imported);
}

function read(path) {
  return readFileSync(join(folder, path), 'utf8');
}

function sizeOf(paths) {
  const sizes = paths.map((path) => gzipSync(readFileSync(join(folder, path)), { level: 9 }).length);
  return sizes.reduce((sum, size) => sum + size, 0);
}

const bytes = sizeOf([...first]);
const later = readdirSync(assets)
  .map((name) => join('assets', name))
  .filter((path) => !first.has(path));
process.stdout.write(
  `the first page of the portal is ${bytes} bytes, of ${MOST_BYTES} at the most; ${sizeOf(later)} more are loaded when needed\n`,
);
process.exitCode = bytes <= MOST_BYTES ? 0 : 1;
