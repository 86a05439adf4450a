import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hash, readStamp, root, run, SetupError, step } from './steps.mjs';

/** Installs exactly what is locked, once for each lock file, platform and Node. @throws SetupError */
export async function installDependencies() {
  const stamp = join(root, 'node_modules', '.afflux-stamp');
  const wanted = hash([
    readFileSync(join(root, 'package-lock.json')),
    `${process.platform} ${process.arch} ${process.versions.modules}`,
  ]);
  if (readStamp(stamp) === wanted) return;
  if (isInstalled()) {
    writeFileSync(stamp, wanted);
    return;
  }
  const npm = npmCommand();
  const install = () =>
    run(npm.command, [...npm.args, 'ci', '--no-audit', '--no-fund'], { env: withoutNpm(process.env) });
  let result = await step('Installing dependencies', install);
  // Of a thousand downloads one can break off, and npm itself repeats only some of its failures.
  if (!result.ok) result = await step('Installing dependencies, once more', install);
  if (!result.ok)
    throw new SetupError(`The dependencies could not be installed ("npm ci"):\n${result.output}`);
  writeFileSync(stamp, wanted);
}

/** Whether npm itself has just installed exactly what is locked: it keeps its own copy of the lock. */
function isInstalled() {
  const copy = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(copy)) return false;
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  const present = JSON.parse(readFileSync(copy, 'utf8')).packages;
  return Object.entries(wanted).every(([path, { version, optional, devOptional }]) => {
    if (path === '') return true;
    const there = present[path]?.version === version && existsSync(join(root, path, 'package.json'));
    // Packages for other platforms are locked too.
    return there || ((optional || devOptional) && present[path] === undefined);
  });
}

/** npm tells its scripts where it is; run by hand, it is looked up in PATH. */
function npmCommand() {
  const script = process.env.npm_execpath;
  if (script && /npm-cli\.c?js$/.test(script)) return { command: process.execPath, args: [script] };
  return { command: process.platform === 'win32' ? 'npm.cmd' : 'npm', args: [] };
}

/**
 * Options of the npm that runs this script, such as --prefix, are not meant for the one that installs. With --prefix npm
 * also looks for the machine's npmrc below this folder, and so would miss what stands there: a registry, a proxy, its CA.
 */
function withoutNpm(env) {
  const kept = Object.entries(env).filter(
    ([name, value]) =>
      !/^npm_(config_(prefix|local_prefix)|command|lifecycle|package)/i.test(name) &&
      !(/^npm_config_globalconfig$/i.test(name) && value === join(root, 'etc', 'npmrc')),
  );
  return { ...Object.fromEntries(kept), NODE_ENV: 'development' };
}
