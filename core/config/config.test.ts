import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { loadConfig, renderEnvExample } from './config.ts';
import { fromProject, projectRoot } from './paths.ts';
import { withGeneratedSecrets } from './secrets.ts';

const folders: string[] = [];
const folder = () => {
  const made = mkdtempSync(join(tmpdir(), 'afflux config '));
  folders.push(made);
  return made;
};
afterAll(() => {
  for (const made of folders) rmSync(made, { recursive: true });
});

describe('loadConfig', () => {
  it('fills in the embedded engines', () => {
    const config = loadConfig({});
    expect(config.embedded).toEqual({ postgres: true, clickhouse: true, nats: true });
    expect(config.natsUrl).toBe('nats://127.0.0.1:14222');
    expect(config.clickhouseUrl).toBe('http://127.0.0.1:18123/afflux');
    expect([config.collectorPort, config.apiPort]).toEqual([8080, 8081]);
    expect(config.collectorUrl).toBe('http://localhost:8080');
  });

  it('leaves the disk alone', () => {
    const parent = folder();
    const home = join(parent, 'home');
    expect(loadConfig({ AFFLUX_HOME: home }).home).toBe(home);
    expect(readdirSync(parent)).toEqual([]);
    expect(loadConfig({ AFFLUX_HOME: '/dev/null/x' }).home).toBe('/dev/null/x');
  });

  it('takes servers where URLs are given', () => {
    const config = loadConfig({
      DATABASE_URL: 'postgres://u:p@db.test/x',
      NATS_URL: 'nats://n.test:4222',
      COLLECTOR_URL: 'https://go.test/',
      TRUSTED_PROXIES: '10.0.0.0/8, ::1',
    });
    expect(config.embedded).toEqual({ postgres: false, clickhouse: true, nats: false });
    expect(config.databaseUrl).toBe('postgres://u:p@db.test/x');
    expect(config.collectorUrl).toBe('https://go.test');
    expect(config.trustedProxies).toEqual(['10.0.0.0/8', '::1']);
  });

  it('lists every fault at once, by the name of its variable', () => {
    const faults = () =>
      loadConfig({
        COLLECTOR_PORT: '80800',
        API_PORT: 'x',
        DATABASE_URL: 'mysql://x',
        LOG_LEVEL: 'loud',
        CLICK_KEYS: 'abc',
        TRUSTED_PROXIES: '10.0.0.0/40',
      });
    for (const name of [
      'COLLECTOR_PORT',
      'API_PORT',
      'DATABASE_URL',
      'LOG_LEVEL',
      'CLICK_KEYS',
      'TRUSTED_PROXIES',
    ]) {
      expect(faults).toThrow(new RegExp(`^  ${name} must`, 'm'));
    }
  });
});

