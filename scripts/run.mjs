// `node scripts/run.mjs FILE ARGUMENTS…` sets this checkout up, then runs FILE as `node FILE ARGUMENTS…` would: in this
// process, so that signals and the exit code are the program's own.
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { setUp } from './setup/set-up.mjs';
import { root } from './setup/steps.mjs';

await setUp();
const [node, , file, ...args] = process.argv;
const path = resolve(root, file);
process.argv = [node, path, ...args];
await import(pathToFileURL(path).href);
