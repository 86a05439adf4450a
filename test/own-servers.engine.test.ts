import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { SERVICES } from '../bin/services.ts';
import { fromProject } from '../core/config/paths.ts';
import { APP_ROLE } from '../core/login.ts';
import { freePlatformPorts, freePort } from '../engines/engine.ts';
import { freshClickHouseDatabase, waitFor } from './support/engines.ts';
import { startPlatform } from './support/platform.ts';
import { createAuthority } from './support/servers/certificates.ts';
import { startNatsWith } from './support/servers/nats.ts';
import { startTlsPostgres } from './support/servers/postgres.ts';
import { startTlsProxy } from './support/servers/tls-proxy.ts';

/** Every process and command against servers that ask for TLS, a client certificate and a password each. */

const START_MS = 60_000;
/** In each password, so that any of it in an output is found. */
const SECRET = 'topsecret';
const COUNT_KEY = 'count-key.pem';

let folder: string;
/** The settings of servers that want everything. */
let settings: Record<string, string>;
const undo: (() => Promise<void>)[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'afflux-own-servers-'));
  undo.push(async () => rmSync(folder, { recursive: true, force: true }));
  const authority = await createAuthority(join(folder, 'authority'));
  const [client, server] = [await authority.client('shop'), await authority.issue('localhost')];
  const login = await authority.client(APP_ROLE);

  const postgres = await startTlsPostgres(authority, `${SECRET}/p@ss`);
  undo.push(postgres.stop);
  const nats = await startNatsWith({
    authorization: { user: 'shop', password: `${SECRET}/p@ss` },
    tls: { cert_file: server.cert, key_file: server.key, ca_file: authority.ca, verify: true },
  });
  undo.push(nats.stop);
  const database = await freshClickHouseDatabase();
  undo.push(database.drop);
  const proxy = await startTlsProxy(authority, Number(new URL(inject('clickhouseUrl')).port));
  undo.push(proxy.stop);

  const databaseUrl = (user: string, { ca, cert, key }: typeof client) => {
    const url = new URL(`postgres://${user}:${SECRET}%2Fp%40ss@localhost:${postgres.port}/afflux`);
    const tls = { sslmode: 'verify-full', sslrootcert: ca, sslcert: cert, sslkey: key };
    for (const [name, value] of Object.entries(tls)) url.searchParams.set(name, value);
    return url.href;
  };
  const clickhouseUrl = new URL(database.url);
  clickhouseUrl.host = `localhost:${proxy.port}`;
  settings = {
    DATABASE_URL: databaseUrl(APP_ROLE, login),
    DATABASE_OWNER_URL: databaseUrl('shop', client),
    NATS_URL: `tls://shop:${SECRET}%2Fp%40ss@localhost:${nats.port}`,
    NATS_CA: client.ca,
    NATS_CERT: client.cert,
    NATS_KEY: client.key,
    CLICKHOUSE_URL: clickhouseUrl.href.replace('http:', 'https:'),
    CLICKHOUSE_CA: client.ca,
    CLICKHOUSE_CERT: client.cert,
    CLICKHOUSE_KEY: client.key,
    // Every home belongs to the same platform.
    CLICK_KEYS: randomBytes(16).toString('hex'),
    DATA_KEYS: randomBytes(32).toString('hex'),
  };
  expect(await outputOf(['migrate'], settings, /applied/)).toContain('applied');
});
afterAll(async () => {
  for (const step of undo.reverse()) await step();
});

test('the platform runs on them, and so do the commands', async () => {
  const platform = await startPlatform({ env: settings });
  try {
    const link = platform.demo.links[0];
    const url = `${platform.collectorUrl}/c/${link?.code}`;
    await waitFor(async () => (await fetch(url, { redirect: 'manual' })).status === 302, {
      deadlineMs: 10_000,
      what: 'the link of the demo',
    });
    expect(await platform.afflux('migrate')).toContain('0 applied');
    expect(await platform.afflux('audit')).toContain('Everything adds up.');
    expect(await platform.afflux('deadletters', 'list')).toContain('There are no dead letters.');
    cpSync(join(platform.config.home, COUNT_KEY), join(folder, COUNT_KEY));
    expect(platform.output()).toContain('external server');
    expect(platform.output()).not.toContain(SECRET);
  } finally {
    await platform.stop();
  }
});

