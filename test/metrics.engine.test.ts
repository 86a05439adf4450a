import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fromProject } from '../core/config/paths.ts';
import { askClickHouse, waitFor } from './support/engines.ts';
import { buildGo, type GoProgram, hasGo } from './support/go/go.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';

/** A platform as `npm start` runs it, with what `afflux grafana` makes for it: its logins work, and its metrics are sound. */

const START_MS = 120_000;
/** To fetch and compile the checks takes a minute and a half the first time. */
const BUILD_MS = 400_000;

let platform: TestPlatform;
let printed: string;
beforeAll(async () => {
  platform = await startPlatform();
  printed = await platform.afflux('grafana');
}, START_MS);
afterAll(async () => await platform?.stop());

const read = (path: string): string => readFileSync(join(platform.config.home, 'grafana', path), 'utf8');
function secret(name: string): string {
  return new RegExp(`^${name}=(.+)$`, 'm').exec(read('grafana.env'))?.[1] ?? '';
}

interface Target {
  readonly targets: readonly string[];
  readonly labels: { readonly process: string };
}

/** What each process answers Prometheus, by its name. */
async function scrapeAll(): Promise<Map<string, string>> {
  const { scrape_configs: jobs } = JSON.parse(read('prometheus/prometheus.yaml')) as {
    scrape_configs: { static_configs: Target[] }[];
  };
  const headers = { authorization: `Bearer ${read('prometheus/metrics-token')}` };
  const answers = (jobs[0]?.static_configs ?? []).map(async ({ targets, labels }) => {
    const response = await fetch(`http://${targets[0]}/metrics`, { headers });
    expect([labels.process, response.status]).toEqual([labels.process, 200]);
    return [labels.process, await response.text()] as const;
  });
  return new Map(await Promise.all(answers));
}

test('the data sources reach the embedded engines as users who only read', async () => {
  expect(printed).toContain('docker run -d --name afflux-grafana');
  const { datasources } = JSON.parse(read('provisioning/datasources/afflux.yaml'));
  const { host, port, username, defaultDatabase } = datasources[0].jsonData;
  const url = `http://${username}:${secret('AFFLUX_CLICKHOUSE_PASSWORD')}@${host}:${port}/${defaultDatabase}`;
  const ask = async (sql: string): Promise<number> =>
    (await askClickHouse(url, {}, { method: 'POST', body: sql })).status;
  expect(await ask('SELECT count() FROM clicks')).toBe(200);
  expect(await ask('TRUNCATE TABLE clicks')).not.toBe(200);

  const { user, url: server, jsonData } = datasources[1];
  const password = secret('AFFLUX_POSTGRES_PASSWORD');
  const client = new pg.Client(`postgres://${user}:${password}@${server}/${jsonData.database}`);
  await client.connect();
  try {
    expect((await client.query('select * from grafana_webhooks')).rows).toEqual([]);
    await expect(client.query('select from users')).rejects.toThrow('permission denied');
  } finally {
    await client.end();
  }
});

test('the scheduler says how large the stores are, and what waits for somebody', async () => {
  let text = '';
  await waitFor(
    async () => {
      text = (await scrapeAll()).get('scheduler') ?? '';
      return text.includes('afflux_store_disk_bytes{store="clickhouse"}');
    },
    { deadlineMs: 30_000, what: 'the first reading of the stores' },
  );
  const value = (series: string): number =>
    Number(
      text
        .split('\n')
        .find((line) => line.startsWith(`${series} `))
        ?.split(' ')[1],
    );
  expect(value('afflux_store_disk_bytes{store="postgres"}')).toBeGreaterThan(1_000_000);
  expect(value('afflux_store_disk_bytes{store="clickhouse"}')).toBeGreaterThan(0);
  expect(value('afflux_store_memory_bytes{store="clickhouse"}')).toBeGreaterThan(1_000_000);
  const [free, size] = ['free', 'size'].map((what) => value(`afflux_disk_${what}_bytes{folder="home"}`));
  expect(Number(free)).toBeGreaterThan(0);
  expect(Number(free)).toBeLessThan(Number(size));
  expect(value('afflux_payouts_open{state="unknown"}')).toBe(0);
  expect(value('afflux_webhook_deliveries{state="dead"}')).toBe(0);
  expect(value('afflux_postback_calls_last_hour{outcome="rejected"}')).toBe(0);
});

describe('as promtool sees them', () => {
  let checks: GoProgram | undefined;
  beforeAll(async () => {
    if (hasGo('metrics and rules with the checks of promtool')) checks = await buildGo('prometheus-rules');
  }, BUILD_MS);
  afterAll(() => checks?.remove());

  const faults = async (args: readonly string[], input?: string): Promise<string[]> =>
    JSON.parse((await checks?.run(args, {}, input)) ?? '');

  test('the metrics of every process are named as they should be', async ({ skip }) => {
    if (!checks) skip('no go');
    const scraped = await scrapeAll();
    expect([...scraped.keys()].sort()).toEqual(['api', 'attribution', 'collector', 'loader', 'scheduler']);
    for (const [name, text] of scraped) expect([name, await faults([], text)]).toEqual([name, []]);
    expect(await faults([], '# TYPE x_total gauge\nx_total 1\n')).not.toEqual([]);
  });

  test('the rules are rules', async ({ skip }) => {
    if (!checks) skip('no go');
    expect(await faults([fromProject('dashboards/grafana/generated/prometheus-rules.yaml')])).toEqual([]);
    const folder = mkdtempSync(join(tmpdir(), 'afflux-rules-'));
    const file = join(folder, 'wrong.yaml');
    writeFileSync(file, 'groups: [{ name: a, rules: [{ alert: A, expr: "rate(x" }] }]');
    expect(await faults([file])).not.toEqual([]);
    rmSync(folder, { recursive: true });
  });
});
