import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fromProject } from '../../core/config/paths.ts';
import { generatedFiles } from './files.ts';

/** `npm run dashboards` writes what is generated; with `--check` it only says what differs, and fails. */
const FOLDER = fromProject('dashboards/grafana/generated');

const files = generatedFiles();
const present = existsSync(FOLDER)
  ? readdirSync(FOLDER, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(FOLDER.length + 1))
  : [];
const surplus = present.filter((path) => !files.has(path));

if (process.argv.includes('--check')) {
  const changed = [...files].filter(
    ([path, text]) => !present.includes(path) || readFileSync(join(FOLDER, path), 'utf8') !== text,
  );
  const faults = [
    ...changed.map(([path]) => path),
    ...surplus.map((path) => `${path} (no longer generated)`),
  ];
  if (faults.length > 0) {
    process.stderr.write(
      `dashboards/grafana/generated is not what is generated: ${faults.join(', ')}. Run "npm run dashboards"\n`,
    );
    process.exitCode = 1;
  }
} else {
  for (const path of surplus) rmSync(join(FOLDER, path));
  for (const [path, text] of files) {
    mkdirSync(dirname(join(FOLDER, path)), { recursive: true });
    writeFileSync(join(FOLDER, path), text);
  }
  process.stdout.write(`${files.size} files in dashboards/grafana/generated\n`);
}
