import { DAY_S, HOUR_S } from '../../core/time.ts';
import type { Board } from './links.ts';
import { STUCK_SECONDS } from './pieces/freshness.ts';
import { GAPS } from './pieces/gaps.ts';
import { CREDITED, nameOr, namesOf, WATERMARK } from './sql.ts';

/** A condition that calls somebody. Its runbook is the heading of its `uid` in docs/runbooks.md. */
export interface Alert {
  readonly uid: string;
  readonly title: string;
  /** One line for the person on call; can name labels of the query as `{{ $labels.name }}`, and the value as `{{ $values.A }}`. */
  readonly summary: string;
  readonly severity: 'page' | 'ticket';
  readonly question: Question;
  /** It fires for values above. */
  readonly above: number;
  /** The same condition over metrics, where the question is SQL and processes export enough: PromQL that has a value while it holds. */
  readonly metric?: string;
  /** How long it must hold. */
  readonly for: string;
  /** What no answer at all means. */
  readonly noData: 'OK' | 'Alerting';
  /** The panel that shows it. */
  readonly panel: { readonly board: Board; readonly title: string };
}

/** Answers one number, or one for each text beside it. `fromSeconds` and `toSeconds` before now are its range. */
export type Question =
  | {
      readonly store: 'clickhouse' | 'postgres';
      readonly sql: string;
      readonly fromSeconds: number;
      readonly toSeconds?: number;
    }
  | { readonly store: 'prometheus'; readonly expr: string };

/** A key is fast when its last minute has so many times the clicks of its median minute … */
const SPIKE_FACTOR = 5;
/** … which is taken for no less than this: five clicks after a single one are no spike. */
const USUAL_FLOOR = { address: 12, affiliate: 20 } as const;
/** The last minute ends this long ago, when all its clicks are loaded. */
const INGEST_LAG_SECONDS = 30;

/** The minutes of an hour before the end of the range, counted back from 0. */
const MINUTES_AGO = (time: string): string =>
  `intDiv(toUnixTimestamp64Milli($__toTime_ms) - toUnixTimestamp64Milli(${time}), 60000)`;

const velocityOfAddresses: Alert = {
  uid: 'velocity-address',
  title: 'Click rate of an address far above its median',
  summary: '{{ $labels.address }}: clicks of the last minute are {{ $values.A }} times the median minute',
  severity: 'ticket',
  question: {
    store: 'clickhouse',
    fromSeconds: HOUR_S + INGEST_LAG_SECONDS,
    toSeconds: INGEST_LAG_SECONDS,
    sql: `
SELECT replaceRegexpOne(toString(ip), '^::ffff:', '') AS address, recent / greatest(usual, ${USUAL_FLOOR.address}) AS factor
FROM (
  SELECT ip, sumIf(c, ago = 0) AS recent, quantileExactIf(0.5)(c, ago > 0) AS usual
  FROM (
    SELECT subnet, ip, ${MINUTES_AGO('ts')} AS ago, count() AS c
    FROM velocity_ip WHERE $__timeFilter_ms(ts)
    GROUP BY subnet, ip, ago
  ) GROUP BY ip
)
WHERE recent >= ${USUAL_FLOOR.address}
ORDER BY factor DESC, address LIMIT 20`,
  },
  above: SPIKE_FACTOR,
  for: '0s',
  noData: 'OK',
  panel: { board: 'fraud', title: 'Addresses, last hour' },
};

const velocityOfAffiliates: Alert = {
  uid: 'velocity-affiliate',
  title: 'Click rate of an affiliate far above its median',
  summary: '{{ $labels.affiliate }}: clicks of the last minute are {{ $values.A }} times the median minute',
  severity: 'ticket',
  question: {
    store: 'clickhouse',
    fromSeconds: HOUR_S + INGEST_LAG_SECONDS,
    toSeconds: INGEST_LAG_SECONDS,
    sql: `
SELECT concat(${nameOr('v.id')}, ' (', toString(v.id), ')') AS affiliate, v.recent / greatest(v.usual, ${USUAL_FLOOR.affiliate}) AS factor
FROM (
  SELECT id, sumIf(c, minute = last) AS recent, quantileExactIf(0.5)(c, minute < last) AS usual
  FROM (
    SELECT affiliate_id AS id, minute, sumIf(t.clicks, flag_group != 'impression') AS c,
      toStartOfMinute($__toTime) - INTERVAL 1 MINUTE AS last
    FROM clicks_minutely AS t
    WHERE minute >= $__fromTime AND minute < toStartOfMinute($__toTime)
    GROUP BY id, minute
  ) GROUP BY id HAVING recent >= ${USUAL_FLOOR.affiliate}
) AS v
LEFT JOIN ${namesOf('affiliate')} AS n ON n.id = v.id
ORDER BY factor DESC, affiliate LIMIT 20`,
  },
  above: SPIKE_FACTOR,
  for: '0s',
  noData: 'OK',
  panel: { board: 'fraud', title: 'Affiliates, last hour' },
};

