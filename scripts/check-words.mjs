// One word for one thing: refuses the words that docs/glossary.md replaces, in code, comments, texts and pages.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** Pattern, and the words to use instead. */
const WORDS = [
  [/\bprogrammes?\b/i, 'program'],
  [/\b(?:is|are|was|were|be|been|being|stays?) away\b|\bAWAY_|awayStore/, 'unavailable'],
  [/\bwhoever\b/i, 'the role that acts'],
  // Quoted, it is the account of Unix.
  [/(?<!['"`])\bnobody\b(?!@)/i, '"no" with a noun'],
  [/\banew\b/i, 'again'],
  [/\ball the same\b/i, 'anyway, or nothing'],
  [/\btold\b/i, 'a verb that names the act: notified, reported, shown, recipient'],
  [/vault/i, 'secret box; encrypt, decrypt'],
  [/verdict/i, 'batch validity, fraud decision, or flag group'],
  [/\bjudge[sd]?\b/i, 'validate, or apply fraud rules'],
  [/\brewards?\b|Reward/, 'commission'],
  [/\bLedger(?:Transaction|Sql)\b/, 'DatabaseTransaction, DatabaseSql'],
  [/\bMAX_\w+_CHARS\b/, 'MAX_…_LENGTH'],
  [/\bheirs?\b|\bopenDoor\b|\bsetScene\b|\bscenes?\b/, 'successor, match, fixture'],
  [
    /\bunderWay\b|\bhasten\b|\bNOWHERE\b|\bITSELF\b|\bgreets\b|\bstandBy\b|\bonField\b/,
    'inFlight; a noun or verb that names the thing',
  ],
  [/\bcomplaints\b/, 'violations, faults, console errors'],
  [/\b[bB]rief[A-Z]\w*/, 'conventional'],
];
/** Generated files, and those that name the words. */
const LEFT_OUT = ['api/client/types.ts', 'docs/benchmarks.md', 'docs/glossary.md', 'scripts/check-words.mjs'];
const READ = ['*.ts', '*.tsx', '*.mjs', '*.cjs', '*.css', '*.html', '*.md', '.env.example'];

const { stdout } = spawnSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', ...READ], {
  cwd: root,
  encoding: 'utf8',
});
const files = stdout.trim().split('\n');
const findings = files.filter((file) => !LEFT_OUT.includes(file)).flatMap(findingsIn);
for (const finding of findings) process.stdout.write(`${finding}\n`);
process.exitCode = findings.length === 0 ? 0 : 1;

function findingsIn(file) {
  let text;
  try {
    text = readFileSync(join(root, file), 'utf8');
  } catch {
    // Deleted and not committed yet.
    return [];
  }
  return text.split('\n').flatMap((line, i) =>
    WORDS.flatMap(([pattern, instead]) => {
      const [word] = pattern.exec(line) ?? [];
      return word === undefined ? [] : [`${file}:${i + 1}: "${word}": use ${instead} (docs/glossary.md)`];
    }),
  );
}
