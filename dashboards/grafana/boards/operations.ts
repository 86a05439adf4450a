import { portalPage } from '../links.ts';
import { overTime, type PanelSource, rows } from '../panels.ts';
import { postgres, promql } from '../sources.ts';

/** What goes wrong at the edges, calls of shops and webhooks of partners, and what the machines have left. */

/** Calls as they came: a repetition of a stored call is the operator's own. */
const REFUSED = `outcome = 'rejected' AND replay_of IS NULL AND $__timeFilter(received_at)`;

export function refusedOverTime(): PanelSource {
  return overTime({
    title: 'Refused calls',
    description:
      'Calls that report orders and were refused, by five minutes and reason: each is an order that is not counted until it is sent or done again.',
    unit: 'short',
    draw: 'stacked bars',
    interval: '1m',
    seriesBy: 'reason',
    queries: [
      postgres(
        `
SELECT date_bin('5 minutes', received_at, 'epoch') AS "time", coalesce(code, 'none') AS reason, count(*) AS calls
FROM grafana_postback_calls
WHERE ${REFUSED}
GROUP BY 1, 2 ORDER BY 1, 2`,
        'series',
      ),
    ],
  });
}

export function refusedCalls(): PanelSource {
  return rows({
    title: 'Refused calls by reason',
    description:
      'Refused calls of the range by program, way and reason, with the last one. The portal shows each call and can do it again.',
    unit: 'none',
    sortBy: 'Calls',
    empty: 'No call was refused in this range',
    columns: {
      Reason: { width: 190, link: portalPage('postback-calls', { title: 'calls' }) },
      'Last call': { unit: 'dateTimeFromNow' },
    },
    queries: [
      postgres(
        `
SELECT coalesce(program, 'unknown') AS "Program", coalesce(source, via) AS "Way", coalesce(code, 'none') AS "Reason",
  count(*) AS "Calls", max(received_at) AS "Last call",
  coalesce((array_agg(order_id ORDER BY id DESC) FILTER (WHERE order_id IS NOT NULL))[1], '') AS "Last order"
FROM grafana_postback_calls
WHERE ${REFUSED}
GROUP BY program_id, program, coalesce(source, via), code ORDER BY 4 DESC, 5 DESC`,
        'table',
      ),
    ],
  });
}

export function webhooks(): PanelSource {
  return rows({
    title: 'Webhook backlog',
    description:
      'Webhooks and outgoing postbacks that have something to get, have lost something, or are switched off; independent of the range. Dead: given up after the last attempt; the portal sends them again.',
    unit: 'none',
    sortBy: 'Pending',
    empty: 'Every webhook has what it asked for',
    columns: {
      Endpoint: { width: 220, link: portalPage('webhooks', { title: 'webhooks' }) },
      Pending: { steps: [[100, 'orange']] },
      Dead: { steps: [[1, 'red']] },
      'Oldest pending': { unit: 'dateTimeFromNow' },
      'Last dead': { unit: 'dateTimeFromNow' },
    },
    queries: [
      postgres(
        `
SELECT host AS "Endpoint", program AS "Program", kind AS "Kind", status AS "Status", pending AS "Pending",
  oldest_pending_at AS "Oldest pending", dead AS "Dead", last_dead_at AS "Last dead", coalesce(disabled_reason, '') AS "Reason"
FROM grafana_webhooks
WHERE pending > 0 OR dead > 0 OR status <> 'active'
ORDER BY dead DESC, pending DESC, id`,
        'table',
      ),
    ],
  });
}

export function cpu(): PanelSource {
  return overTime({
    title: 'Processor time',
    description: 'Share of one processor that each process of the platform uses; engines are not among them.',
    unit: 'percentunit',
    draw: 'lines',
    queries: [
      promql('rate(process_cpu_seconds_total{job="afflux"}[$__rate_interval])', { legend: '{{process}}' }),
    ],
  });
}

export function memory(): PanelSource {
  return overTime({
    title: 'Memory of processes',
    description: 'Memory that each process of the platform has in use, as its machine counts it.',
    unit: 'bytes',
    draw: 'lines',
    queries: [promql('process_resident_memory_bytes{job="afflux"}', { legend: '{{process}}' })],
  });
}

export function diskFree(): PanelSource {
  return overTime({
    title: 'Free disk',
    description:
      'Share of the disk of the data folder that is free. Embedded engines, spools, reports and payment files are on it.',
    unit: 'percentunit',
    draw: 'lines',
    queries: [
      promql('max by (instance) (afflux_disk_free_bytes / afflux_disk_size_bytes)', {
        legend: '{{instance}}',
      }),
    ],
  });
}

export function storeDisk(): PanelSource {
  return overTime({
    title: 'Disk of the stores',
    description: 'Bytes that the databases of the platform take up in PostgreSQL and in ClickHouse.',
    unit: 'bytes',
    draw: 'lines',
    queries: [promql('max by (store) (afflux_store_disk_bytes)', { legend: '{{store}}' })],
  });
}

export function storeMemory(): PanelSource {
  return overTime({
    title: 'Memory of ClickHouse',
    description: 'Memory that ClickHouse counts for its queries and caches, of the whole server.',
    unit: 'bytes',
    draw: 'lines',
    queries: [promql('max by (store) (afflux_store_memory_bytes)', { legend: '{{store}}' })],
  });
}

export function brokenProjections(): PanelSource {
  return overTime({
    title: 'Reads without a projection',
    description:
      'Reads of ClickHouse that were asked again without projections, because a file of one is damaged. They are right and slow until it is made again.',
    unit: 'short',
    draw: 'bars',
    queries: [
      promql(
        'sum by (table, projection) (increase(afflux_warehouse_broken_projection_reads_total[$__rate_interval])) > 0',
        { legend: '{{table}} {{projection}}' },
      ),
    ],
  });
}
