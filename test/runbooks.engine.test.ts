import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createHttpClient } from '../bin/demo/http.ts';
import { SERVICES, type Service, serviceUrl } from '../bin/services.ts';
import { assert } from '../core/errors.ts';
import { ALERT_GROUPS, type Alert } from '../dashboards/grafana/alerts.ts';
import { CLICKHOUSE, POSTGRES } from '../dashboards/grafana/data-source-ids.ts';
import { askClickHouse, waitFor } from './support/engines.ts';
import { createAsker } from './support/grafana/answers.ts';
import { startPlatform, type TestPlatform } from './support/platform.ts';
import { reportMissing } from './support/programs.ts';

/**
 * Runbooks followed against the faults that they are for, on a platform as `npm start` runs it: the alert would fire, the
 * steps of docs/runbooks.md are done, and it is over. AFFLUX_TEST_RUNBOOKS=1 runs it; it takes some minutes.
 */
const isWanted = process.env.AFFLUX_TEST_RUNBOOKS === '1';
const canMount = isWanted && spawnSync('unshare', ['-m', 'true']).status === 0;
if (isWanted && !canMount) reportMissing('root', 'runbooks');
const HOME_MB = 1_500;
/** Of the disk, once it is filled. */
const LEFT_SHARE = 0.06;
/** Of Prometheus, unless its configuration says otherwise. */
const SCRAPE_TIMEOUT_MS = 10_000;
const SOON_MS = 60_000;
/** An alert of a lag of two minutes. */
const LAG_MS = 240_000;
const BROWSER = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0';

const http = createHttpClient();
let platform: TestPlatform;
let home: string;
let token: string;
let clicks = 0;

function alertOf(uid: string): Alert {
  const found = ALERT_GROUPS.flatMap(({ alerts }) => alerts).find((alert) => alert.uid === uid);
  assert(found !== undefined, `there is no alert ${uid}`);
  return found;
}

/** The values for which an alert over SQL fires, at a time after now. */
async function firing(uid: string, afterMs = 0): Promise<number[]> {
  const { question, above } = alertOf(uid);
  assert(question.store !== 'prometheus', `${uid} is a question of metrics`);
  const toMs = Date.now() + afterMs;
  const range = {
    fromMs: toMs - question.fromSeconds * 1_000,
    toMs: toMs - (question.toSeconds ?? 0) * 1_000,
    intervalS: 60,
    values: {},
  };
  const asker = createAsker({
    books: { url: platform.config.databaseOwnerUrl },
    warehouse: { url: platform.config.clickhouseUrl },
  });
  const datasource = question.store === 'clickhouse' ? CLICKHOUSE : POSTGRES;
  const { columns, rows } = await asker.ask({ datasource, rawSql: question.sql }, range);
  const at = columns.findIndex(({ kind }) => kind === 'number');
  return rows.map((row) => Number(row[at])).filter((value) => value > above);
}

function service(name: Service['name']): Service {
  const found = SERVICES.find((one) => one.name === name);
  assert(found !== undefined, name);
  return found;
}

/** The series of a metric, as a scrape would have them; undefined where the process does not answer in time. */
async function scrape(name: Service['name'], metric: string, as = token): Promise<number[] | undefined> {
  const signal = AbortSignal.timeout(SCRAPE_TIMEOUT_MS);
  const headers = { authorization: `Bearer ${as}` };
  try {
    const answer = await fetch(`${serviceUrl(service(name), platform.config)}/metrics`, { headers, signal });
    if (answer.status !== 200) return undefined;
    const lines = (await answer.text()).split('\n');
    return lines
      .filter((line) => line.startsWith(`${metric}{`) || line.startsWith(`${metric} `))
      .map((line) => Number(line.slice(line.lastIndexOf(' '))));
  } catch {
    return undefined;
  }
}

async function metric(name: Service['name'], of: string): Promise<number> {
  const values = (await scrape(name, of)) ?? [];
  return values.reduce((sum, value) => sum + value, 0);
}

/** The process of the platform whose command line has this text. */
function pidOf(text: string): number {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const found = pids.find((pid) => {
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      const isOurs = line.includes(home) || readFileSync(`/proc/${pid}/environ`, 'utf8').includes(home);
      return isOurs && line.includes(text);
    } catch {
      // It has just ended.
      return false;
    }
  });
  assert(found !== undefined, `no process ${text}`);
  return Number(found);
}

async function click(
  marker = `click-${clicks++}`,
  address = `10.0.${clicks >> 8}.${clicks & 255}`,
): Promise<number> {
  const code = platform.demo.links[0]?.code;
  const { status } = await http.get(`${platform.collectorUrl}/c/${code}?sub1=${marker}`, {
    'User-Agent': BROWSER,
    'X-Forwarded-For': address,
  });
  return status;
}

async function warehouse(sql: string): Promise<string> {
  const answer = await askClickHouse(platform.config.clickhouseUrl, {}, { method: 'POST', body: sql });
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  return text.trim();
}

