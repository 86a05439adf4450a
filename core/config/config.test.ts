import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadConfig, renderEnvExample } from './config.ts';
import { fromProject } from './paths.ts';

const homes: string[] = [];
const home = () => {
  const folder = mkdtempSync(join(tmpdir(), 'afflux config '));
  homes.push(folder);
  return folder;
};
afterAll(() => {
  for (const folder of homes) rmSync(folder, { recursive: true });
});

describe('loadConfig', () => {
  it('fills in the embedded engines', () => {
    const config = loadConfig({ AFFLUX_HOME: home() });
    expect(config.embedded).toEqual({ postgres: true, clickhouse: true, nats: true });
    expect(config.natsUrl).toBe('nats://127.0.0.1:14222');
    expect(config.clickhouseUrl).toBe('http://127.0.0.1:18123/afflux');
    expect(new URL(config.databaseUrl).port).toBe('54320');
    expect([config.collectorPort, config.apiPort]).toEqual([8080, 8081]);
    expect(config.collectorUrl).toBe('http://localhost:8080');
  });

  it('keeps the generated secrets', () => {
    const folder = home();
    const first = loadConfig({ AFFLUX_HOME: folder });
    const second = loadConfig({ AFFLUX_HOME: folder });
    expect(second.clickKeys).toEqual(first.clickKeys);
    expect(second.databaseUrl).toBe(first.databaseUrl);
    expect(first.clickKeys[0]).toHaveLength(16);
  });

  it('takes servers where URLs are given', () => {
    const config = loadConfig({
      AFFLUX_HOME: home(),
      DATABASE_URL: 'postgres://u:p@db.test/x',
      NATS_URL: 'nats://n.test:4222',
      COLLECTOR_URL: 'https://go.test/',
      TRUSTED_PROXIES: '10.0.0.0/8, ::1',
      CLICK_KEYS: `${'ab'.repeat(16)},${'cd'.repeat(16)}`,
    });
    expect(config.embedded).toEqual({ postgres: false, clickhouse: true, nats: false });
    expect(config.databaseUrl).toBe('postgres://u:p@db.test/x');
    expect(config.collectorUrl).toBe('https://go.test');
    expect(config.trustedProxies).toEqual(['10.0.0.0/8', '::1']);
    expect(config.clickKeys.map((key) => key.toString('hex'))).toEqual(['ab'.repeat(16), 'cd'.repeat(16)]);
  });

  it('lists every fault at once, by the name of its variable', () => {
    const faults = () =>
      loadConfig({
        AFFLUX_HOME: home(),
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

  it('says what to change when the data folder cannot be used', () => {
    expect(() => loadConfig({ AFFLUX_HOME: '/dev/null/x' })).toThrow(
      /data folder \/dev\/null\/x .* AFFLUX_HOME/,
    );
  });
});

describe('.env.example', () => {
  it('lists every variable with its unit and default', async () => {
    await expect(renderEnvExample()).toMatchFileSnapshot(fromProject('.env.example'));
  });
});
