import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadConfig, renderEnvExample } from './config.ts';
import { fromProject } from './paths.ts';
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
  it('chooses the embedded engines', () => {
    const config = loadConfig({});
    expect(config.embedded).toEqual({ postgres: true, clickhouse: true, nats: true });
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
    const { port, password } = new URL(first.databaseUrl);
    expect([port, password]).toEqual(['54320', first.postgresPassword]);
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
