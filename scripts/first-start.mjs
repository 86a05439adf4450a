// `node scripts/first-start.mjs [FOLDER]`: the first commands of README, in a checkout (this one unless named) that may
// have nothing installed: `npm start` comes up, `npm run demo` fills it, a click is redirected, Ctrl-C stops everything.
// It runs before anything is installed, so it uses Node's own modules only.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { root } from './setup/steps.mjs';

/** Half a gigabyte of dependencies is installed, and nats-server may be compiled, on a slow line and a slow machine. */
const START_DEADLINE_MS = 600_000;
const STEP_DEADLINE_MS = 60_000;

const folder = resolve(process.argv[2] ?? root);
const env = { ...process.env, ...(await freePorts()) };
const start = npm('start');
try {
  await within(START_DEADLINE_MS, 'npm start', start.says('Afflux is up'));
  const demo = npm('run', 'demo', '--', '--clicks', '0');
  const code = await within(STEP_DEADLINE_MS, 'npm run demo', demo.end);
  if (code !== 0) throw new Error(`npm run demo ended with ${code}:\n${demo.output()}`);
  const url = `http://localhost:${env.COLLECTOR_PORT}/c/ann-summer`;
  const { status } = await fetch(url, { redirect: 'manual' });
  if (status !== 302) throw new Error(`a link was answered with ${status}`);
  start.interrupt();
  await within(STEP_DEADLINE_MS, 'the stop', start.end);
  if (!start.output().includes('everything is stopped'))
    throw new Error('npm start did not say that it has stopped');
  process.stdout.write('The first commands of README work.\n');
} catch (error) {
  start.interrupt();
  await start.end;
  process.stderr.write(`${start.output()}\n${error.message}\n`);
  process.exitCode = 1;
}

/** Runs npm for the folder from another one, in a process group of its own, and collects what it says. */
function npm(...args) {
  const child = spawn('npm', ['--prefix', folder, ...args], { env, cwd: tmpdir(), detached: true });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (text += bytes));
  const end = once(child, 'exit').then(([code]) => code);
  return {
    end,
    output: () => text,
    /** Resolves once npm has said the words; fails when it ends before. */
    says: (words) =>
      new Promise((done, fail) => {
        const look = () => text.includes(words) && done();
        for (const stream of [child.stdout, child.stderr]) stream.on('data', look);
        end.then((code) => fail(new Error(`npm ${args.join(' ')} ended with ${code}`)));
      }),
    /** Ctrl-C in a terminal: everything in its foreground group gets the signal. */
    interrupt: () => {
      if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid, 'SIGINT');
    },
  };
}

async function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`${what} took more than ${ms / 1000} s`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A free port for every variable of .env.example that names one; all are open until the last is found. */
async function freePorts() {
  const names = readFileSync(join(root, '.env.example'), 'utf8').matchAll(/^(\w+_PORT)=/gm);
  const open = [];
  for (const [, name] of names) {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    open.push([name, server]);
  }
  const ports = open.map(([name, server]) => [name, String(server.address().port)]);
  for (const [, server] of open) server.close();
  return Object.fromEntries(ports);
}
