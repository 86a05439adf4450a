import { join } from 'node:path';
import { createClickIdCodec } from '../../core/clicks/click-id.ts';
import type { Config } from '../../core/config/config.ts';
import { clickhouseServer } from '../../core/config/servers.ts';
import { OperatingError } from '../../core/errors.ts';
import { createNetworkMatcher, parseIp } from '../../core/ip.ts';
import { formatAmount } from '../../core/money.ts';
import { createLogger } from '../../core/service/log.ts';
import { logFormat } from '../../core/service/log-lines.ts';
import type { Running } from '../../core/service/service.ts';
import { withoutPassword } from '../../core/url.ts';
import { countConversions, countPayouts, sumCommissions } from '../../ledger/audit/counts.ts';
import { connectDatabase, type Database } from '../../ledger/postgres/db.ts';
import { connectWarehouse, type Warehouse } from '../../warehouse/clickhouse/client.ts';
import { lookupClicks, MAX_LOOKUP_IDENTITIES } from '../../warehouse/lookups/lookups.ts';
import { readWatermark } from '../../warehouse/watermark/watermark.ts';
import { type AuditReport, runAudit } from '../commands/audit.ts';
import { readConfig } from '../environment.ts';
import { linksInCollectors } from '../loaded-links.ts';
import { SERVICES, serviceNamed, serviceUrl } from '../services.ts';
import { renderTable } from '../table.ts';
import { type PlayedClicks, playClicks } from './clicks.ts';
import { type Demo, ensureDemo } from './data.ts';
import { describeDemo } from './first-steps.ts';
import { prepareFixture } from './fixture.ts';
import { createHttpClient, type HttpClient } from './http.ts';
import { type ConversionView, listRun, type MoneyTrail, playMoney } from './money.ts';
import { type PlayedOrders, playOrders } from './orders.ts';
import { pollUntil } from './poll-until.ts';

/**
 * `afflux demo`: plays traffic against the running platform, pays for it, prints the trail from click to payout, and
 * sets exit code 1 when any of it does not add up.
 */
export async function demo(options: { clicks: number }): Promise<void> {
  const config = readConfig();
  const http = createHttpClient();
  await requireReady(http, config);
  const known = await openDemo(config);
  if (options.clicks === 0) {
    await pollUntil(
      'the collectors to load the links',
      async () => (await linksInCollectors(config)) >= known.links.length,
    );
    http.close();
    process.stdout.write(`\n${describeDemo(config, known).join('\n')}\n`);
    return;
  }
  const collector = await openCollector(config);
  const warehouse = await connectWarehouse({ ...clickhouseServer(config), name: 'afflux-demo' });
  const ledger = await connectDatabase({ url: config.databaseUrl, max: 1, name: 'afflux-demo' });
  try {
    const played = await play({
      config,
      http,
      demo: known,
      collectorUrl: collector.url,
      clicks: options.clicks,
      warehouse,
    });
    const violations = violationsOf(played);
    const heading = violations.length === 0 ? 'The trail, from click to payout. It adds up:' : 'The trail:';
    process.stdout.write(`\n${heading}\n${await describeTrail(played, known, ledger)}\n`);
    process.stdout.write(`\n${describeDemo(config, known).join('\n')}\n`);
    if (violations.length > 0) {
      process.stderr.write(
        `\nIT DOES NOT ADD UP:\n${violations.map((violation) => `  ${violation}`).join('\n')}\n`,
      );
      process.exitCode = 1;
    }
  } finally {
    http.close();
    await collector.stop();
    await Promise.all([warehouse.close(), ledger.end()]);
  }
}

/** The demo program, which is made where there is no other. @throws OperatingError `no_demo`. */
async function openDemo(config: Config): Promise<Demo> {
  const ledger = await connectDatabase({ url: config.databaseUrl, max: 1, name: 'afflux-demo' });
  const demo = await ensureDemo({ ledger, config }).finally(() => ledger.end());
  if (demo) return demo;
  throw new OperatingError(
    'no_demo',
    `there are programs in ${withoutPassword(config.databaseUrl)}: the demo wants a platform of its own. Start one with "npm start" on an empty AFFLUX_HOME`,
  );
}