async function stored(marker: string): Promise<number> {
  return Number(await warehouse(`SELECT count() FROM clicks WHERE sub1 = '${marker}'`));
}

/** `afflux audit`: whether it is green, and what it prints. */
async function audit(): Promise<{ ok: boolean; text: string }> {
  return await platform.afflux('audit').then(
    (text) => ({ ok: true, text }),
    (error: Error) => ({ ok: false, text: error.message }),
  );
}

async function until(what: string, condition: () => Promise<boolean>, deadlineMs = SOON_MS): Promise<void> {
  await waitFor(condition, { deadlineMs, what });
}

describe.skipIf(!canMount)('the runbook', () => {
  beforeAll(async () => {
    platform = await startPlatform({
      env: { TRUSTED_PROXIES: '127.0.0.0/8' },
      async prepare(folder) {
        home = folder;
        // A disk of its own, to fill.
        execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${HOME_MB}m,mode=700`, 'afflux-runbooks', folder]);
      },
    });
    token = (await platform.afflux('metrics-token')).trim();
  }, 4 * SOON_MS);
  afterAll(async () => {
    http.close();
    await platform?.stop().catch((error: NodeJS.ErrnoException) => {
      // The mount point itself.
      if (error.code !== 'EBUSY') throw error;
    });
    if (home) {
      spawnSync('umount', [home]);
      rmSync(home, { recursive: true, force: true });
    }
  }, 2 * SOON_MS);

  test(
    'audit-stale: no audit has run',
    async () => {
      expect(await firing('audit-stale')).toHaveLength(1);
      expect(await audit()).toMatchObject({ ok: true });
      expect(await firing('audit-stale')).toEqual([]);
    },
    2 * SOON_MS,
  );

  test(
    'velocity-address and velocity-affiliate: a burst from one address',
    async () => {
      for (let i = 0; i < 150; i++) expect(await click(`burst-${i}`, '198.51.100.9')).toBe(302);
      await until(
        'the burst to be stored',
        async () => (await warehouse("SELECT count() FROM clicks WHERE sub1 LIKE 'burst-%'")) === '150',
      );
      // Half a minute later, when the question of the alert covers these minutes.
      const later = 31_000;
      expect(await firing('velocity-address', later)).toHaveLength(1);
      const [one, next] = [
        await firing('velocity-affiliate', later),
        await firing('velocity-affiliate', later + 60_000),
      ];
      expect([...one, ...next].length).toBeGreaterThan(0);
      expect(await firing('velocity-address', later + 5 * 60_000)).toEqual([]);
    },
    3 * SOON_MS,
  );

  test(
    'spool-growing: NATS does not answer',
    async () => {
      process.kill(pidOf('nats-server'), 'SIGSTOP');
      const before = await metric('collector', 'afflux_collector_spool_bytes');
      for (let i = 0; i < 20; i++) expect(await click()).toBe(302);
      const during = await metric('collector', 'afflux_collector_spool_bytes');
      expect(during).toBeGreaterThan(before);
      // "Restart it": what is stopped answers to nothing else.
      process.kill(pidOf('nats-server'), 'SIGKILL');
      await until(
        'the spool to be empty',
        async () => (await metric('collector', 'afflux_collector_spool_bytes')) === 0,
      );
      await until('its clicks to be stored', async () => (await stored(`click-${clicks - 1}`)) === 1);
    },
    3 * SOON_MS,
  );

  test(
    'process-down: a process that answers nothing, and a wrong token',
    async () => {
      const stuck = pidOf('afflux.js attribution');
      process.kill(stuck, 'SIGSTOP');
      expect(await scrape('attribution', 'process_start_time_seconds')).toBeUndefined();
      process.kill(stuck, 'SIGKILL');
      await until(
        'it to be back',
        async () => (await scrape('attribution', 'process_start_time_seconds')) !== undefined,
      );
      expect(await scrape('api', 'process_start_time_seconds', 'wrong')).toBeUndefined();
      expect((await platform.afflux('metrics-token')).trim()).toBe(token);
    },
    3 * SOON_MS,
  );

  test(
    'dead-letters: ClickHouse refuses the rows of a batch',
    async () => {
      const before = await metric('loader', 'afflux_loader_dead_letters_total');
      await warehouse("ALTER TABLE clicks ADD CONSTRAINT runbook CHECK sub1 != 'refused'");
      expect(await click('refused')).toBe(302);
      await until(
        'the dead letter',
        async () => (await metric('loader', 'afflux_loader_dead_letters_total')) > before,
      );
      expect(await platform.afflux('deadletters', 'list')).toContain('refused');
      expect(await audit()).toMatchObject({ ok: false });
      // "Correct the cause named in the detail, then replay".
      await warehouse('ALTER TABLE clicks DROP CONSTRAINT runbook');
      await platform.afflux('deadletters', 'replay', '--all');
      await until('its click to be stored', async () => (await stored('refused')) === 1);
      expect(await audit()).toMatchObject({ ok: true });
    },
    4 * SOON_MS,
  );

  test(
    'gap and audit-fails: a stored click is gone, and comes back from a copy',
    async () => {
      // Between the first and the last click of its lease, and covered by the watermark.
      for (const marker of ['before', 'gone', 'after']) expect(await click(marker)).toBe(302);
      await until('them to be stored', async () => (await stored('after')) === 1);
      await warehouse('CREATE TABLE kept AS clicks');
      await warehouse("INSERT INTO kept SELECT * FROM clicks WHERE sub1 = 'gone'");
      await warehouse("ALTER TABLE clicks DELETE WHERE sub1 = 'gone' SETTINGS mutations_sync = 2");
      await until('the alert', async () => (await firing('gap')).length === 1);
      const failed = await audit();
      expect(failed.ok).toBe(false);
      expect(failed.text).toMatch(/FAILED +clicks +leases +lease \d+: .*first gap/);
      expect((await firing('audit-fails')).length).toBeGreaterThan(0);
      const partition = await warehouse('SELECT any(_partition_id) FROM kept');
      await warehouse(`ALTER TABLE clicks ATTACH PARTITION ID '${partition}' FROM kept`);
      await warehouse('DROP TABLE kept');
      expect(await firing('gap')).toEqual([]);
      expect(await audit()).toMatchObject({ ok: true });
      expect(await firing('audit-fails')).toEqual([]);
    },
    4 * SOON_MS,
  );

  test(
    'postbacks-refused: calls in a currency without a rate',
    async () => {
      const { keys } = platform.demo;
      const report = (order: string) =>
        http.get(
          `${platform.apiUrl}/postback?key=${keys.advertiser}&order_id=${order}&amount=10.00&currency=SEK`,
        );
      for (let i = 0; i < 6; i++) expect((await report(`sek-${i}`)).status).not.toBe(200);
      expect(await firing('postbacks-refused')).toHaveLength(1);
      const { data } = await http.getJson<{ data: { id: string; outcome: string; reason: string }[] }>(
        `${platform.apiUrl}/v1/postback-calls?outcome=rejected`,
        { key: keys.operator },
      );
      expect(data.length).toBeGreaterThanOrEqual(6);
      await platform.afflux('rates', 'add', 'SEK', 'EUR', '0.09', '--source', 'runbook');
      const again = await http.post<{ status: string }>(
        `${platform.apiUrl}/v1/postback-calls/${data[0]?.id}/replay`,
        { key: keys.operator, body: {} },
      );
      expect(again).toMatchObject({ status: 'accepted' });
    },
    2 * SOON_MS,
  );

  test(
    'disk-full: the disk of the data folder fills',
    async () => {
      const filler = join(home, 'filler');
      const used = () =>
        Promise.all([
          metric('scheduler', 'afflux_disk_free_bytes'),
          metric('scheduler', 'afflux_disk_size_bytes'),
        ]).then(([free, size]) => 1 - free / size);
      const bound = alertOf('disk-full').above;
      expect(await used()).toBeLessThan(bound);
      const { bavail, bsize } = statfsSync(home);
      const file = openSync(filler, 'w');
      const megabyte = Buffer.alloc(1024 ** 2);
      const wanted = Math.floor((bavail * bsize) / megabyte.length - HOME_MB * LEFT_SHARE);
      for (let i = 0; i < wanted; i++) writeSync(file, megabyte);
      closeSync(file);
      await until('the metric to say so', async () => (await used()) > bound);
      rmSync(filler);
      await until('the metric to say that it is over', async () => (await used()) < bound);
    },
    4 * SOON_MS,
  );

  test(
    'loader-lag: ClickHouse does not answer',
    async () => {
      const { metric: expression } = alertOf('loader-lag');
      expect(expression).toMatch(/^max\(afflux_loader_freshness_seconds\) > 120$/);
      process.kill(pidOf('clickhouse-server/main.js'), 'SIGSTOP');
      expect(await click('lagging')).toBe(302);
      await until(
        'a lag of two minutes',
        async () => (await metric('loader', 'afflux_loader_freshness_seconds')) > 120,
        LAG_MS,
      );
      process.kill(pidOf('clickhouse-server/main.js'), 'SIGKILL');
      await until(
        'the loader to catch up',
        async () => (await metric('loader', 'afflux_loader_freshness_seconds')) < 120,
      );
      await until('the click to be stored', async () => (await stored('lagging').catch(() => 0)) === 1);
      expect(await firing('loader-lag')).toEqual([]);
    },
    LAG_MS + 3 * SOON_MS,
  );

  test(
    'no-clicks: the quarter of an hour had clicks on other days',
    async () => {
      await warehouse(
        `INSERT INTO clicks_minutely (minute, campaign_id, clicks)
       SELECT toStartOfMinute(now()) - INTERVAL number + 1 DAY + INTERVAL 55 MINUTE, 800, 100 FROM numbers(6)`,
      );
      // In an hour, with no click until then.
      expect(await firing('no-clicks', 60 * 60_000)).toHaveLength(1);
      expect(await firing('no-clicks')).toEqual([]);
    },
    SOON_MS,
  );
});
