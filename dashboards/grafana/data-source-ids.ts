import type { DataSourceRef } from '@grafana/grafana-foundation-sdk/common';

/**
 * Where the figures come from. Clicks and conversions are counted in ClickHouse; money is owed in PostgreSQL, which
 * answers for itself instead of through a second copy; what only a process knows of itself is in Prometheus.
 */
export const CLICKHOUSE = {
  type: 'grafana-clickhouse-datasource',
  uid: 'afflux-clickhouse',
} as const satisfies DataSourceRef;
export const POSTGRES = {
  type: 'grafana-postgresql-datasource',
  uid: 'afflux-postgres',
} as const satisfies DataSourceRef;
export const PROMETHEUS = {
  type: 'prometheus',
  uid: 'afflux-prometheus',
} as const satisfies DataSourceRef;

/** The version of the plugin whose macros the queries are written for; it is also the one that is installed. */
export const CLICKHOUSE_PLUGIN_VERSION = '4.20.0';