/** Runs the command line until it ends or says what `until` looks for, and gives all that it has written. */
async function outputOf(
  args: readonly string[],
  env: Record<string, string>,
  until: RegExp,
): Promise<string> {
  const home = mkdtempSync(join(folder, 'home-'));
  // Of the platform that has run, when one has.
  if (existsSync(join(folder, COUNT_KEY))) cpSync(join(folder, COUNT_KEY), join(home, COUNT_KEY));
  const whole = { PATH: process.env.PATH ?? '', ...(await freePlatformPorts()), AFFLUX_HOME: home, ...env };
  const child: ChildProcess = spawn(process.execPath, [fromProject('dist/bin/afflux.js'), ...args], {
    env: whole,
    cwd: tmpdir(),
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (bytes) => (text += bytes));
  const ended = new Promise((resolve) => child.once('close', resolve));
  try {
    await waitFor(() => until.test(text) || child.exitCode !== null, {
      deadlineMs: START_MS,
      what: `${until}`,
    });
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
  return text;
}

describe('a reader of the logs looks for passwords of servers', { tags: ['attack'] }, () => {
  const FAULT = /cannot (reach|use)|unreachable|ECONNREFUSED/;

  const unreachable = async () => {
    const port = await freePort();
    return {
      DATABASE_URL: `postgres://${APP_ROLE}:${SECRET}%2Fp%40ss@localhost:${port}/afflux`,
      DATABASE_OWNER_URL: `postgres://shop:${SECRET}%2Fp%40ss@localhost:${port}/afflux`,
      CLICKHOUSE_URL: `https://shop:${SECRET}%2Fp%40ss@localhost:${port}/afflux`,
      NATS_URL: `nats://shop:${SECRET}%2Fp%40ss@localhost:${port},nats://shop:${SECRET}%2Fp%40ss@localhost:${port}`,
    };
  };

  /** What each process asks last, and so does not come to when another is gone. */
  const LAST = {
    collector: 'DATABASE_URL',
    loader: 'NATS_URL',
    attribution: 'CLICKHOUSE_URL',
    scheduler: 'CLICKHOUSE_URL',
    api: 'CLICKHOUSE_URL',
  } as const;

  test.each(SERVICES.map(({ name }) => name))('%s', async (name) => {
    const gone = await unreachable();
    for (const env of [gone, { ...settings, [LAST[name]]: gone[LAST[name]] }]) {
      const text = await outputOf([name], { LOG_LEVEL: 'trace', ...env }, FAULT);
      expect(text).toMatch(FAULT);
      expect(text).not.toContain(SECRET);
    }
  });

  test.each([
    'up',
    'migrate',
    'audit',
    'deadletters list',
    'payouts preview',
    'erase --ip 192.0.2.1',
    'erase --customer x',
    'geo show',
  ])('afflux %s', async (command) => {
    const text = await outputOf(command.split(' '), await unreachable(), FAULT);
    expect(text).toMatch(FAULT);
    expect(text).not.toContain(SECRET);
  });

  test.each([
    { NATS_URL: `http://u:${SECRET}@localhost` },
    { NATS_URL: `nats://u:${SECRET}@localhost`, NATS_CREDS: '/x' },
    { DATABASE_URL: `postgres://u:${SECRET}/x@localhost/x` },
    { DATABASE_URL: `postgres://u:${SECRET}@a,,b/x` },
    { CLICKHOUSE_URL: `https://u:${SECRET}%@localhost` },
  ])('of a URL that is refused: %o', async (env) => {
    const text = await outputOf(['migrate'], env, /invalid environment/);
    expect(text).toMatch(/(NATS|DATABASE|CLICKHOUSE)_URL/);
    expect(text).not.toContain(SECRET);
  });
});
