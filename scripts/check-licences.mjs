// The licences of what Afflux installs without its development tools, from npm's own bill of materials: docs/licences.md
// lists them, and a licence that is not permissive is refused. `--write` writes the page.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const page = join(root, 'docs', 'licences.md');

const PERMISSIVE = [
  '0BSD',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'BlueOak-1.0.0',
  'CC-BY-4.0',
  'CC0-1.0',
  'ISC',
  'MIT',
  'MIT-0',
  // Fonts, which may be bundled and sold with software.
  'OFL-1.1',
  'Python-2.0',
  'Unlicense',
];
/** Packages whose entry in the lock file names no licence, with what their repository says. */
const BY_HAND = [
  [/^@chdb\/lib-/, 'Apache-2.0', 'https://github.com/chdb-io/chdb'],
  [/^png-js$/, 'MIT', 'https://github.com/devongovett/png.js'],
  [/^@ip-location-db\/asn$/, 'CC-BY-4.0', 'https://github.com/sapics/ip-location-db'],
];

const result = spawnSync(
  'npm',
  ['sbom', '--sbom-format', 'cyclonedx', '--omit', 'dev', '--package-lock-only'],
  { cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 },
);
if (result.status !== 0) throw new Error(`npm sbom failed: ${result.stderr}`);

const packages = new Map();
for (const { group, name, version, licenses = [] } of JSON.parse(result.stdout).components) {
  const full = group && !name.startsWith('@') ? `${group}/${name}` : name;
  const known = licenses
    .map(({ license, expression }) => expression ?? license.id ?? license.name)
    .join(' AND ');
  const licence = known || BY_HAND.find(([pattern]) => pattern.test(full))?.[1] || 'unknown';
  packages.set(`${full} ${version}`, { name: full, version, licence });
}
const sorted = [...packages.values()].sort((a, b) =>
  `${a.name} ${a.version}` < `${b.name} ${b.version}` ? -1 : 1,
);

const refused = sorted.filter(
  ({ licence }) =>
    !licence.split(/\s+(?:AND|OR)\s+/i).some((one) => PERMISSIVE.includes(one.replaceAll(/[()]/g, ''))),
);
for (const { name, version, licence } of refused) {
  process.stdout.write(
    `${name} ${version}: the licence "${licence}" is not on the list of scripts/check-licences.mjs\n`,
  );
}

const text = [
  '# Licences',
  '',
  'What `npm ci --omit=dev` installs on any platform, written by `node scripts/check-licences.mjs --write` from `npm sbom`. `npm run sbom` prints the whole bill of materials (CycloneDX) with hashes.',
  '',
  '| package | version | licence |',
  '|---|---|---|',
  ...sorted.map(({ name, version, licence }) => `| ${name} | ${version} | ${licence} |`),
  '',
].join('\n');
if (process.argv.includes('--write')) writeFileSync(page, text);
else if (readFileSync(page, 'utf8') !== text) {
  process.stdout.write(
    'docs/licences.md is not what is installed: node scripts/check-licences.mjs --write\n',
  );
  process.exitCode = 1;
}
if (refused.length > 0) process.exitCode = 1;
