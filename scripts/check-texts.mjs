// Texts of the portal stand in its message files: refuses a literal text in its source, a message that nothing uses, and
// a language whose messages are not those of English.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseSync, transformSync } from '@swc/core';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, 'dashboards/portal/src');
const languages = join(folder, 'text/messages');
const SOURCE = 'en.ts';

/** Attributes and members that are shown or read out. */
const SHOWN =
  /^(?:label|title|hint|placeholder|lead|note|submit|alt|what|none|summary|text|more|advice|aria-label)$/;
/** A sentence, or a word with a capital letter. */
const TEXT = /^[^\w]*[A-Z][a-z]|[A-Za-z’,.:;] [A-Za-z]/;
/** Members, arguments and operands that are no texts: styles, selectors, paths of the API, errors for developers. */
const UNSHOWN = /^(?:class|className|href|d|viewBox|style|accept|rel)$/;
/** Names, codes and samples, which are the same in every language. */
const SAME = [
  /^(?:… – )?Afflux$/,
  /^(?:CSV|Parquet|Arrow|GET|W-\w+|W-\w+-E)$/,
  /^(?:DE, AT|mobile, tablet|iOS|de, fr)$/,
  /^[a-z]+[_:.][a-z\d]+$/,
  /^https?:|^\*\.|^go\.shop\.example$/,
  /^(?:color-mix|12px|\(prefers-color-scheme)|^[.#]?[\w-]+ [a-z]\w*$/,
];
/** Looked up by codes of the API, which `words` of text/format.ts has. */
const BY_CODE = 'name.';

const source = await messagesOf(SOURCE);
const used = new Set();
const prefixes = [BY_CODE];
const faults = files(folder).flatMap(literalsIn);
for (const key of Object.keys(source)) {
  if (!used.has(key) && !prefixes.some((prefix) => key.startsWith(prefix))) {
    faults.push(`${SOURCE}: nothing uses ${key}`);
  }
}
for (const name of readdirSync(languages).filter((file) => file !== SOURCE)) {
  faults.push(...differences(name, await messagesOf(name)));
}
for (const fault of faults) process.stdout.write(`${fault}\n`);
process.exitCode = faults.length === 0 ? 0 : 1;

function files(directory) {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) return path === languages ? [] : files(path);
    return /\.tsx?$/.test(path) && !/\.test\.ts$|\.d\.ts$/.test(path) ? [path] : [];
  });
}

function literalsIn(path) {
  const found = [];
  const program = parseSync(readFileSync(path, 'utf8'), { syntax: 'typescript', tsx: path.endsWith('x') });
  visit(program, undefined, (text, place) => {
    if (Object.hasOwn(source, text)) used.add(text);
    else if (isText(text, place)) found.push(`${relative(root, path)}: text in the source: ${text}`);
  });
  return found;
}

/** Calls back with each literal, and whether its place is `shown`, `unshown` or neither. */
function visit(node, place, callBack) {
  if (Array.isArray(node)) {
    for (const one of node) visit(one, place, callBack);
    return;
  }
  if (typeof node !== 'object' || node === null || isType(node)) return;
  switch (node.type) {
    case 'ImportDeclaration':
      return;
    case 'JSXText':
      callBack(node.value.trim(), 'shown');
      return;
    case 'StringLiteral':
      callBack(node.value, place);
      return;
    case 'TemplateLiteral':
      callBack(node.quasis.map(({ raw }) => raw).join('…'), place);
      if (/^\w+\.$/.test(node.quasis[0].raw)) prefixes.push(node.quasis[0].raw);
      visit(node.expressions, place, callBack);
      return;
    case 'JSXAttribute':
      visit(node.value, placeOf(node.name.value ?? ''), callBack);
      return;
    case 'KeyValueProperty':
      visit(node.value, placeOf(String(node.key.value ?? '')), callBack);
      return;
    case 'NewExpression':
      visit(node.arguments, 'unshown', callBack);
      return;
    default:
      for (const member of Object.values(node)) visit(member, placeWithin(node, place), callBack);
  }
}

function isType({ type = '' }) {
  return type.startsWith('Ts') && !/^Ts(?:As|Satisfies|NonNull|Const)/.test(type);
}

function placeOf(name) {
  if (SHOWN.test(name)) return 'shown';
  return UNSHOWN.test(name) ? 'unshown' : undefined;
}

/** What a literal is compared with, and keys of objects, are not shown; a call begins again. */
function placeWithin(node, place) {
  if (node.type === 'BinaryExpression' && /^[=!]==$/.test(node.operator)) return 'unshown';
  return node.type === 'CallExpression' || node.type === 'ArrowFunctionExpression' ? undefined : place;
}

function isText(text, place) {
  if (place === 'unshown' || SAME.some((pattern) => pattern.test(text))) return false;
  return place === 'shown' ? /[A-Za-z]/.test(text) : TEXT.test(text);
}

async function messagesOf(name) {
  const { code } = transformSync(readFileSync(join(languages, name), 'utf8'), {
    jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
    module: { type: 'es6' },
  });
  return (await import(`data:text/javascript,${encodeURIComponent(code)}`)).default;
}

/** Messages that a language lacks or has too many, and those with other parameters than English. */
function differences(name, messages) {
  const keys = new Set([...Object.keys(source), ...Object.keys(messages)]);
  return [...keys].flatMap((key) => {
    if (!Object.hasOwn(messages, key)) return [`${name}: ${key} is missing`];
    if (!Object.hasOwn(source, key)) return [`${name}: English has no ${key}`];
    const [own, wanted] = [messages[key], source[key]].map(parametersOf);
    return own === wanted ? [] : [`${name}: ${key} has the parameters ${own}, English has ${wanted}`];
  });
}

function parametersOf(message) {
  const texts = typeof message === 'string' ? [message] : Object.values(message);
  const names = texts.flatMap((text) => [...text.matchAll(/\{\w+\}|<\w+>/g)].map(([name]) => name));
  return [...new Set(names.filter((name) => name !== '{count}'))].sort().join(' ') || 'none';
}