async function requireReady(http: HttpClient, config: Config): Promise<void> {
  for (const service of SERVICES) {
    const url = serviceUrl(service, config);
    const answer = await http.get(`${url}/readyz`).catch(() => undefined);
    if (answer?.status === 200) continue;
    throw new OperatingError(
      'not_ready',
      `the ${service.name} at ${url} ${answer ? `is not ready: ${answer.body.trim()}` : 'does not answer'}. Start the platform with "npm start"`,
    );
  }
}

/**
 * The demo's visitors come from all over the world, but every request of this process comes from this machine, and the
 * platform's collector trusts no X-Forwarded-For from it by default. So unless loopback is a trusted proxy, the demo
 * sends clicks to a collector of its own that trusts it: the same code, the same stream, a lease of its own.
 */
async function openCollector(config: Config): Promise<{ url: string } & Running> {
  const loopback = parseIp('127.0.0.1');
  if (loopback && createNetworkMatcher(config.trustedProxies)(loopback)) {
    return { url: serviceUrl(serviceNamed('collector'), config), stop: async () => undefined };
  }
  const { startCollector } = await import('../../collector/main.ts');
  const { freePort } = await import('../../engines/engine.ts');
  const port = await freePort();
  const running = await startCollector({
    config: {
      ...config,
      home: join(config.home, 'demo'),
      host: '127.0.0.1',
      collectorPort: port,
      trustedProxies: ['127.0.0.1'],
    },
    log: createLogger({ name: 'demo-collector', level: 'error', format: logFormat(config.logFormat) }),
  });
  const url = `http://127.0.0.1:${port}`;
  await pollUntil(
    'the demo’s collector to load its links',
    async () => (await fetch(`${url}/readyz`)).status === 200,
  );
  return { url, stop: running.stop };
}

/** What was played, and what the platform made of it. */
interface Played {
  readonly clicks: PlayedClicks;
  readonly stored: { rows: number; identities: number; found: number };
  readonly orders: PlayedOrders;
  /** Before refunds and reviews. */
  readonly decided: readonly ConversionView[];
  readonly money: MoneyTrail;
  readonly report: AuditReport;
}

async function play(options: {
  config: Config;
  http: HttpClient;
  demo: Demo;
  collectorUrl: string;
  clicks: number;
  warehouse: Warehouse;
}): Promise<Played> {
  const { config, http, demo: known, collectorUrl, warehouse } = options;
  const apiUrl = serviceUrl(serviceNamed('api'), config);
  const run = `run${Date.now().toString(36)}`;
  const inRun = { http, apiUrl, demo: known, run };
  await prepareFixture(inRun);
  const clicks = await playClicks({ ...inRun, collectorUrl, count: options.clicks });
  const playedUntil = Date.now();
  const list = async (): Promise<ConversionView[]> => await listRun({ ...inRun, key: known.keys.operator });
  const allDecided = async (): Promise<void> =>
    await pollUntil('every order to be decided', async () =>
      (await list()).every(({ state }) => state !== 'received' && state !== 'awaiting_click'),
    );
  const orders = await playOrders({ ...inRun, clicks: clicks.redirected, decided: allDecided });
  process.stderr.write('waiting until every click is counted and every order decided\n');
  await pollUntil(
    'the warehouse to be complete',
    async () => ((await readWatermark(warehouse)) ?? 0) > playedUntil,
  );
  const stored = await countStored(warehouse, run, clicks, config);
  await allDecided();
  const decided = await list();
  const money = await playMoney({ ...inRun, orders: orders.orders });
  return { clicks, stored, orders, decided, money, report: await runAudit(config) };
}

