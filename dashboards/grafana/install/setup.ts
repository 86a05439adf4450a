import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromProject } from '../../../core/config/paths.ts';
import { CLICKHOUSE, POSTGRES, PROMETHEUS } from '../data-source-ids.ts';

/** What a Grafana gets for a platform. Made of the generated files, so that no tool of a developer is needed for it. */

/** A login at a store, as Grafana reaches it. */
interface StoreLogin {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  readonly password: string;
  /** The authorities that sign its certificate, PEM; '' for those that Grafana's machine knows. */
  readonly ca: string;
}

/** The platform as Grafana has to know it. */
export interface Setup {
  readonly clickhouse: StoreLogin & { readonly secure: boolean };
  readonly postgres: StoreLogin & { readonly sslmode: 'disable' | 'require' | 'verify-ca' | 'verify-full' };
  readonly prometheusUrl: string;
  /** Base URL of the pages of the portal, without a slash at the end. */
  readonly portalUrl: string;
  /** Recipients of the alerts; without any they follow Grafana's own notification policies. */
  readonly contacts: Contacts;
}

export interface Contacts {
  /** E-mail addresses. */
  readonly mail: readonly string[];
  /** An address that takes Grafana's webhooks, or ''. */
  readonly webhook: string;
}

export interface DataSource {
  readonly name: string;
  readonly type: string;
  readonly uid: string;
  readonly url: string;
  readonly access: 'proxy';
  readonly user: string;
  readonly jsonData: Readonly<Record<string, string | number | boolean>>;
  readonly secureJsonData: Readonly<Record<string, string>>;
}

/** Rules as Grafana reads them from files. */
export interface AlertRule {
  readonly uid: string;
  readonly title: string;
  readonly condition: string;
  readonly data: readonly {
    readonly refId: string;
    readonly relativeTimeRange: { readonly from: number; readonly to: number };
    readonly datasourceUid: string;
    readonly model: object;
  }[];
  readonly dashboardUid: string;
  readonly panelId: number;
  readonly noDataState: 'OK' | 'Alerting';
  readonly execErrState: 'Error';
  readonly for: string;
  readonly keepFiringFor: string;
  readonly missing_series_evals_to_resolve: number;
  readonly annotations: Readonly<Record<string, string>>;
  readonly labels: { readonly severity: 'page' | 'ticket'; readonly service: string };
  readonly isPaused: boolean;
  readonly notification_settings?: NotificationSettings;
}

interface NotificationSettings {
  readonly receiver: string;
  readonly group_wait: string;
  readonly group_interval: string;
  readonly repeat_interval: string;
}

export interface AlertRuleGroup {
  readonly name: string;
  readonly interval: string;
  readonly rules: readonly AlertRule[];
}

export interface ContactPoint {
  readonly uid: string;
  readonly type: 'email' | 'webhook';
  readonly settings: Readonly<Record<string, string | boolean>>;
}

/** Folders in Grafana. */
export const BOARD_FOLDER = { uid: 'afflux', title: 'Afflux' } as const;
export const ALERT_FOLDER = { uid: 'afflux-alerts', title: 'Afflux alerts' } as const;

/** Whether a thing is ours, by its uid: a person may have put another into our folder. */
export function isOwn(uid: string): boolean {
  return uid.startsWith('afflux-');
}

/** The contact point of the alerts. */
export const CONTACT_POINT = 'Afflux';
/** Every receiver that a contact point of ours can have had. */
export const CONTACT_UIDS = ['afflux-mail', 'afflux-webhook'] as const;

/**
 * How soon and how often the recipients are notified. Rules name their contact point themselves: the tree of notification
 * policies is one for a whole Grafana, and writing it replaces those of others.
 */
const NOTIFIED: Readonly<Record<'page' | 'ticket', Omit<NotificationSettings, 'receiver'>>> = {
  page: { group_wait: '10s', group_interval: '1m', repeat_interval: '1h' },
  ticket: { group_wait: '1m', group_interval: '15m', repeat_interval: '1d' },
};