describe('withGeneratedSecrets', () => {
  it('creates the secrets of a data folder once', () => {
    const environment = loadConfig({ AFFLUX_HOME: join(folder(), 'home') });
    const first = withGeneratedSecrets(environment);
    const second = withGeneratedSecrets(environment);
    expect(readdirSync(environment.home)).toEqual(['secrets.json']);
    expect(second).toEqual(first);
    expect(first.clickKeys.map((key) => key.length)).toEqual([16]);
    expect(first.dataKeys.map((key) => key.length)).toEqual([32]);
    const login = ({ port, username, password }: URL) => [port, username, password];
    expect(login(new URL(first.databaseUrl))).toEqual(['54320', 'afflux_app', first.databasePassword]);
    expect(login(new URL(first.databaseOwnerUrl))).toEqual(['54320', 'postgres', first.postgresPassword]);
  });

  it('adds the secrets that the folder of an earlier version lacks, and changes no other', () => {
    const home = folder();
    const file = join(home, 'secrets.json');
    const earlier = { postgresPassword: 'p'.repeat(32), clickKey: 'ab'.repeat(16) };
    writeFileSync(file, JSON.stringify(earlier), { mode: 0o600 });
    // What a start leaves behind that ended before its file was in place.
    writeFileSync(`${file}.added`, JSON.stringify({ ...earlier, other: 'x' }), { mode: 0o600 });
    const first = withGeneratedSecrets(loadConfig({ AFFLUX_HOME: home }));
    expect(withGeneratedSecrets(loadConfig({ AFFLUX_HOME: home }))).toEqual(first);
    const stored = JSON.parse(readFileSync(file, 'utf8'));
    expect(stored).toEqual({ ...earlier, other: 'x', databasePassword: first.databasePassword });
    expect([readdirSync(home), statSync(file).mode & 0o777]).toEqual([['secrets.json'], 0o600]);
    // Derived from the two secrets of the first version: what they encrypted stays readable.
    expect(first.dataKeys[0].toString('hex')).toBe(
      '44c46f87e4740542555e237d12d9d21a0d28afb4d9df0301d99fd95d4335cf6b',
    );
  });

  it('gives processes that start at once the same secrets', { timeout: 30_000 }, async () => {
    const home = folder();
    const earlier = { postgresPassword: 'p'.repeat(32), clickKey: 'ab'.repeat(16) };
    writeFileSync(join(home, 'secrets.json'), JSON.stringify(earlier), { mode: 0o600 });
    const script = `
      import { loadConfig } from './dist/core/config/config.js';
      import { withGeneratedSecrets } from './dist/core/config/secrets.js';
      const at = Number(process.argv[1]);
      while (Date.now() < at);
      process.stdout.write(withGeneratedSecrets(loadConfig({ AFFLUX_HOME: process.argv[2] })).databasePassword);`;
    const at = String(Date.now() + 2_000);
    const passwords = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const args = ['--input-type=module', '-e', script, at, home];
        return (await promisify(execFile)(process.execPath, args, { cwd: projectRoot })).stdout;
      }),
    );
    expect(new Set(passwords).size).toBe(1);
    expect(passwords[0]).toMatch(/^[\w-]{32}$/);
  });

  it('prefers what is configured', () => {
    const environment = loadConfig({
      AFFLUX_HOME: folder(),
      DATABASE_URL: 'postgres://u:p@db.test/x',
      CLICK_KEYS: `${'ab'.repeat(16)},${'cd'.repeat(16)}`,
      DATA_KEYS: 'ef'.repeat(32),
    });
    const { databaseUrl, clickKeys, dataKeys } = withGeneratedSecrets(environment);
    expect(databaseUrl).toBe('postgres://u:p@db.test/x');
    expect(clickKeys.map((key) => key.toString('hex'))).toEqual(['ab'.repeat(16), 'cd'.repeat(16)]);
    expect(dataKeys.map((key) => key.toString('hex'))).toEqual(['ef'.repeat(32)]);
  });

  it('says what to change when the data folder cannot be used', () => {
    const environment = loadConfig({ AFFLUX_HOME: '/dev/null/x' });
    expect(() => withGeneratedSecrets(environment)).toThrow(/data folder \/dev\/null\/x .* AFFLUX_HOME/);
  });
});

describe('.env.example', () => {
  it('lists every variable with its unit and default', async () => {
    await expect(renderEnvExample()).toMatchFileSnapshot(fromProject('.env.example'));
  });
});