/** What does not add up; nothing when all does. */
function violationsOf({ clicks, stored, orders, decided, report }: Played): string[] {
  const redirects = clicks.redirected.length;
  return [
    ...expectEqual('redirects', redirects, 'clicks sent', clicks.sent),
    ...expectEqual('rows in ClickHouse', stored.rows, 'redirects', redirects),
    ...expectEqual('distinct rows', stored.identities, 'rows in ClickHouse', stored.rows),
    ...expectEqual('click ids found as rows', stored.found, 'redirects', redirects),
    ...expectEqual('conversions recorded', decided.length, 'orders sent', orders.orders.length),
    ...expectEqual('accepted answers', orders.accepted, 'orders sent', orders.orders.length),
    ...expectEqual('duplicate answers', orders.duplicates, 'orders sent twice', orders.resent),
    ...report.checks.filter((check) => !check.ok).map((check) => `${check.name}: ${check.detail}`),
  ];
}

/** The trail from click to payout, as a table. */
async function describeTrail(played: Played, known: Demo, ledger: Database): Promise<string> {
  const { clicks, stored, orders, decided, money, report } = played;
  const { id: programId, currency } = known.program;
  const inCurrency = (minor: bigint): string => `${formatAmount(minor, currency)} ${currency}`;
  const conversions = await countConversions(ledger, { programId });
  const commissions = await sumCommissions(ledger, { programId });
  const payouts = await countPayouts(ledger, { programId });
  return renderTable([
    ['clicks sent', `${clicks.sent}`],
    ['redirects', `${clicks.redirected.length}`],
    [
      'rows in ClickHouse',
      `${stored.rows} (${stored.identities} distinct, ${stored.found} found by the visitors’ click ids)`,
    ],
    [
      'orders sent',
      `${orders.orders.length}, ${orders.resent} of them twice: ${orders.accepted} accepted, ${orders.duplicates} duplicates`,
    ],
    ['decided', summary(decided)],
    [
      'then',
      `${money.refundsBeforePayout} refunded, ${money.approved} approved and ${money.rejected} rejected in review, ${money.leftInReview} left there, ${money.confirmed} confirmed, ${money.payouts} payouts, ${money.refundsAfterPayout} refunded after payment`,
    ],
    ...conversions.map((row) => [
      `conversions ${row.state}`,
      `${row.conversions} (${row.status}), orders of ${inCurrency(row.amountMinor)}`,
    ]),
    ...commissions.map((row) => [
      `commissions level ${row.level}`,
      `${row.commissions}: earned ${inCurrency(row.earnedMinor)}, reversed ${inCurrency(row.reversedMinor)}`,
    ]),
    ...payouts.map((row) => [`payouts ${row.state}`, `${row.payouts}, ${inCurrency(row.amountMinor)}`]),
    ...report.checks.map((check) => [`${check.ok ? 'ok' : 'FAILED'}: ${check.name}`, check.detail]),
    ['complete to', report.complete_to ?? 'nothing'],
  ]);
}

/** How many rows the run left, and how many of the visitors' click ids are the id of a stored row. */
async function countStored(
  warehouse: Warehouse,
  run: string,
  clicks: PlayedClicks,
  config: Config,
): Promise<{ rows: number; identities: number; found: number }> {
  const { rows } = await warehouse.query<{ stored: string; identities: string }>(
    'SELECT count() AS stored, uniqExact(ts, node, seq) AS identities FROM clicks WHERE sub5 = {run:String}',
    { run },
  );
  const codec = createClickIdCodec(config.clickKeys);
  const identities = clicks.redirected
    .map((click) => codec.decode(click.clickId))
    .filter((id) => id !== undefined);
  let found = 0;
  for (let i = 0; i < identities.length; i += MAX_LOOKUP_IDENTITIES) {
    found += (await lookupClicks(warehouse, identities.slice(i, i + MAX_LOOKUP_IDENTITIES))).length;
  }
  return { rows: Number(rows[0]?.stored ?? 0), identities: Number(rows[0]?.identities ?? 0), found };
}

function expectEqual(what: string, actual: number, reference: string, expected: number): string[] {
  return actual === expected ? [] : [`${what}: ${actual}, but ${reference}: ${expected}`];
}

function summary(conversions: readonly { state: string; reason: string | null }[]): string {
  const counts = new Map<string, number>();
  for (const { state, reason } of conversions) {
    const key = reason === null ? state : `${state} (${reason})`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].map(([key, count]) => `${count} ${key}`).join(', ');
}
