// What a browser loads of the portal before it shows a page, in one language, compressed as the API sends it: it stays small
// enough for a slow line. Pages that few open are loaded when they are opened, and have a limit of their own.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const MOST_BYTES = 130_000;
const MOST_LATER_BYTES = 90_000;
const SOURCE_LANGUAGE = 'en.ts';
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, 'dist', 'portal');
/** Names of built files of the other languages. */
const others = readdirSync(join(root, 'dashboards/portal/src/text/messages'))
  .filter((name) => name !== SOURCE_LANGUAGE)
  .map((name) => name.replace(/\.ts$/, '-'));

/** The page, what it names, and what its scripts import at once. */
const first = new Set(['index.html']);
for (const name of first) {
  const text = readFileSync(join(folder, name), 'utf8');
  const named = name.endsWith('.html')
    ? text.matchAll(/\/portal\/(assets\/[\w.-]+)/g)
    : text.matchAll(/(?:from|import)\s*"\.\/([\w.-]+)"/g);
  for (const [, file] of named) first.add(file.startsWith('assets/') ? file : `assets/${file}`);
}

let [now, later] = [0, 0];
for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || others.some((name) => entry.name.startsWith(name))) continue;
  const path = entry.name === 'index.html' ? entry.name : `assets/${entry.name}`;
  const size = gzipSync(readFileSync(join(entry.parentPath, entry.name)), { level: 9 }).length;
  // The language is loaded before a page as well.
  if (first.has(path) || entry.name.startsWith('en-')) now += size;
  else later += size;
}
process.stdout.write(
  `the portal is ${now} bytes, of ${MOST_BYTES} at the most, and ${later} of ${MOST_LATER_BYTES} later\n`,
);
process.exitCode = now <= MOST_BYTES && later <= MOST_LATER_BYTES ? 0 : 1;
