// Pages name files and link to each other: each relative link and each path in backticks must exist. Every page and
// every decision record is linked from its index.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { include: sourceFolders } = JSON.parse(readFileSync(join(root, 'tsconfig.build.json'), 'utf8'));
const tops = [...new Set(sourceFolders.map((folder) => folder.split('/')[0])), 'test', 'docs', 'scripts'];
/** A path below a source folder, without wildcards or placeholders. */
const PATH = new RegExp(`^(?:${tops.join('|')})/[\\w./-]*$`);

const { stdout } = spawnSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], {
  cwd: root,
  encoding: 'utf8',
});
const faults = [
  ...stdout.trim().split('\n').filter(inRoot).flatMap(faultsOf),
  ...unlisted('docs', 'README.md'),
  ...unlisted('docs/decisions', 'docs/decisions/README.md'),
];
for (const fault of faults) process.stdout.write(`${fault}\n`);
process.exitCode = faults.length === 0 ? 0 : 1;

function inRoot(path) {
  return existsSync(join(root, path));
}

function faultsOf(page) {
  const text = readFileSync(join(root, page), 'utf8').replaceAll(/```[\s\S]*?```/g, '');
  const links = [...text.matchAll(/\]\(([^)\s#]+)(?:#([\w-]+))?\)/g)]
    .filter(([, target]) => !/^[a-z]+:/.test(target))
    .flatMap(([, target, anchor]) => linkFaults(normalize(join(dirname(page), target)), anchor));
  const paths = [...text.matchAll(/`([^`\s]+)`/g)]
    .map(([, path]) => path)
    .filter((path) => PATH.test(path) && !inRoot(path) && !inRoot(`${path}.ts`));
  return [...links, ...paths.map((path) => `no such file: ${path}`)].map((fault) => `${page}: ${fault}`);
}

/** Pages of a folder that its index does not link. */
function unlisted(folder, index) {
  const text = readFileSync(join(root, index), 'utf8');
  return readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.md') && `${folder}/${name}` !== index && !text.includes(`${name})`))
    .map((name) => `${index} does not link ${folder}/${name}`);
}

function linkFaults(path, anchor) {
  if (!inRoot(path)) return [`no such file: ${path}`];
  if (anchor === undefined || anchors(path).includes(anchor)) return [];
  return [`no such heading: ${path}#${anchor}`];
}

/** The anchors that GitHub gives the headings of a page. */
function anchors(path) {
  const headings = readFileSync(join(root, path), 'utf8').matchAll(/^#+ (.*)$/gm);
  return [...headings].map(([, heading]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}