describe('servers of one’s own', () => {
  const fault = (env: Record<string, string>): string => {
    try {
      loadConfig(env);
      return '';
    } catch (error) {
      return (error as Error).message;
    }
  };

  it.each([
    { NATS_URL: 'nats://u:p%40ss@a.test:4222' },
    { NATS_URL: 'nats://token@a.test, nats://token@b.test:4223' },
    { NATS_URL: 'tls://a.test', NATS_CREDS: '/x.creds', NATS_CA: '/ca.pem', NATS_TLS_FIRST: 'yes' },
    { NATS_URL: 'nats://a.test', NATS_NKEY: '/x.nk', NATS_CERT: '/c.pem', NATS_KEY: '/c.key' },
    { NATS_URL: 'nats://10.0.0.1:4222' },
    { DATABASE_URL: 'postgres://u:p@db.test/x?sslmode=verify-full&sslrootcert=/ca.pem&sslcert=/c&sslkey=/k' },
    { DATABASE_URL: 'postgres://u:p@db.test/x?sslmode=require&options=-c%20search_path%3Da,b' },
    { DATABASE_URL: 'postgres://u:p@%2Frun%2Fpostgresql/x' },
    { DATABASE_URL: 'postgres:///x?host=/run/postgresql&user=u' },
    {
      CLICKHOUSE_URL: 'https://u:p@ch.test/x',
      CLICKHOUSE_CA: '/ca',
      CLICKHOUSE_CERT: '/c',
      CLICKHOUSE_KEY: '/k',
    },
  ])('takes %j', (env) => {
    expect(fault(env)).toBe('');
  });

  it.each([
    [
      { NATS_URL: 'nats://u:secret@a.test', NATS_CREDS: '/x' },
      'in NATS_URL and NATS_CREDS exclude each other',
    ],
    [{ NATS_URL: 'nats://a.test', NATS_CREDS: '/x', NATS_NKEY: '/y' }, 'NATS_CREDS and NATS_NKEY exclude'],
    [{ NATS_URL: 'nats://u:secret@a.test,nats://v:secret@b.test' }, 'NATS_URL must have the same user'],
    [{ NATS_URL: 'nats://u:secret@a.test,http://b.test' }, 'NATS_URL must be URLs starting with nats://'],
    [{ NATS_URL: 'nats://u:100%secret@a.test' }, 'written as %25'],
    [{ CLICKHOUSE_URL: 'http://u:100%secret@a.test' }, 'written as %25'],
    [{ DATABASE_URL: 'postgres://u:100%secret@a.test/x' }, 'written as %25'],
    [{ NATS_URL: 'nats://a.test,' }, 'NATS_URL must be URLs'],
    [{ NATS_URL: 'tls://10.0.0.1' }, 'NATS_URL must have host names for TLS'],
    [{ NATS_URL: 'nats://[::1]', NATS_CA: '/ca' }, 'NATS_URL must have host names for TLS'],
    [{ NATS_URL: 'nats://a.test', NATS_CERT: '/c' }, 'NATS_CERT and NATS_KEY belong together'],
    [{ NATS_CREDS: '/x' }, 'NATS_CREDS needs NATS_URL'],
    [{ NATS_TLS_FIRST: 'yes' }, 'NATS_TLS_FIRST needs NATS_URL'],
    [{ NATS_TLS_FIRST: 'maybe' }, 'NATS_TLS_FIRST must be one of yes, no'],
    [
      { CLICKHOUSE_URL: 'http://ch.test', CLICKHOUSE_CA: '/c' },
      'CLICKHOUSE_CA needs a CLICKHOUSE_URL with https',
    ],
    [
      { CLICKHOUSE_URL: 'https://ch.test', CLICKHOUSE_KEY: '/k' },
      'CLICKHOUSE_CERT and CLICKHOUSE_KEY belong',
    ],
    [{ DATABASE_URL: 'postgres://u:secret@a.test,b.test/x' }, 'DATABASE_URL must name one host'],
    [{ DATABASE_URL: 'postgres://u:secret@a.test:1,b.test:2/x' }, 'DATABASE_URL must name one host'],
    [{ DATABASE_URL: 'postgres://u:secret@/x' }, 'percent-encoded: postgres://user:password@%2Frun'],
    [
      { DATABASE_URL: 'postgres://u:secret@a.test/x?sslmode=prefer' },
      'disable, require, verify-ca, verify-full',
    ],
    [{ DATABASE_URL: 'postgres://u:secret@a.test/x?sslmode=verify-ca' }, 'must have sslrootcert'],
    [
      { DATABASE_URL: 'postgres://u:secret@a.test/x?sslrootcert=/ca' },
      'must have sslmode, as it has sslrootcert',
    ],
    [{ DATABASE_URL: 'postgres://u:secret@a.test/x?sslmode=require&sslkey=/k' }, 'both sslcert and sslkey'],
    [
      { DATABASE_URL: 'postgres://u:secret@a.test/x?target_session_attrs=any' },
      'parameter target_session_attrs',
    ],
    [
      { DATABASE_URL: 'postgres://u:12?secret@a.test/x' },
      'DATABASE_URL must not have the parameter: supported',
    ],
  ])('refuses %j, and does not repeat a password', (env, text) => {
    expect(fault(env)).toContain(text);
    expect(fault(env)).not.toContain('secret');
  });
});
