import type { Dashboard } from '@grafana/grafana-foundation-sdk/dashboard';
import { deployAnnotation } from '../annotations.ts';
import { buildBoard, line } from '../board.ts';
import { numbers, overTime, type PanelSource, rows } from '../panels.ts';
import { freshness, LATE_SECONDS, STUCK_SECONDS } from '../pieces/freshness.ts';
import { GAP_HOURS, GAPS } from '../pieces/gaps.ts';
import { clickhouse, promql } from '../sources.ts';
import { MINUTES_IN_RANGE } from '../sql.ts';
import { portalVariable } from '../variables.ts';
import {
  brokenProjections,
  cpu,
  diskFree,
  memory,
  refusedCalls,
  refusedOverTime,
  storeDisk,
  storeMemory,
  webhooks,
} from './operations.ts';

const quantile = (q: number, histogram: string): string =>
  `histogram_quantile(${q}, sum by (le) (rate(${histogram}_bucket[$__rate_interval])))`;
const mean = (histogram: string): string =>
  `sum(rate(${histogram}_sum[$__rate_interval])) / sum(rate(${histogram}_count[$__rate_interval]))`;

/** How the path of a click does, from the redirect to the report. */
export function pipeline(): Dashboard {
  return buildBoard({
    board: 'pipeline',
    description: 'The path of a click from redirect to report: rates, latency, backlogs, gaps.',
    from: 'now-3h',
    refresh: '10s',
    variables: [portalVariable()],
    annotations: [deployAnnotation()],
    top: [line(4, [5, freshness()], [5, gapFigures()], [5, waiting()], [5, deadLetters()], [4, away()])],
    sections: [
      {
        title: 'Collector',
        lines: [
          line(8, [8, clickRate()], [8, outcomes()], [8, commitLatency()]),
          line(8, [8, spool()], [8, refusals()], [8, batches()]),
        ],
      },
      {
        title: 'Stream and loader',
        lines: [
          line(8, [8, streamLag()], [8, loaderFreshness()], [8, loaderRate()]),
          line(8, [8, insertLatency()], [8, setAside()], [8, storedByMinute()]),
        ],
      },
      {
        title: 'Attribution and API',
        lines: [line(8, [6, decisions()], [6, undecided()], [6, mirrorLag()], [6, apiLatency()])],
      },
      {
        title: 'Calls and webhooks',
        lines: [line(9, [9, refusedOverTime()], [15, refusedCalls()]), line(9, [24, webhooks()])],
      },
      {
        title: 'Machines',
        lines: [
          line(8, [8, cpu()], [8, memory()], [8, diskFree()]),
          line(8, [8, storeDisk()], [8, storeMemory()], [8, brokenProjections()]),
        ],
      },
      { title: 'Audit', lines: [line(9, [24, gapsByLease()])] },
    ],
  });
}

function gapFigures(): PanelSource {
  return numbers({
    title: 'Missing and duplicate clicks',
    description: `Clicks of the last ${GAP_HOURS} hours numbered by their lease but not stored, and clicks stored twice, up to the watermark. Both must be 0; afflux audit checks all clicks.`,
    unit: 'none',
    columns: { Missing: { steps: [[1, 'red']] }, Doubled: { steps: [[1, 'red']] } },
    queries: [
      clickhouse(
        `
SELECT sum(greatest(missing, 0)) AS Missing, sum(greatest(-missing, 0)) AS Doubled
FROM (${GAPS}
)`,
        'table',
      ),
    ],
  });
}

function waiting(): PanelSource {
  return numbers({
    title: 'Backlog',
    description:
      'Clicks not yet in ClickHouse: bytes in the collectors’ spools (not acknowledged by the stream) and messages not yet loaded.',
    unit: 'short',
    columns: {
      Spool: { unit: 'bytes', steps: [[1, 'orange']] },
      'Stream messages': {
        steps: [
          [1_000, 'orange'],
          [10_000, 'red'],
        ],
      },
    },
    queries: [
      promql('sum(afflux_collector_spool_bytes)', { legend: 'Spool' }),
      promql('sum(afflux_loader_lag_messages)', { legend: 'Stream messages', refId: 'B' }),
    ],
  });
}

function deadLetters(): PanelSource {
  return numbers({
    title: 'Dead letters, last day',
    description: 'Batches that cannot be loaded. Runbook: docs/warehouse.md; afflux deadletters lists them.',
    unit: 'short',
    decimals: 0,
    steps: [[1, 'red']],
    queries: [
      promql('sum(increase(afflux_loader_dead_letters_total[1d])) or vector(0)', { legend: 'Batches' }),
    ],
  });
}

