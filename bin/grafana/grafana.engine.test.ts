import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { startStandIn } from '../../test/support/grafana/stand-in.ts';
import { freshLedger, type TestLedger } from '../../test/support/ledger.ts';

/** `afflux grafana` beside servers of one's own, with Grafana's login tried at PostgreSQL. */

/** Each command is a process, which takes seconds to start on a busy machine. */
const COMMANDS_MS = 120_000;

let db: TestLedger;
let home: string;
beforeAll(async () => {
  db = await freshLedger({ max: 1 });
  home = mkdtempSync(join(tmpdir(), 'afflux-grafana-'));
});
afterAll(async () => {
  await db?.close();
  rmSync(home, { recursive: true });
});

/** What the command prints, or the error that it ends with. */
async function grafana(args: readonly string[], settings: Record<string, string> = {}): Promise<string> {
  const env = {
    PATH: process.env.PATH ?? '',
    AFFLUX_HOME: home,
    DATABASE_URL: db.appUrl,
    DATABASE_OWNER_URL: db.url,
    CLICKHOUSE_URL: 'https://afflux:own-password@clickhouse.example/clicks',
    MAIL_URL: 'smtp://post:pa%20ss@mail.example',
    API_PORT: '9981',
    ...settings,
  };
  return await new Promise((resolve) => {
    execFile(
      process.execPath,
      [fromProject('dist/bin/afflux.js'), 'grafana', ...args],
      { env, cwd: home },
      (_, out, error) => resolve(out + error),
    );
  });
}

const read = (path: string): string => readFileSync(join(home, 'grafana', path), 'utf8');
const modeOf = (path: string): number => statSync(join(home, 'grafana', path)).mode & 0o777;

function environment(): Map<string, string> {
  const lines = read('grafana.env').trim().split('\n');
  return new Map(lines.map((line) => [line.replace(/=.*/, ''), line.replace(/^[^=]*=/, '')]));
}

test('a new Grafana: files, commands, and a login at PostgreSQL that works', {
  timeout: COMMANDS_MS,
}, async () => {
  const printed = await grafana(['--mail', 'ops@shop.example', '--webhook', 'https://hook.example/k3y']);
  expect(printed).toMatch(/docker run -d --name afflux-grafana .*--env-file \S+grafana\.env/);
  expect(printed).toMatch(/docker run -d --name afflux-prometheus/);
  expect(printed).toContain(`clickhouse-client --host clickhouse.example`);
  const given = environment();
  for (const secret of [...given.values()].filter((value) => value.length > 30)) {
    expect(printed).not.toContain(secret);
  }
  expect(given.get('GF_PLUGINS_PREINSTALL_SYNC')).toBe('grafana-clickhouse-datasource@4.20.0');
  expect([given.get('GF_SMTP_HOST'), given.get('GF_SMTP_PASSWORD')]).toEqual(['mail.example:587', 'pa ss']);
  expect(['grafana.env', 'prometheus/metrics-token', 'clickhouse-user.sql'].map(modeOf)).toEqual([
    0o600, 0o600, 0o600,
  ]);
  expect(modeOf('provisioning/datasources/afflux.yaml')).toBe(0o644);
  const { datasources } = JSON.parse(read('provisioning/datasources/afflux.yaml'));
  expect(datasources).toMatchObject([
    { jsonData: { host: 'clickhouse.example', port: 8_443, secure: true, username: 'analyst' } },
    { user: 'afflux_grafana' },
    { url: 'http://127.0.0.1:9090' },
  ]);
  expect(read('clickhouse-user.sql')).toContain(
    `CREATE USER OR REPLACE analyst IDENTIFIED WITH sha256_password BY '${given.get('AFFLUX_CLICKHOUSE_PASSWORD')}'`,
  );
  const scraped = JSON.parse(read('prometheus/prometheus.yaml')).scrape_configs[0].static_configs;
  expect(scraped).toContainEqual({ targets: ['127.0.0.1:9981'], labels: { process: 'api' } });

  const url = new URL(db.url);
  url.username = 'afflux_grafana';
  url.password = given.get('AFFLUX_POSTGRES_PASSWORD') ?? '';
  // What PostgreSQL keeps is what it would have made of the password itself, which it has not seen.
  const owner = new pg.Client(db.url);
  await owner.connect();
  const { rows } = await owner.query("select rolpassword from pg_authid where rolname = 'afflux_grafana'");
  await owner.end();
  expect(rows[0].rolpassword).toMatch(/^SCRAM-SHA-256\$4096:/);
  const client = new pg.Client(url.href);
  await client.connect();
  try {
    expect((await client.query('select from grafana_payouts')).rows).toEqual([]);
    await expect(client.query('select from payouts')).rejects.toThrow('permission denied');
    await expect(client.query('create table x ()')).rejects.toThrow('read-only transaction');
  } finally {
    await client.end();
  }

  // Again: the same passwords, and the same receivers until others are named. What an earlier version made is gone.
  const boards = join(home, 'grafana/provisioning/dashboards/afflux/Afflux');
  writeFileSync(join(boards, 'afflux-dropped.json'), '{}');
  writeFileSync(join(boards, 'own.json'), '{}');
  expect(await grafana([])).toContain('Alerts go to ops@shop.example, the webhook');
  expect(environment()).toEqual(given);
  expect(modeOf('receivers.json')).toBe(0o600);
  expect(readdirSync(boards)).toContain('own.json');
  expect(readdirSync(boards)).not.toContain('afflux-dropped.json');
  expect(await grafana(['--no-webhook'])).toContain('Alerts go to ops@shop.example,');
  expect(environment().get('AFFLUX_POSTGRES_PASSWORD')).toBe(given.get('AFFLUX_POSTGRES_PASSWORD'));
  expect([...environment().keys()]).not.toContain('AFFLUX_WEBHOOK_URL');
});