/** Fewer expected orders say nothing. */
const LEAST_EXPECTED_ORDERS = 20;
/** So many standard deviations of a Poisson count from what was expected: by chance once in a million days. */
const RATE_DEVIATIONS = 5;

const conversionRate: Alert = {
  uid: 'conversion-rate',
  title: 'A campaign’s conversion rate has changed',
  summary:
    '{{ $labels.campaign }}: conversions of the last day deviate by {{ $values.A }} standard deviations from the rate of the 14 days before',
  severity: 'ticket',
  question: {
    store: 'clickhouse',
    fromSeconds: 15 * DAY_S,
    sql: `
SELECT concat(${nameOr('r.id')}, ' (', toString(r.id), ')') AS campaign, abs(r.orders - r.expected) / sqrt(r.expected) AS deviations
FROM (
  SELECT id, sum(new_orders) AS orders, sum(new_clicks) * sum(old_orders) / sum(old_clicks) AS expected
  FROM (
    SELECT campaign_id AS id, sumIf(v, hour >= day) AS new_clicks, sumIf(v, hour < day) AS old_clicks, 0 AS new_orders, 0 AS old_orders
    FROM (
      SELECT campaign_id, hour, $__toTime - INTERVAL 1 DAY AS day, sum(t.valid_clicks) AS v
      FROM campaigns_hourly AS t WHERE hour >= $__fromTime AND hour <= $__toTime
      GROUP BY campaign_id, hour
    ) GROUP BY id
    UNION ALL
    SELECT campaign_id AS id, 0, 0, countIf(${CREDITED} AND toDateTime(occurred_at) >= $__toTime - INTERVAL 1 DAY),
      countIf(${CREDITED} AND toDateTime(occurred_at) < $__toTime - INTERVAL 1 DAY)
    FROM conversions FINAL WHERE $__timeFilter_ms(occurred_at)
    GROUP BY id
  ) GROUP BY id HAVING sum(old_clicks) > 0 AND expected >= ${LEAST_EXPECTED_ORDERS}
) AS r
LEFT JOIN ${namesOf('campaign')} AS n ON n.id = r.id
ORDER BY deviations DESC, campaign LIMIT 20`,
  },
  above: RATE_DEVIATIONS,
  for: '30m',
  noData: 'OK',
  panel: { board: 'campaigns', title: 'Top campaigns' },
};

/** A quarter of an hour that usually has fewer clicks may well have none. */
const LEAST_USUAL_CLICKS = 20;

const noClicks: Alert = {
  uid: 'no-clicks',
  title: 'No clicks',
  summary: 'No click in the last 15 minutes; the days before had {{ $values.A }}',
  severity: 'page',
  question: {
    store: 'clickhouse',
    fromSeconds: 7 * DAY_S,
    toSeconds: INGEST_LAG_SECONDS,
    sql: `
SELECT if(recent = 0, usual, 0) AS usual_clicks
FROM (
  SELECT sumIf(t.clicks, ago < 15) AS recent, sumIf(t.clicks, ago >= 15) / 6 AS usual
  FROM (
    SELECT dateDiff('minute', minute, $__toTime) AS ago, sum(clicks) AS clicks
    FROM clicks_minutely
    WHERE minute >= $__fromTime AND minute <= $__toTime AND flag_group != 'impression'
    GROUP BY ago
  ) AS t
  WHERE ago % 1440 < 15
)`,
  },
  above: LEAST_USUAL_CLICKS,
  for: '2m',
  noData: 'OK',
  panel: { board: 'pipeline', title: 'Stored clicks by minute' },
};

const loaderLag: Alert = {
  uid: 'loader-lag',
  title: 'Reports lag',
  summary: 'complete_to is {{ $values.A }} seconds behind',
  severity: 'page',
  question: {
    store: 'clickhouse',
    fromSeconds: HOUR_S,
    sql: `
SELECT toFloat64(dateDiff('second', at, now64(3))) AS behind
FROM (SELECT (${WATERMARK}) AS at)
WHERE at > toDateTime64(0, 3)`,
  },
  above: STUCK_SECONDS,
  metric: `max(afflux_loader_freshness_seconds) > ${STUCK_SECONDS}`,
  for: '2m',
  noData: 'OK',
  panel: { board: 'pipeline', title: 'Freshness' },
};