function away(): PanelSource {
  return numbers({
    title: 'Processes down',
    description: 'Processes whose metrics endpoint does not answer, and collectors without a stream.',
    unit: 'none',
    steps: [[1, 'red']],
    columns: { Processes: {}, 'Without a stream': {} },
    queries: [
      promql('count(up{job="afflux"} == 0) or vector(0)', { legend: 'Processes' }),
      promql('count(afflux_collector_stream_up == 0) or vector(0)', {
        legend: 'Without a stream',
        refId: 'B',
      }),
    ],
  });
}

function clickRate(): PanelSource {
  return overTime({
    title: 'Clicks a second',
    description: 'Clicks made durable in the stream or the spool, by collector.',
    unit: 'cps',
    draw: 'lines',
    queries: [
      promql('rate(afflux_collector_clicks_committed_total[$__rate_interval])', {
        legend: 'stream, {{instance}}',
      }),
      promql('rate(afflux_collector_spooled_clicks_total[$__rate_interval]) > 0', {
        legend: 'spool, {{instance}}',
        refId: 'B',
      }),
    ],
  });
}

function outcomes(): PanelSource {
  return overTime({
    title: 'Requests by outcome',
    description: 'Answers to requests for links per second.',
    unit: 'reqps',
    draw: 'stacked bars',
    queries: [
      promql('sum by (outcome) (rate(afflux_collector_requests_total[$__rate_interval])) > 0', {
        legend: '{{outcome}}',
      }),
    ],
  });
}

function commitLatency(): PanelSource {
  return overTime({
    title: 'Commit latency',
    description:
      'Time from the first click of a batch until the batch is durable and its redirects are sent. At 0.25 s batches go to the spool.',
    unit: 's',
    draw: 'lines',
    steps: [
      [0.01, 'orange'],
      [0.25, 'red'],
    ],
    queries: [
      promql(quantile(0.5, 'afflux_collector_commit_seconds'), { legend: 'p50' }),
      promql(quantile(0.99, 'afflux_collector_commit_seconds'), { legend: 'p99', refId: 'B' }),
    ],
  });
}

function spool(): PanelSource {
  return overTime({
    title: 'Spool',
    description: 'Bytes on the collectors’ disks. Above zero: the stream is unavailable or too slow.',
    unit: 'bytes',
    draw: 'lines',
    queries: [promql('afflux_collector_spool_bytes', { legend: '{{instance}}' })],
  });
}

function refusals(): PanelSource {
  return overTime({
    title: 'Refused clicks',
    description:
      'Clicks answered 503 per second. unstored: neither stream nor spool stored them; full: too many batches in flight.',
    unit: 'reqps',
    draw: 'lines',
    queries: [
      promql('sum(rate(afflux_collector_refused_unstored_total[$__rate_interval]))', { legend: 'unstored' }),
      promql('sum(rate(afflux_collector_refused_full_total[$__rate_interval]))', {
        legend: 'full',
        refId: 'B',
      }),
    ],
  });
}

function batches(): PanelSource {
  return overTime({
    title: 'Clicks in a batch',
    description:
      'Mean clicks per acknowledged batch, and batches in flight; at 16 the stream is the bottleneck.',
    unit: 'short',
    draw: 'lines',
    queries: [
      promql(mean('afflux_collector_batch_clicks'), { legend: 'clicks in a batch' }),
      promql('max(afflux_collector_batches_in_flight)', { legend: 'batches in flight', refId: 'B' }),
    ],
  });
}

function streamLag(): PanelSource {
  return overTime({
    title: 'Stream lag',
    description: 'Messages not yet loaded. A message is a batch of up to 256 KiB.',
    unit: 'short',
    draw: 'lines',
    queries: [promql('afflux_loader_lag_messages', { legend: 'shard {{shard}} on {{instance}}' })],
  });
}

function loaderFreshness(): PanelSource {
  return overTime({
    title: 'Freshness',
    description: 'Age of the watermark: all older clicks are in the reports. The goal is 2 s.',
    unit: 's',
    draw: 'lines',
    steps: [
      [LATE_SECONDS, 'orange'],
      [STUCK_SECONDS, 'red'],
    ],
    queries: [promql('afflux_loader_freshness_seconds', { legend: 'shard {{shard}} on {{instance}}' })],
  });
}

function loaderRate(): PanelSource {
  return overTime({
    title: 'Loaded clicks a second',
    description:
      'Rows inserted by the loader. After an outage the rate exceeds the click rate until the backlog is loaded.',
    unit: 'cps',
    draw: 'lines',
    queries: [promql('sum(rate(afflux_loader_rows_total[$__rate_interval]))', { legend: 'clicks' })],
  });
}

