// What a browser loads of the portal, in one language, compressed as the API sends it: it stays small enough for a slow line.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const MOST_BYTES = 130_000;
const SOURCE_LANGUAGE = 'en.ts';
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, 'dist', 'portal');
/** Names of built files of the other languages. */
const others = readdirSync(join(root, 'dashboards/portal/src/text/messages'))
  .filter((name) => name !== SOURCE_LANGUAGE)
  .map((name) => name.replace(/\.ts$/, '-'));

let bytes = 0;
for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
  if (entry.isFile() && !others.some((name) => entry.name.startsWith(name)))
    bytes += gzipSync(readFileSync(join(entry.parentPath, entry.name)), { level: 9 }).length;
}
process.stdout.write(`the portal is ${bytes} bytes, of ${MOST_BYTES} at the most\n`);
process.exitCode = bytes <= MOST_BYTES ? 0 : 1;