const gap: Alert = {
  uid: 'gap',
  title: 'Clicks missing or stored twice',
  summary: 'Lease {{ $labels.lease }}: {{ $values.A }} clicks missing or stored twice',
  severity: 'page',
  question: {
    store: 'clickhouse',
    fromSeconds: HOUR_S,
    sql: `
SELECT toString(node) AS lease, toFloat64(abs(missing)) AS clicks
FROM (${GAPS}
)
WHERE missing != 0
ORDER BY clicks DESC, lease LIMIT 20`,
  },
  above: 0,
  for: '5m',
  noData: 'OK',
  panel: { board: 'pipeline', title: 'Missing and duplicate clicks' },
};

const spool: Alert = {
  uid: 'spool-growing',
  title: 'Spool growing',
  summary:
    'Spool of {{ $labels.instance }} grows by {{ $values.A }} bytes a second: the stream does not acknowledge batches',
  severity: 'page',
  question: { store: 'prometheus', expr: 'deriv(afflux_collector_spool_bytes[5m])' },
  above: 0,
  for: '5m',
  noData: 'OK',
  panel: { board: 'pipeline', title: 'Spool' },
};

const processDown: Alert = {
  uid: 'process-down',
  title: 'Process down',
  summary: '{{ $labels.process }} at {{ $labels.instance }}: metrics endpoint does not answer',
  severity: 'page',
  question: { store: 'prometheus', expr: '1 - up{job="afflux"}' },
  above: 0,
  for: '2m',
  noData: 'Alerting',
  panel: { board: 'pipeline', title: 'Processes down' },
};

const deadLetters: Alert = {
  uid: 'dead-letters',
  title: 'Dead letters',
  summary: '{{ $values.A }} batches not loaded: {{ $labels.reason }}',
  severity: 'page',
  question: {
    store: 'prometheus',
    expr: 'sum by (reason) (increase(afflux_loader_dead_letters_total[15m]))',
  },
  above: 0,
  for: '0s',
  noData: 'OK',
  panel: { board: 'pipeline', title: 'Dead letters, last day' },
};

const brokenProjection: Alert = {
  uid: 'broken-projection',
  title: 'Projection damaged',
  summary: '{{ $values.A }} reads without the projection {{ $labels.projection }} of {{ $labels.table }}',
  severity: 'ticket',
  question: {
    store: 'prometheus',
    expr: 'sum by (table, projection) (increase(afflux_warehouse_broken_projection_reads_total[15m]))',
  },
  above: 0,
  for: '0s',
  noData: 'OK',
  panel: { board: 'pipeline', title: 'Reads without a projection' },
};

const payoutUnknown: Alert = {
  uid: 'payout-unknown',
  title: 'Payouts with unknown outcome',
  summary: '{{ $values.A }} payouts by {{ $labels.provider }} with unknown outcome',
  severity: 'ticket',
  question: {
    store: 'postgres',
    fromSeconds: HOUR_S,
    sql: `
SELECT provider, count(*)::float8 AS payouts
FROM grafana_payouts
WHERE state = 'unknown'
GROUP BY provider ORDER BY provider`,
  },
  above: 0,
  metric: 'max(afflux_payouts_open{state="unknown"}) > 0',
  for: '1h',
  noData: 'OK',
  panel: { board: 'money', title: 'Payouts that need attention' },
};

const payoutFailed: Alert = {
  uid: 'payout-failed',
  title: 'Payouts failed or returned',
  summary:
    '{{ $values.A }} payouts by {{ $labels.provider }} failed or came back, and no later payout takes their place',
  severity: 'ticket',
  question: {
    store: 'postgres',
    fromSeconds: HOUR_S,
    sql: `
SELECT provider, count(*)::float8 AS payouts
FROM grafana_payouts_open
WHERE state IN ('failed', 'returned')
GROUP BY provider ORDER BY provider`,
  },
  above: 0,
  metric: 'sum(max by (state) (afflux_payouts_open{state=~"failed|returned"})) > 0',
  for: '5m',
  noData: 'OK',
  panel: { board: 'money', title: 'Payouts that need attention' },
};

/** Fewer refused calls an hour are a typing mistake … */
const LEAST_REFUSED = 5;
/** … and a smaller share a single order that cannot be. */
const REFUSED_SHARE = 0.2;

