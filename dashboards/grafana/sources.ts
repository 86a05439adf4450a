import type * as cog from '@grafana/grafana-foundation-sdk/cog';
import type { DataSourceRef } from '@grafana/grafana-foundation-sdk/common';
import * as prometheus from '@grafana/grafana-foundation-sdk/prometheus';
import { CLICKHOUSE, CLICKHOUSE_PLUGIN_VERSION, POSTGRES, PROMETHEUS } from './data-source-ids.ts';

/** What Grafana calls the datasource of a panel whose queries ask several. */
export const MIXED = { type: 'datasource', uid: '-- Mixed --' } as const satisfies DataSourceRef;

/** How Grafana is to read an answer: rows as they are, or values over time with a series for each label. */
export type Shape = 'table' | 'series';

export interface ClickHouseQuery {
  readonly refId: string;
  readonly datasource: DataSourceRef;
  readonly editorType: 'sql';
  readonly rawSql: string;
  readonly queryType: 'table' | 'timeseries';
  /** 0 time series, 1 table. */
  readonly format: 0 | 1;
  readonly pluginVersion: string;
}

export interface PostgresQuery {
  readonly refId: string;
  readonly datasource: DataSourceRef;
  readonly editorMode: 'code';
  readonly rawQuery: true;
  readonly rawSql: string;
  readonly format: 'table' | 'time_series';
}

/** A query of one of the three, ready for a panel. */
export interface Query extends cog.Builder<cog.Dataquery> {
  readonly source: DataSourceRef;
  readonly shape: Shape;
}

export function clickhouseQuery(sql: string, shape: Shape, refId = 'A'): ClickHouseQuery {
  return {
    refId,
    datasource: CLICKHOUSE,
    editorType: 'sql',
    rawSql: sql.trim(),
    queryType: shape === 'table' ? 'table' : 'timeseries',
    format: shape === 'table' ? 1 : 0,
    pluginVersion: CLICKHOUSE_PLUGIN_VERSION,
  };
}

export function postgresQuery(sql: string, shape: Shape, refId = 'A'): PostgresQuery {
  return {
    refId,
    datasource: POSTGRES,
    editorMode: 'code',
    rawQuery: true,
    rawSql: sql.trim(),
    format: shape === 'table' ? 'table' : 'time_series',
  };
}

/** ClickHouse's answer to `sql` as a panel's query. */
export function clickhouse(sql: string, shape: Shape, refId?: string): Query {
  return { source: CLICKHOUSE, shape, build: () => asDataquery(clickhouseQuery(sql, shape, refId)) };
}

/** PostgreSQL's answer to `sql` as a panel's query. */
export function postgres(sql: string, shape: Shape, refId?: string): Query {
  return { source: POSTGRES, shape, build: () => asDataquery(postgresQuery(sql, shape, refId)) };
}

/** Prometheus's answer over time; `legend` may name labels as `{{label}}`. */
export function promql(expr: string, options: { legend: string; refId?: string }): Query {
  const { legend, refId = 'A' } = options;
  const query = new prometheus.DataqueryBuilder()
    .refId(refId)
    .datasource(PROMETHEUS)
    .expr(expr)
    .legendFormat(legend)
    .editorMode(prometheus.QueryEditorMode.Code)
    .range();
  return { source: PROMETHEUS, shape: 'series', build: () => query.build() };
}

/** The SDK marks its own queries with a method that the JSON does not have. */
function asDataquery(query: object): cog.Dataquery {
  return query as cog.Dataquery;
}
