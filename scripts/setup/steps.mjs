import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import util from 'node:util';

/** What the steps of the set-up share. They run before anything is installed, so they use Node's own modules only. */

/** The folder of the project. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** A failure whose message is all that the user needs. */
export class SetupError extends Error {}

/** Runs one step; standard error says how long it took, once it takes over a second. */
export async function step(what, run) {
  const startedAt = Date.now();
  let isShown = false;
  const timer = setInterval(() => {
    const seconds = Math.round((Date.now() - startedAt) / 1000);
    if (process.stderr.isTTY) process.stderr.write(`\r${what} … ${seconds} s`);
    else if (!isShown) process.stderr.write(`${what} …\n`);
    isShown = true;
  }, 1000);
  try {
    return await run();
  } finally {
    clearInterval(timer);
    if (isShown) {
      const seconds = ((Date.now() - startedAt) / 1000).toFixed(1);
      process.stderr.write(`${process.stderr.isTTY ? '\r' : ''}${what}: ${seconds} s\n`);
    }
  }
}

/**
 * Runs a program to its end, or for `timeoutMs` at the most; its output, of which the end is returned, is shown only
 * when it fails. `isMissing`: there is no such program.
 */
export async function run(command, args, { timeoutMs, ...options } = {}) {
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], ...options });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (output += bytes));
  const timer = timeoutMs && setTimeout(() => stop(child), timeoutMs);
  const code = await new Promise((done) => {
    child.on('error', (error) => {
      output += error.message;
      done(error.code);
    });
    child.on('close', done);
  });
  clearTimeout(timer);
  if (child.killed) output += `\nended after ${timeoutMs / 1000} s`;
  return {
    ok: code === 0,
    isMissing: code === 'ENOENT',
    output: output.trim().split('\n').slice(-25).join('\n'),
  };
}

function stop(child) {
  child.kill('SIGTERM');
  // What the program has started may keep them open.
  for (const stream of [child.stdout, child.stderr]) stream.destroy();
}

/** The SHA-256 of the parts and their lengths. */
export function hash(parts) {
  const digest = createHash('sha256');
  for (const part of parts) digest.update(`${part.length}:`).update(part);
  return digest.digest('hex');
}

/** What a stamp file says was last made; empty where nothing was. */
export function readStamp(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

/** A variable of the environment, else of the project's .env file; '' where neither has it. */
export function variable(name) {
  const file = join(root, '.env');
  const fromFile = process.env[name] === undefined && existsSync(file);
  const values = fromFile ? util.parseEnv(readFileSync(file, 'utf8')) : process.env;
  return values[name]?.trim() ?? '';
}