function insertLatency(): PanelSource {
  return overTime({
    title: 'Insert of a block',
    description: 'Duration of the INSERT of a block, with the sync to disk.',
    unit: 's',
    draw: 'lines',
    queries: [
      promql(quantile(0.99, 'afflux_loader_insert_seconds'), { legend: 'p99' }),
      promql(mean('afflux_loader_insert_seconds'), { legend: 'mean', refId: 'B' }),
    ],
  });
}

function setAside(): PanelSource {
  return overTime({
    title: 'Loader errors',
    description:
      'Dead letters by reason, repeated batches (spool replayed after the duplicate window; harmless), retries by error, and messages that expired before loading (must stay 0).',
    unit: 'short',
    draw: 'bars',
    queries: [
      promql('sum by (reason) (increase(afflux_loader_dead_letters_total[$__rate_interval])) > 0', {
        legend: 'dead: {{reason}}',
      }),
      promql('sum by (code) (increase(afflux_loader_retries_total[$__rate_interval])) > 0', {
        legend: 'retry: {{code}}',
        refId: 'B',
      }),
      promql('sum(increase(afflux_loader_repeated_batches_total[$__rate_interval])) > 0', {
        legend: 'repeated',
        refId: 'C',
      }),
      promql('sum(increase(afflux_loader_missing_messages_total[$__rate_interval])) > 0', {
        legend: 'missing messages',
        refId: 'D',
      }),
    ],
  });
}

function storedByMinute(): PanelSource {
  return overTime({
    title: 'Stored clicks by minute',
    description: 'Clicks in ClickHouse by the time of the click, at most the last eight days.',
    unit: 'short',
    draw: 'bars',
    interval: '1m',
    queries: [
      clickhouse(
        `
SELECT $__timeInterval(minute) AS time, sum(t.clicks) AS clicks
FROM clicks_minutely AS t
WHERE ${MINUTES_IN_RANGE}
GROUP BY time ORDER BY time`,
        'series',
      ),
    ],
  });
}

function decisions(): PanelSource {
  return overTime({
    title: 'Conversions decided',
    description:
      'Decisions per second by outcome, and conversions that were taken and put off: their click or an order before them is missing.',
    unit: 'cps',
    draw: 'lines',
    queries: [
      promql('sum by (outcome) (rate(afflux_attribution_decided_total[$__rate_interval]))', {
        legend: '{{outcome}}',
      }),
      promql('sum(rate(afflux_attribution_postponed_total[$__rate_interval]))', {
        legend: 'postponed',
        refId: 'B',
      }),
      promql('sum(rate(afflux_attribution_failed_total[$__rate_interval]))', {
        legend: 'failed',
        refId: 'C',
      }),
    ],
  });
}

function undecided(): PanelSource {
  return overTime({
    title: 'Oldest undecided order',
    description:
      'Age of the oldest order that is received and was not tried yet (seconds, while its click is on its way), and of the oldest one that waits for its click.',
    unit: 's',
    draw: 'lines',
    queries: [promql('max by (state) (afflux_orders_undecided_seconds)', { legend: '{{state}}' })],
  });
}

function mirrorLag(): PanelSource {
  return overTime({
    title: 'Mirror lag',
    description: 'Age of the oldest change of a conversion not yet in reports and dashboards.',
    unit: 's',
    draw: 'lines',
    steps: [[LATE_SECONDS, 'orange']],
    queries: [promql('afflux_mirror_lag_seconds', { legend: '{{instance}}' })],
  });
}

function apiLatency(): PanelSource {
  return overTime({
    title: 'API',
    description: 'p99 and mean response time over all routes.',
    unit: 's',
    draw: 'lines',
    queries: [
      promql(quantile(0.99, 'afflux_api_request_duration_seconds'), { legend: 'p99' }),
      promql(mean('afflux_api_request_duration_seconds'), { legend: 'mean', refId: 'B' }),
    ],
  });
}

function gapsByLease(): PanelSource {
  return rows({
    title: `Leases of the last ${GAP_HOURS} hours`,
    description:
      'Each collector start leases a node number and numbers its clicks from 0 without gaps: stored clicks must equal the numbers between the first and the last.',
    unit: 'none',
    sortBy: 'Missing',
    empty: 'No clicks in these hours',
    columns: {
      Missing: { steps: [[1, 'red']] },
      'First click': { unit: 'dateTimeAsIso' },
      'Last click': { unit: 'dateTimeAsIso' },
    },
    queries: [
      clickhouse(
        `
SELECT node AS Lease, first_at AS "First click", last_at AS "Last click", given AS "Numbers given out", stored AS Stored,
  missing AS Missing
FROM (${GAPS}
)
ORDER BY abs(missing) DESC, last_at DESC, node LIMIT 100`,
        'table',
      ),
    ],
  });
}