/** The longest that Grafana waits for an answer, seconds; its ClickHouse user has the same. */
const QUERY_TIMEOUT_S = '30';
const POSTGRES_CONNECTIONS = 4;

export function dataSources({ clickhouse, postgres, prometheusUrl }: Setup): DataSource[] {
  return [
    {
      name: 'Afflux ClickHouse',
      ...CLICKHOUSE,
      access: 'proxy',
      url: '',
      user: '',
      jsonData: {
        host: clickhouse.host,
        port: clickhouse.port,
        protocol: 'http',
        secure: clickhouse.secure,
        username: clickhouse.user,
        defaultDatabase: clickhouse.database,
        // No row limit: it would cut the answers that alerts are made of.
        enableRowLimit: false,
        queryTimeout: QUERY_TIMEOUT_S,
        ...(clickhouse.ca !== '' && { tlsAuthWithCACert: true }),
      },
      secureJsonData: {
        password: clickhouse.password,
        ...(clickhouse.ca !== '' && { tlsCACert: clickhouse.ca }),
      },
    },
    {
      name: 'Afflux ledger',
      ...POSTGRES,
      access: 'proxy',
      url: `${hostInUrl(postgres.host)}:${postgres.port}`,
      user: postgres.user,
      jsonData: {
        database: postgres.database,
        sslmode: postgres.sslmode,
        postgresVersion: 1500,
        maxOpenConns: POSTGRES_CONNECTIONS,
        ...(postgres.ca !== '' && { tlsConfigurationMethod: 'file-content' }),
      },
      secureJsonData: {
        password: postgres.password,
        ...(postgres.ca !== '' && { tlsCACert: postgres.ca }),
      },
    },
    {
      name: 'Afflux metrics',
      ...PROMETHEUS,
      access: 'proxy',
      url: prometheusUrl,
      user: '',
      jsonData: { httpMethod: 'POST', timeInterval: '15s' },
      secureJsonData: {},
    },
  ];
}

const hostInUrl = (host: string): string => (host.includes(':') ? `[${host}]` : host);

const GENERATED = 'dashboards/grafana/generated';
const generated = (path: string): unknown =>
  JSON.parse(readFileSync(fromProject(join(GENERATED, path)), 'utf8'));

export interface BoardJson {
  readonly uid: string;
  readonly title: string;
  readonly templating: { readonly list: readonly { readonly name: string; readonly query?: unknown }[] };
}

/** The dashboards, with the address of the portal in their links. */
export function boards({ portalUrl }: Setup): BoardJson[] {
  return readdirSync(fromProject(join(GENERATED, 'dashboards')))
    .sort()
    .map((name) => {
      const board = generated(`dashboards/${name}`) as BoardJson;
      const list = board.templating.list.map((variable) =>
        variable.name === 'portal' ? { ...variable, query: portalUrl } : variable,
      );
      return { ...board, templating: { ...board.templating, list } };
    });
}

export function alertRules({ contacts }: Setup): AlertRuleGroup[] {
  const groups = generated('alerts.json') as AlertRuleGroup[];
  if (contacts.mail.length === 0 && contacts.webhook === '') return groups;
  return groups.map((group) => ({
    ...group,
    rules: group.rules.map((rule) => ({
      ...rule,
      notification_settings: { receiver: CONTACT_POINT, ...NOTIFIED[rule.labels.severity] },
    })),
  }));
}

/** The receivers of {@link CONTACT_POINT}. */
export function contactPoints({ contacts }: Setup): ContactPoint[] {
  const { mail, webhook } = contacts;
  return [
    ...(mail.length === 0
      ? []
      : [
          {
            uid: CONTACT_UIDS[0],
            type: 'email' as const,
            settings: { addresses: mail.join(';'), singleEmail: true },
          },
        ]),
    ...(webhook === ''
      ? []
      : [
          {
            uid: CONTACT_UIDS[1],
            type: 'webhook' as const,
            settings: { url: webhook, httpMethod: 'POST' },
          },
        ]),
  ];
}
