import { analystLogin } from '../../core/config/analysts.ts';
import type { Config } from '../../core/config/config.ts';
import { createSecretBox } from '../../core/secret-box.ts';
import { readSettingFile } from '../../core/tls.ts';
import { readDatabaseUrl, splitUrls } from '../../core/url.ts';
import type { Contacts, Setup } from '../../dashboards/grafana/install/setup.ts';
import { DASHBOARDS_ROLE } from '../../ledger/access/dashboards-login.ts';

/** The platform's configuration as a Grafana has to know it. */

/** What Grafana has to know of this platform; on `host` are the embedded engines. */
export function describeSetup(
  config: Config,
  options: { prometheusUrl: string; contacts: Contacts; host: string },
): Setup {
  const { prometheusUrl, contacts, host } = options;
  return {
    clickhouse: clickhouseLogin(config, host),
    postgres: postgresLogin(config, host),
    prometheusUrl,
    portalUrl: `${config.portalUrl}/portal`,
    contacts,
  };
}

/** A password that follows from DATA_KEYS, so that nothing new has to be kept, and every run has the same. */
export function derivedPassword(config: Config, of: string): string {
  return createSecretBox(config.dataKeys).sign('grafana', of);
}

/** The analysts' user, with the embedded engine and with a server of one's own. */
function clickhouseLogin(config: Config, host: string): Setup['clickhouse'] {
  const { user, password, database } = analystLogin(config);
  const [first = ''] = splitUrls(config.clickhouseUrl);
  const url = new URL(first);
  const secure = url.protocol === 'https:';
  return {
    host: config.embedded.clickhouse ? host : hostOf(url),
    port: Number(url.port || (secure ? 8443 : 8123)),
    database,
    user,
    password,
    secure,
    ca: config.clickhouseCa === '' ? '' : readSettingFile('CLICKHOUSE_CA', config.clickhouseCa).toString(),
  };
}

const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, '');

const SSL_MODES = ['require', 'verify-ca', 'verify-full'] as const;

function postgresLogin(config: Config, host: string): Setup['postgres'] {
  // Grafana takes one host: of several the first.
  const url = new URL(readDatabaseUrl(config.databaseUrl).urls[0] as string);
  const ca = url.searchParams.get('sslrootcert') ?? '';
  return {
    host: config.embedded.postgres ? host : hostOf(url),
    port: Number(url.port || 5432),
    database: decodeURIComponent(url.pathname.slice(1)),
    user: DASHBOARDS_ROLE,
    password: derivedPassword(config, 'postgres'),
    sslmode: SSL_MODES.find((mode) => mode === url.searchParams.get('sslmode')) ?? 'disable',
    ca: ca === '' || ca === 'system' ? '' : readSettingFile('DATABASE_URL sslrootcert', ca).toString(),
  };
}
