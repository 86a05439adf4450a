import { execFile } from 'node:child_process';
import { hkdfSync } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { analystAddress } from './analysts.ts';
import { loadConfig, renderEnvExample } from './config.ts';
import { fromProject } from './paths.ts';
import { withGeneratedSecrets } from './secrets.ts';

/** As 1.0.0-alpha.1 derives it from a password of 32 p and a click key of 16 bytes ab. */
const DATA_KEY_OF_OLD = Buffer.from(
  hkdfSync('sha256', `${'p'.repeat(32)} ${'ab'.repeat(16)}`, '', 'afflux data key', 32),
).toString('hex');

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
  it('chooses the embedded engines', () => {
    const config = loadConfig({});
    expect(config.embedded).toEqual({ postgres: true, clickhouse: true, nats: true });
    expect([config.collectorPort, config.apiPort]).toEqual([8080, 8081]);
    expect(config.collectorUrl).toBe('http://localhost:8080');
  });

  it('reads the variables of OpenTelemetry only where it sends something', () => {
    const others = {
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
      OTEL_METRICS_EXPORTER: 'prometheus',
      OTEL_TRACES_EXPORTER: 'console',
      OTEL_TRACES_SAMPLER: 'jaeger_remote',
      OTEL_TRACES_SAMPLER_ARG: 'endpoint=http://localhost:14250',
      OTEL_RESOURCE_ATTRIBUTES: 'a=50%,b=c',
      OTEL_METRIC_EXPORT_INTERVAL: '0',
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=a%0Ab',
    };
    const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://localhost:4318' };
    expect(loadConfig(others)).toEqual(loadConfig({}));
    expect(loadConfig({ ...others, ...endpoint, OTEL_SDK_DISABLED: 'True' })).toEqual(loadConfig({}));
    expect(loadConfig({ ...endpoint, OTEL_SDK_DISABLED: 'false' }).otlpEndpoint).toBe(
      'http://localhost:4318',
    );
    const refusal = () => loadConfig({ ...others, ...endpoint });
    for (const name of Object.keys(others)) expect(refusal).toThrow(new RegExp(`^ {2}${name} `, 'm'));
    expect(refusal).toThrow(/OTEL_EXPORTER_OTLP_HEADERS has a header .* "authorization"/);
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
    const urls = [first.databaseOwnerUrl, first.databaseUrl, first.clickhouseUrl, first.natsUrl];
    const logins = urls.map((url) => {
      const { username, password, port } = new URL(url);
      return [username, password, port];
    });
    expect(logins).toEqual([
      ['postgres', first.postgresPassword, '54320'],
      ['afflux_app', first.databasePassword, '54320'],
      ['default', first.clickhousePassword, '18123'],
      ['afflux', first.natsPassword, '14222'],
    ]);
    expect(new Set(logins.map(([, password]) => password)).size).toBe(4);
  });

  it('adds the passwords that the file of an earlier version lacks, and changes nothing else', () => {
    const home = folder();
    const file = join(home, 'secrets.json');
    const old = { postgresPassword: 'p'.repeat(32), clickKey: 'ab'.repeat(16) };
    writeFileSync(file, JSON.stringify(old), { mode: 0o644 });
    const environment = loadConfig({ AFFLUX_HOME: home });
    const config = withGeneratedSecrets(environment);
    const stored = JSON.parse(readFileSync(file, 'utf8'));
    expect(stored).toEqual({
      ...old,
      clickhousePassword: config.clickhousePassword,
      natsPassword: config.natsPassword,
      databasePassword: config.databasePassword,
      analystPassword: config.analystPassword,
      programAnalystKey: config.programAnalystKey,
    });
    const { clickhousePassword, natsPassword, databasePassword, analystPassword, programAnalystKey } = config;
    const added = [clickhousePassword, natsPassword, databasePassword, analystPassword, programAnalystKey];
    expect(added.map(({ length }) => length)).toEqual([32, 32, 32, 32, 32]);
    expect(new Set(added).size).toBe(5);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readdirSync(home)).toEqual(['secrets.json']);
    // What is encrypted already stays readable: the key depends on the two older secrets alone.
    expect(config.dataKeys[0].toString('hex')).toBe(DATA_KEY_OF_OLD);
    expect(withGeneratedSecrets(environment)).toEqual(config);
  });

  it.each([
    ['a new folder', undefined],
    ['the file of an earlier version', { postgresPassword: 'p', clickKey: 'ab'.repeat(16) }],
  ])('gives processes that start at once the same secrets: %s', async (_case, old) => {
    const home = join(folder(), 'home');
    if (old) {
      mkdirSync(home);
      writeFileSync(join(home, 'secrets.json'), JSON.stringify(old));
    }
    const script = `
      import { loadConfig } from ${JSON.stringify(fromProject('dist/core/config/config.js'))};
      import { withGeneratedSecrets } from ${JSON.stringify(fromProject('dist/core/config/secrets.js'))};
      const { databaseUrl, clickhouseUrl, natsUrl } = withGeneratedSecrets(loadConfig(process.env));
      console.log(databaseUrl, clickhouseUrl, natsUrl);`;
    const run = promisify(execFile);
    const answers = await Promise.all(
      Array.from({ length: 8 }, () =>
        run(process.execPath, ['--input-type=module', '-e', script], { env: { AFFLUX_HOME: home } }),
      ),
    );
    expect(new Set(answers.map(({ stdout }) => stdout)).size).toBe(1);
    expect(readdirSync(home)).toEqual(['secrets.json']);
  });

  it('makes the data folder its owner’s alone, and closes what an earlier version left open', () => {
    const home = join(folder(), 'home');
    const environment = loadConfig({ AFFLUX_HOME: home });
    const mode = (name: string) => statSync(join(home, name)).mode & 0o777;
    withGeneratedSecrets(environment);
    expect([mode('.'), mode('secrets.json')]).toEqual([0o700, 0o600]);
    for (const name of ['bin', 'clickhouse']) mkdirSync(join(home, name));
    writeFileSync(join(home, 'demo.json'), '');
    for (const name of ['.', 'bin', 'clickhouse']) chmodSync(join(home, name), 0o755);
    chmodSync(join(home, 'demo.json'), 0o644);
    withGeneratedSecrets(environment);
    expect([mode('.'), mode('clickhouse'), mode('demo.json')]).toEqual([0o700, 0o700, 0o600]);
    // Programs, no data: an engine's account runs them.
    expect(mode('bin')).toBe(0o755);
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
    { NATS_URL: 'nats://10.0.0.1:4222', NATS_REPLICAS: '5' },
    { NATS_REPLICAS: '1' },
    { DATABASE_URL: 'postgres://u:p@db.test/x?sslmode=verify-full&sslrootcert=/ca.pem&sslcert=/c&sslkey=/k' },
    { DATABASE_URL: 'postgres://u:p@db.test/x?sslmode=require&options=-c%20search_path%3Da,b' },
    { DATABASE_URL: 'postgres://u:p@%2Frun%2Fpostgresql/x' },
    { DATABASE_URL: 'postgres://u:p@a.test,b.test:5433,[::1]:5434/x' },
    { DATABASE_URL: 'postgresql://u:p,q@a.test:1,%2Frun%2Fpostgresql/x?target_session_attrs=primary' },
    { DATABASE_URL: 'postgres://u:p@a.test/x?target_session_attrs=any' },
    { DATABASE_URL: 'postgres:///x?host=/run/postgresql&user=u' },
    { CLICKHOUSE_URL: 'http://u:p@a.test/x,http://u:p@b.test/x', CLICKHOUSE_CLUSTER: 'c' },
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
    [{ CLICKHOUSE_URL: 'http://u:secret@a.test,nats://b.test' }, 'one for each server, separated by commas'],
    [
      { CLICKHOUSE_URL: 'http://u:secret@a.test/x,http://u:secret@b.test/x' },
      'CLICKHOUSE_URL of several servers needs CLICKHOUSE_CLUSTER',
    ],
    [
      { CLICKHOUSE_URL: 'http://u:secret@a.test/x,http://v:secret@b.test/x', CLICKHOUSE_CLUSTER: 'c' },
      'the same user and password',
    ],
    [
      { CLICKHOUSE_URL: 'http://u:secret@a.test/x,http://u:secret@b.test/y', CLICKHOUSE_CLUSTER: 'c' },
      'the same protocol and database',
    ],
    [{ CLICKHOUSE_CLUSTER: 'c' }, 'CLICKHOUSE_CLUSTER needs CLICKHOUSE_URL'],
    [{ DATABASE_URL: 'postgres://u:100%secret@a.test/x' }, 'written as %25'],
    [{ NATS_URL: 'nats://a.test,' }, 'NATS_URL must be URLs'],
    [{ NATS_URL: 'tls://10.0.0.1' }, 'NATS_URL must have host names for TLS'],
    [{ NATS_URL: 'nats://[::1]', NATS_CA: '/ca' }, 'NATS_URL must have host names for TLS'],
    [{ NATS_URL: 'nats://a.test', NATS_CERT: '/c' }, 'NATS_CERT and NATS_KEY belong together'],
    [{ NATS_CREDS: '/x' }, 'NATS_CREDS needs NATS_URL'],
    [{ NATS_TLS_FIRST: 'yes' }, 'NATS_TLS_FIRST needs NATS_URL'],
    [{ NATS_REPLICAS: '3' }, 'NATS_REPLICAS above 1 needs NATS_URL'],
    [{ NATS_URL: 'nats://a.test', NATS_REPLICAS: '2' }, 'NATS_REPLICAS must be 1, 3 or 5'],
    [{ NATS_TLS_FIRST: 'maybe' }, 'NATS_TLS_FIRST must be one of yes, no'],
    [
      { CLICKHOUSE_URL: 'http://ch.test', CLICKHOUSE_CA: '/c' },
      'CLICKHOUSE_CA needs a CLICKHOUSE_URL with https',
    ],
    [
      { CLICKHOUSE_URL: 'https://ch.test', CLICKHOUSE_KEY: '/k' },
      'CLICKHOUSE_CERT and CLICKHOUSE_KEY belong',
    ],
    [{ DATABASE_URL: 'postgres://u:secret@a.test,,b.test/x' }, 'several hosts with commas between them'],
    [{ DATABASE_URL: 'postgres://u:secret@a.test,b.test:x/x' }, 'several hosts with commas between them'],
    [{ DATABASE_URL: 'postgres://u:secret@/x?host=a.test,b.test' }, 'postgres://user'],
    [{ DATABASE_URL: 'postgres:///x?host=a.test,b.test' }, 'several hosts before the path'],
    [{ DATABASE_URL: 'postgres://u:secret@a.test,b.test/x?port=1,2' }, 'several hosts before the path'],
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
      { DATABASE_URL: 'postgres://u:secret@a.test/x?target_session_attrs=standby' },
      'any, read-write, primary as target_session_attrs',
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

describe('the address of analysts', () => {
  const cluster = {
    clickhouseUrl: 'http://u:p@a:8123/shop,http://u:p@b:8123/shop',
    clickhouseCluster: 'main',
  };

  it('of every program is that of the first server of a cluster', () => {
    expect(analystAddress(cluster)).toEqual({ url: 'http://a:8123', database: 'shop_all', user: 'analyst' });
  });

  it('of one program is refused on a cluster, and given on a server', () => {
    expect(() => analystAddress(cluster, 7)).toThrow('program_id: cannot be given: on a ClickHouse cluster');
    const { user } = analystAddress({ ...cluster, clickhouseCluster: '' }, 7);
    expect(user).toBe('analyst_prg_7');
  });
});