const postbacksRefused: Alert = {
  uid: 'postbacks-refused',
  title: 'Calls that report orders are refused',
  summary: '{{ $labels.program }}: {{ $values.A }} of the calls of the last hour were refused',
  severity: 'ticket',
  question: {
    store: 'postgres',
    fromSeconds: HOUR_S,
    sql: `
SELECT coalesce(program || ' (' || program_id || ')', 'unknown') AS program,
  count(*) FILTER (WHERE outcome = 'rejected')::float8 / count(*) AS share
FROM grafana_postback_calls
WHERE received_at > clock_timestamp() - interval '1 hour' AND replay_of IS NULL
GROUP BY program_id, program
HAVING count(*) FILTER (WHERE outcome = 'rejected') >= ${LEAST_REFUSED}
ORDER BY 2 DESC, 1`,
  },
  above: REFUSED_SHARE,
  metric: `max(afflux_postback_calls_last_hour{outcome="rejected"}) >= ${LEAST_REFUSED} and max(afflux_postback_calls_last_hour{outcome="rejected"}) / sum(max by (outcome) (afflux_postback_calls_last_hour)) > ${REFUSED_SHARE}`,
  for: '0s',
  noData: 'OK',
  panel: { board: 'pipeline', title: 'Refused calls' },
};

const webhookDead: Alert = {
  uid: 'webhook-dead',
  title: 'Webhook deliveries given up',
  summary: '{{ $labels.endpoint }}: {{ $values.A }} deliveries given up, the last within an hour',
  severity: 'ticket',
  question: {
    store: 'postgres',
    fromSeconds: HOUR_S,
    sql: `
SELECT program || ': ' || host || ' (' || id || ')' AS endpoint, dead::float8 AS deliveries
FROM grafana_webhooks
WHERE last_dead_at > clock_timestamp() - interval '1 hour'
ORDER BY 2 DESC, 1`,
  },
  above: 0,
  metric: 'max(afflux_webhook_deliveries{state="dead"}) > 0',
  for: '0s',
  noData: 'OK',
  panel: { board: 'pipeline', title: 'Webhook backlog' },
};

/** Below a tenth, NATS and the stores have hours or minutes; none of them writes on a full disk. */
const DISK_USED_SHARE = 0.9;

const diskFull: Alert = {
  uid: 'disk-full',
  title: 'Disk nearly full',
  summary: 'The disk of the data folder at {{ $labels.instance }} is full to a share of {{ $values.A }}',
  severity: 'page',
  question: {
    store: 'prometheus',
    expr: '1 - min by (instance) (afflux_disk_free_bytes / afflux_disk_size_bytes)',
  },
  above: DISK_USED_SHARE,
  for: '5m',
  noData: 'OK',
  panel: { board: 'pipeline', title: 'Free disk' },
};

const auditFails: Alert = {
  uid: 'audit-fails',
  title: 'Audit check violated',
  summary: 'Violated in the last audit: {{ $labels.violation }}',
  severity: 'page',
  question: {
    store: 'postgres',
    fromSeconds: HOUR_S,
    sql: `
SELECT store || ': ' || name AS violation, 1::float8 AS fails
FROM grafana_audit_checks
WHERE at = (SELECT max(at) FROM grafana_audit_checks) AND NOT ok
ORDER BY violation`,
  },
  above: 0,
  metric: 'max by (store) (afflux_audit_violations) > 0',
  for: '0s',
  noData: 'OK',
  panel: { board: 'money', title: 'Audit checks' },
};

/** A daily audit may be late by a day; without any the age is that of a year. */
const PROOF_STALE_SECONDS = 2 * DAY_S;

const auditStale: Alert = {
  uid: 'audit-stale',
  title: 'No recent audit',
  summary: 'Last audit {{ $values.A }} seconds ago',
  severity: 'ticket',
  question: {
    store: 'postgres',
    fromSeconds: HOUR_S,
    sql: `
SELECT coalesce(extract(epoch FROM clock_timestamp() - max(at)), ${365 * DAY_S})::float8 AS age
FROM grafana_audit_checks`,
  },
  above: PROOF_STALE_SECONDS,
  for: '1h',
  noData: 'OK',
  panel: { board: 'money', title: 'Last audit' },
};

/** Rules that are asked together; one that reads a week is asked less often. */
export interface AlertGroup {
  readonly name: string;
  readonly interval: string;
  readonly alerts: readonly Alert[];
}

export const ALERT_GROUPS: readonly AlertGroup[] = [
  { name: 'velocity', interval: '1m', alerts: [velocityOfAddresses, velocityOfAffiliates] },
  {
    name: 'pipeline',
    interval: '1m',
    alerts: [loaderLag, gap, spool, processDown, deadLetters, brokenProjection, diskFull],
  },
  { name: 'traffic', interval: '5m', alerts: [noClicks, conversionRate] },
  { name: 'edges', interval: '1m', alerts: [postbacksRefused, webhookDead] },
  { name: 'money', interval: '5m', alerts: [payoutUnknown, payoutFailed, auditFails, auditStale] },
];
