// What a browser loads of the portal, compressed as the API sends it: it stays small enough for a slow line.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const MOST_BYTES = 120_000;
const folder = join(dirname(dirname(fileURLToPath(import.meta.url))), 'dist', 'portal');

let bytes = 0;
for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
  if (entry.isFile())
    bytes += gzipSync(readFileSync(join(entry.parentPath, entry.name)), { level: 9 }).length;
}
process.stdout.write(`the portal is ${bytes} bytes, of ${MOST_BYTES} at the most\n`);
process.exitCode = bytes <= MOST_BYTES ? 0 : 1;
