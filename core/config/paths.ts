import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

function findProjectRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('package.json not found above the afflux sources');
    folder = parent;
  }
  return folder;
}

/** The folder that holds package.json: the same from the TypeScript sources and from dist/. */
export const projectRoot = findProjectRoot();

/** An absolute path for a path given relative to the project. */
export function fromProject(path: string): string {
  return resolve(projectRoot, path);
}
