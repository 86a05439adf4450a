import { ANALYST_READS } from '../../warehouse/analysts/reads.ts';
import { CLICKHOUSE, POSTGRES, PROMETHEUS } from './sources.ts';

/** Where the dashboards' files are in Grafana's container. */
const DASHBOARDS_PATH = '/var/lib/grafana/dashboards';

/** The three datasources; addresses and passwords come from the environment, uids are those of the dashboards. */
export function datasourcesFile(): object {
  const common = { access: 'proxy', orgId: 1, editable: false };
  return {
    apiVersion: 1,
    prune: true,
    datasources: [
      {
        name: 'Afflux ClickHouse',
        ...CLICKHOUSE,
        ...common,
        isDefault: true,
        jsonData: {
          host: '$AFFLUX_CLICKHOUSE_HOST',
          port: '$AFFLUX_CLICKHOUSE_PORT',
          protocol: 'http',
          secure: false,
          username: '$AFFLUX_CLICKHOUSE_USER',
          defaultDatabase: '$AFFLUX_CLICKHOUSE_DATABASE',
          // No row limit: it would cut the answers that alerts are made of.
          enableRowLimit: false,
          queryTimeout: '30',
        },
        secureJsonData: { password: '$AFFLUX_CLICKHOUSE_PASSWORD' },
      },
      {
        name: 'Afflux ledger',
        ...POSTGRES,
        ...common,
        url: '$AFFLUX_POSTGRES_ADDRESS',
        user: 'afflux_grafana',
        jsonData: {
          database: '$AFFLUX_POSTGRES_DATABASE',
          sslmode: '$AFFLUX_POSTGRES_SSLMODE',
          postgresVersion: 1500,
          maxOpenConns: 4,
        },
        secureJsonData: { password: '$AFFLUX_POSTGRES_PASSWORD' },
      },
      {
        name: 'Afflux metrics',
        ...PROMETHEUS,
        ...common,
        url: '$AFFLUX_PROMETHEUS_URL',
        jsonData: { httpMethod: 'POST', timeInterval: '15s' },
      },
    ],
  };
}

/** Where Grafana finds the dashboards; they are changed here and not there. */
export function dashboardsFile(): object {
  return {
    apiVersion: 1,
    providers: [
      {
        name: 'afflux',
        orgId: 1,
        folder: '',
        type: 'file',
        disableDeletion: false,
        allowUiUpdates: false,
        updateIntervalSeconds: 60,
        options: { path: DASHBOARDS_PATH, foldersFromFilesStructure: true },
      },
    ],
  };
}

/** The processes by their default ports; each further collector of a machine is one more target. */
export const PROCESSES = [
  { process: 'collector', target: '127.0.0.1:8080' },
  { process: 'loader', target: '127.0.0.1:8082' },
  { process: 'attribution', target: '127.0.0.1:8083' },
  { process: 'scheduler', target: '127.0.0.1:8084' },
  { process: 'api', target: '127.0.0.1:8081' },
] as const;

/** Where Prometheus finds what `afflux metrics-token` prints. */
export const METRICS_TOKEN_FILE = '/etc/prometheus/afflux-metrics-token';

export function prometheusFile(): object {
  return {
    global: { scrape_interval: '15s', evaluation_interval: '15s' },
    scrape_configs: [
      {
        job_name: 'afflux',
        authorization: { type: 'Bearer', credentials_file: METRICS_TOKEN_FILE },
        static_configs: PROCESSES.map(({ process, target }) => ({ targets: [target], labels: { process } })),
      },
    ],
  };
}

/** The most that one question of a dashboard may cost; what Grafana's plugin sends for its own time-outs stays below. */
const QUESTION_SECONDS = 30;
const QUESTION_BYTES = 4_000_000_000;

/**
 * A user for a ClickHouse server; the embedded engine has its user `analyst`, who reads the same. It cannot write and cannot change settings, but
 * for the two that the plugin sends with a query: its time-out, and the filters that people add by hand.
 */
export function clickhouseUserStatements(database: string): string[] {
  return [
    `CREATE USER IF NOT EXISTS grafana IDENTIFIED WITH sha256_password BY 'change me'
SETTINGS readonly = 1,
  max_execution_time = ${QUESTION_SECONDS} MIN 0 MAX ${QUESTION_SECONDS} CHANGEABLE_IN_READONLY,
  additional_table_filters CHANGEABLE_IN_READONLY,
  max_memory_usage = ${QUESTION_BYTES}`,
    ...ANALYST_READS.tables.map((table) => `GRANT SELECT ON ${database}.${table} TO grafana`),
    ...ANALYST_READS.dictionaries.map(
      (dictionary) => `GRANT dictGet ON ${database}.${dictionary} TO grafana`,
    ),
  ];
}

export function clickhouseUserFile(): string {
  return `-- Run on the ClickHouse server as an administrator, with a password of your own and your database's name.\n${clickhouseUserStatements(
    'afflux',
  )
    .map((statement) => `${statement};\n`)
    .join('\n')}`;
}

/** The migrations make the role and its rights; only the password is the operator's. */
export function postgresUserFile(): string {
  return `-- Run on the ledger's database as its owner, with a password of your own.
ALTER ROLE afflux_grafana LOGIN PASSWORD 'change me' CONNECTION LIMIT 8;
ALTER ROLE afflux_grafana SET statement_timeout = '30s';
ALTER ROLE afflux_grafana SET default_transaction_read_only = on;
`;
}