test('a Grafana that is installed here, and one that runs', { timeout: COMMANDS_MS }, async () => {
  const folder = join(home, 'etc', 'provisioning');
  mkdirSync(folder, { recursive: true });
  const installed = await grafana(['--folder', folder, '--prometheus', 'http://prometheus.example:9090'], {
    DATABASE_OWNER_URL: '',
  });
  expect(installed).not.toContain('docker');
  expect(installed).toContain('EnvironmentFile=');
  expect(installed).toContain('postgres-user.sql');
  expect(modeOf('postgres-user.sql')).toBe(0o600);
  expect(readdirSync(folder).sort()).toEqual(['alerting', 'dashboards', 'datasources']);
  const provider = JSON.parse(readFileSync(join(folder, 'dashboards/afflux.yaml'), 'utf8')).providers[0];
  expect(readdirSync(join(provider.options.path, 'Afflux')).length).toBeGreaterThanOrEqual(5);

  const standIn = await startStandIn({ token: 'glsa_x', pluginVersion: '4.21.0' });
  try {
    const done = await grafana(['--url', standIn.url], { GRAFANA_TOKEN: 'glsa_x' });
    expect(done).toMatch(
      /Grafana 13\.2\.3 with grafana-clickhouse-datasource 4\.21\.0 at \S+ has 3 data sources/,
    );
    expect(standIn.kept.get('/api/datasources/uid/afflux-postgres')).toMatchObject({
      secureJsonData: { password: environment().get('AFFLUX_POSTGRES_PASSWORD') },
    });
    expect(await grafana(['--url', standIn.url], { GRAFANA_TOKEN: 'other' })).toContain(
      'afflux: Grafana does not know the token',
    );
  } finally {
    await standIn.close();
  }
});

test('an owner of the schema who is no superuser lets Grafana in too', { timeout: COMMANDS_MS }, async () => {
  const owner = new pg.Client(db.url);
  await owner.connect();
  const name = `owner_${process.pid}`;
  const url = new URL(db.url);
  url.username = name;
  url.password = 'of the owner';
  try {
    await owner.query(`create role ${name} login createrole password 'of the owner'`);
    await owner.query(`grant afflux_grafana to ${name} with admin option`);
    expect(await grafana([], { DATABASE_OWNER_URL: url.href })).toContain(
      'PostgreSQL lets afflux_grafana in',
    );
  } finally {
    await owner.query(`drop role ${name}`);
    await owner.end();
  }
});

test('the latest conversions have their commissions counted after the limit', async () => {
  const owner = new pg.Client(db.url);
  await owner.connect();
  try {
    const { rows } = await owner.query(
      'explain (verbose) select id, commission from grafana_orders order by occurred_at desc limit 100',
    );
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
    const [above = '', below = ''] = plan.split('->  Sort');
    expect(above).toContain('SubPlan');
    expect(/Output: .*/.exec(below)?.[0]).toMatch(/^Output: (?!.*SubPlan)/);
  } finally {
    await owner.end();
  }
});

test('what cannot be is refused before anything is written', { timeout: COMMANDS_MS }, async () => {
  const refused = [
    await grafana(['--url', 'http://127.0.0.1:3000']),
    await grafana(['--url', 'http://127.0.0.1:3000', '--folder', '/x']),
    await grafana(['--folder', 'here']),
    await grafana(['--mail', 'ops']),
    await grafana(['--webhook', 'ftp://x']),
  ];
  expect(refused).toEqual([
    expect.stringContaining('GRAFANA_TOKEN is not set'),
    expect.stringContaining('--folder and --url exclude each other'),
    expect.stringContaining('--folder must be an absolute path'),
    expect.stringContaining('must be e-mail addresses'),
    expect.stringContaining('must be a URL starting with http'),
  ]);
});
