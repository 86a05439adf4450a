import { existsSync, readFileSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import type { Config } from '../../core/config/config.ts';
import { OperatingError } from '../../core/errors.ts';
import { createSecretBox } from '../../core/secret-box.ts';
import { metricsToken } from '../../core/service/metrics-access.ts';
import { CLICKHOUSE, CLICKHOUSE_PLUGIN_VERSION } from '../../dashboards/grafana/data-source-ids.ts';
import {
  grafanaEnvironment,
  json,
  provisioningFiles,
  writeFiles,
  writeProvisioning,
} from '../../dashboards/grafana/install/files.ts';
import { installByApi } from '../../dashboards/grafana/install/grafana-api.ts';
import { prometheusConfig } from '../../dashboards/grafana/install/prometheus.ts';
import type { Contacts, Setup } from '../../dashboards/grafana/install/setup.ts';
import { dashboardsLoginStatements, openDashboardsLogin } from '../../ledger/access/dashboards-login.ts';
import { analystUserStatements } from '../../warehouse/analysts/statements.ts';
import { readConfig } from '../environment.ts';
import { SERVICES, serviceUrl } from '../services.ts';
import { derivedPassword, describeSetup } from './setup.ts';

/** `afflux grafana`: everything that a Grafana needs for this platform. */

export interface GrafanaOptions {
  /** The provisioning folder of a Grafana on this machine. */
  readonly folder?: string;
  /** A Grafana that runs already. */
  readonly url?: string;
  /** A Prometheus that runs already. */
  readonly prometheus?: string;
  /** False: no receiver any more; undefined: as in the run before. */
  readonly mail?: readonly string[] | false;
  readonly webhook?: string | false;
}

const GRAFANA_IMAGE = 'grafana/grafana:13.2.3';
const PROMETHEUS_IMAGE = 'prom/prometheus:v3.16.0';
/** The address of a webhook can hold a key: for its owner's eyes only. */
const CONTACTS_FILE = 'receivers.json';
const OUR_PROMETHEUS = 'http://127.0.0.1:9090';

/** Where Grafana's image has its provisioning folder, and Prometheus's its configuration. */
const IN_GRAFANA = '/etc/grafana/provisioning';
const IN_PROMETHEUS = '/etc/prometheus';

/** Docker's name for the machine it runs on, where containers cannot have the machine's own network. */
const DOCKER_HOST = 'host.docker.internal';

/** Writes or installs it, and prints what is left to do. @throws OperatingError `usage`, `grafana_refused`, `grafana_unreachable`. */
export async function grafana(options: GrafanaOptions): Promise<void> {
  const config = readConfig();
  if (options.folder !== undefined && options.url !== undefined) {
    throw new OperatingError('usage', '--folder and --url exclude each other: one Grafana at a time');
  }
  if (options.folder !== undefined && !isAbsolute(options.folder)) {
    throw new OperatingError('usage', '--folder must be an absolute path: Grafana reads it from elsewhere');
  }
  if (options.url !== undefined && config.grafanaToken === '') {
    throw new OperatingError(
      'usage',
      'GRAFANA_TOKEN is not set: --url needs the token of a service account with the role Admin',
    );
  }
  const print = (...lines: string[]): boolean => process.stdout.write(`${lines.join('\n')}\n`);
  const isContained = options.folder === undefined && options.url === undefined;
  // Elsewhere Docker runs in a machine of its own, whose network is not ours.
  const host = isContained && process.platform !== 'linux' ? DOCKER_HOST : undefined;
  const folder = join(config.home, 'grafana');
  const contacts = contactsOf(options, folder);
  const setup = describeSetup(config, {
    prometheusUrl: options.prometheus ?? OUR_PROMETHEUS.replace('127.0.0.1', host ?? '127.0.0.1'),
    contacts,
    host: host ?? '127.0.0.1',
  });

  writeFiles(folder, new Map([[CONTACTS_FILE, json(contacts)]]), 'owner');
  print(...(await openStores(config, setup, folder)));
  if (options.prometheus === undefined) print(...writePrometheus(config, folder, host));
  if (options.url !== undefined) {
    print(...(await installInto(options.url, setup, config.grafanaToken)));
  } else {
    writeFiles(folder, new Map([['grafana.env', environmentFile(config, setup, isContained)]]), 'owner');
    print(
      ...(options.folder === undefined
        ? contained(folder, setup, host)
        : packaged(folder, options.folder, setup)),
    );
  }
}

/** Who gets the alerts. A run that names none, for new boards or a new password, must not silence them. */
function contactsOf({ mail, webhook }: GrafanaOptions, folder: string): Contacts {
  const file = join(folder, CONTACTS_FILE);
  const kept = existsSync(file)
    ? (JSON.parse(readFileSync(file, 'utf8')) as Contacts)
    : { mail: [], webhook: '' };
  return {
    mail: mail === false ? [] : (mail ?? kept.mail),
    webhook: webhook === false ? '' : (webhook ?? kept.webhook),
  };
}

/** Lets Grafana into both stores, or says who has to. */
async function openStores(config: Config, setup: Setup, folder: string): Promise<string[]> {
  const { postgres, clickhouse } = setup;
  const lines: string[] = [];
  const left = new Map<string, string>();
  const sql = (statements: readonly string[]): string => statements.map((each) => `${each};\n`).join('\n');
  if (config.databaseOwnerUrl !== '') {
    await openDashboardsLogin({ url: config.databaseOwnerUrl, password: postgres.password });
    lines.push(`PostgreSQL lets ${postgres.user} in: it reads the views grafana_*.`);
  } else {
    left.set('postgres-user.sql', sql(dashboardsLoginStatements(postgres.password)));
    lines.push(
      'Let Grafana into PostgreSQL, as the owner of the schema:',
      `  psql postgres://owner@${postgres.host}:${postgres.port}/${postgres.database} -f ${join(folder, 'postgres-user.sql')}`,
    );
  }
  if (!config.embedded.clickhouse) {
    const { database, password } = clickhouse;
    left.set('clickhouse-user.sql', sql(analystUserStatements({ database, password, programId: undefined })));
    lines.push(
      'Let Grafana into ClickHouse, as an administrator of the server:',
      `  clickhouse-client --host ${clickhouse.host} --user … --password --multiquery < ${join(folder, 'clickhouse-user.sql')}`,
    );
  }
  writeFiles(folder, left, 'owner');
  return lines;
}

function writePrometheus(config: Config, folder: string, host = '127.0.0.1'): string[] {
  const scraped = SERVICES.map((service) => ({
    process: service.name,
    target: new URL(serviceUrl(service, config)).host.replace('127.0.0.1', host),
  }));
  const own = join(folder, 'prometheus');
  const token = metricsToken(createSecretBox(config.dataKeys));
  writeFiles(
    own,
    new Map([
      ['prometheus.yaml', prometheusConfig(scraped, IN_PROMETHEUS)],
      ['metrics-token', token],
      // Made by us, because Docker would make it as root.
      ['data/.keep', ''],
    ]),
    'owner',
  );
  // Under our own account: the token is for its eyes only.
  const account = process.getuid ? ` --user ${process.getuid()}:${process.getgid?.()}` : '';
  return [
    '',
    'A Prometheus that keeps the metrics of the processes:',
    `  docker run -d --name afflux-prometheus ${network(host, 9090)}${account} \\`,
    `    -v ${quoted(own)}:${IN_PROMETHEUS}:ro -v ${quoted(join(own, 'data'))}:/prometheus ${PROMETHEUS_IMAGE} \\`,
    `    --config.file=${IN_PROMETHEUS}/prometheus.yaml --storage.tsdb.path=/prometheus${host === DOCKER_HOST ? '' : ' --web.listen-address=127.0.0.1:9090'}`,
  ];
}

/** Ports are on loopback: what the stores tell Grafana is not for the network. */
function network(host: string | undefined, port: number): string {
  return host === DOCKER_HOST ? `-p 127.0.0.1:${port}:${port}` : '--network host';
}

const quoted = (path: string): string =>
  /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;

async function installInto(url: string, setup: Setup, token: string): Promise<string[]> {
  const done = await installByApi({ setup, url, token });
  return [
    '',
    `Grafana ${done.grafanaVersion} with ${CLICKHOUSE.type} ${done.pluginVersion} at ${url} has ${done.dataSources} data sources, ${done.boards} dashboards and ${done.alerts} alerts${done.contacts === 0 ? '' : `, which go to ${done.contacts === 1 ? 'their contact point' : `${done.contacts} receivers`}`}.`,
    ...heard(setup),
  ];
}

/** The lines `NAME=value` that `docker run --env-file` and systemd's EnvironmentFile read. */
function environmentFile(config: Config, setup: Setup, isContained: boolean): string {
  const variables = {
    ...grafanaEnvironment(setup),
    ...(isContained && {
      GF_SECURITY_ADMIN_PASSWORD: derivedPassword(config, 'admin'),
      GF_PLUGINS_PREINSTALL_SYNC: `${CLICKHOUSE.type}@${CLICKHOUSE_PLUGIN_VERSION}`,
      GF_ANALYTICS_REPORTING_ENABLED: 'false',
      ...(process.platform === 'linux' && { GF_SERVER_HTTP_ADDR: '127.0.0.1' }),
      ...(setup.contacts.mail.length > 0 && mailServer(config)),
    }),
  };
  const lines = Object.entries(variables).map(([name, value]) => {
    if (/[\r\n]/.test(value)) throw new OperatingError('usage', `${name} has a line break`);
    return `${name}=${value}\n`;
  });
  return lines.join('');
}

/** Grafana's settings of a server for mails: ours. */
function mailServer({ mailUrl, mailFrom }: Config): Record<string, string> {
  if (mailUrl === '') return {};
  const { protocol, hostname, port, username, password } = new URL(mailUrl);
  return {
    GF_SMTP_ENABLED: 'true',
    GF_SMTP_HOST: `${hostname}:${port || (protocol === 'smtps:' ? 465 : 587)}`,
    GF_SMTP_USER: decodeURIComponent(username),
    GF_SMTP_PASSWORD: decodeURIComponent(password),
    GF_SMTP_FROM_ADDRESS: /<([^>]+)>/.exec(mailFrom)?.[1] ?? mailFrom,
  };
}

function contained(folder: string, setup: Setup, host: string | undefined): string[] {
  const files = join(folder, 'provisioning');
  writeProvisioning(files, provisioningFiles(setup, `${IN_GRAFANA}/dashboards/afflux`));
  const environment = join(folder, 'grafana.env');
  return [
    '',
    'A Grafana with the data sources, dashboards and alerts:',
    `  docker run -d --name afflux-grafana ${network(host, 3000)} --env-file ${quoted(environment)} \\`,
    `    -v ${quoted(files)}:${IN_GRAFANA}:ro -v afflux-grafana:/var/lib/grafana ${GRAFANA_IMAGE}`,
    '',
    `It is at http://127.0.0.1:3000, user admin. The password of the first start of its volume is GF_SECURITY_ADMIN_PASSWORD in ${environment};`,
    'later this sets another: docker exec afflux-grafana grafana cli admin reset-admin-password …',
    ...heard(setup),
  ];
}

function packaged(folder: string, provisioning: string, setup: Setup): string[] {
  writeProvisioning(provisioning, provisioningFiles(setup, join(provisioning, 'dashboards', 'afflux')));
  return [
    '',
    `Data sources, dashboards and alerts are in ${provisioning}. Their passwords are in ${join(folder, 'grafana.env')}:`,
    `  systemctl edit grafana-server      # [Service] EnvironmentFile=${join(folder, 'grafana.env')}`,
    `  grafana cli plugins install ${CLICKHOUSE.type} ${CLICKHOUSE_PLUGIN_VERSION}      # or later`,
    '  systemctl restart grafana-server',
    ...heard(setup),
  ];
}

function heard({ contacts }: Setup): string[] {
  const receivers = [...contacts.mail, ...(contacts.webhook === '' ? [] : ['the webhook'])];
  if (receivers.length > 0)
    return [
      `Alerts go to ${receivers.join(', ')}, also after the next run; --no-mail and --no-webhook end that.`,
    ];
  return ['Alerts follow the notification policies of Grafana; --mail and --webhook name who gets them.'];
}
