import { validateHeaderName, validateHeaderValue } from 'node:http';
import { z } from 'zod';
import { MAX_CLICK_SHARDS } from '../clicks/shards.ts';
import { OperatingError } from '../errors.ts';
import { isNetwork } from '../ip.ts';
import { hasReadableLogin } from '../url.ts';
import { fromProject } from './paths.ts';
import {
  clickhouseUrlFault,
  databaseUrlFault,
  natsUrlFault,
  serverFaults,
  UNREADABLE_LOGIN,
} from './servers.ts';

/**
 * Every environment variable of the platform, in the order of `.env.example`.
 * Each process parses them once; nothing else reads the environment.
 */

interface Variable {
  readonly name: string;
  /** Its meaning, with its unit. */
  readonly about: string;
  /** The default as text, or '' for none. */
  readonly fallback: string;
  readonly schema: z.ZodType<unknown, string>;
}

const port = z
  .string()
  .regex(/^\d{1,5}$/, 'must be a port number from 1 to 65535')
  .transform(Number)
  .refine((n) => n >= 1 && n <= 65_535, 'must be a port number from 1 to 65535');

const count = z
  .string()
  .regex(/^\d{1,9}$/, 'must be a whole number')
  .transform(Number)
  .refine((n) => n >= 1, 'must be at least 1');

const text = z.string();

const hourOrOff = z
  .string()
  .regex(/^(?:off|1?\d|2[0-3])$/, 'must be an hour from 0 to 23, or off')
  .transform((value) => (value === 'off' ? null : Number(value)));

function url(...protocols: string[]): z.ZodType<string, string> {
  return z
    .string()
    .refine(
      (value) => value === '' || (URL.canParse(value) && protocols.includes(new URL(value).protocol)),
      `must be a URL starting with ${protocols.map((p) => `${p}//`).join(' or ')}`,
    )
    .refine((value) => !URL.canParse(value) || hasReadableLogin(new URL(value)), UNREADABLE_LOGIN);
}

/** A URL that `fault` has nothing to say against, or ''. */
function urlWithout(fault: (value: string) => string): z.ZodType<string, string> {
  return z.string().superRefine((value, context) => {
    const message = value === '' ? '' : fault(value);
    if (message !== '') context.addIssue({ code: 'custom', message });
  });
}

function oneOf<const T extends readonly [string, ...string[]]>(...values: T): z.ZodType<T[number], string> {
  return z.string().pipe(z.enum(values, `must be one of ${values.join(', ')}`));
}

/** `name=value,name=value`, values percent-encoded, as OpenTelemetry has headers and attributes. */
const pairs = z
  .string()
  .refine((value) => pairsOf(value) !== undefined, 'must be name=value pairs, separated by commas')
  .transform((value): Readonly<Record<string, string>> => pairsOf(value) ?? {});

/** {@link pairs} that HTTP can send: the client would refuse others at each request. */
const headers = pairs.superRefine((given, context) => {
  for (const [name, value] of Object.entries(given)) {
    try {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    } catch {
      const message = `has a header that HTTP does not allow: ${JSON.stringify(name)}`;
      context.addIssue({ code: 'custom', message });
    }
  }
});

const share = z
  .string()
  .regex(/^(?:0(?:\.\d{1,9})?|1(?:\.0{1,9})?)$/, 'must be a number from 0 to 1')
  .transform(Number);

const yesOrNo = oneOf('yes', 'no').transform((value) => value === 'yes');

const list = z.string().transform((value) =>
  value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
);

const replicas = z
  .string()
  .regex(/^[135]?$/, 'must be 1, 3 or 5')
  .transform((value) => (value === '' ? undefined : Number(value)));

const clickKeys = list.refine(
  (keys) => keys.every((key) => /^[0-9a-f]{32}$/i.test(key)),
  'must be keys of 32 hexadecimal digits, separated by commas, the newest first',
);

const dataKeys = list.refine(
  (keys) => keys.every((key) => /^[0-9a-f]{64}$/i.test(key)),
  'must be keys of 64 hexadecimal digits, separated by commas, the newest first',
);

const networks = list.refine(
  (values) => values.every(isNetwork),
  'must be addresses or networks such as 10.0.0.0/8, separated by commas',
);

function pairsOf(text: string): Record<string, string> | undefined {
  const parts = text.split(',').map((part) => part.trim());
  const found = parts.filter((part) => part !== '').map((part) => /^([^\s=]+)\s*=\s*(.*)$/.exec(part));
  try {
    return Object.fromEntries(
      found.map((pair) => [decodeURIComponent(pair?.[1] ?? '%'), decodeURIComponent(pair?.[2] ?? '')]),
    );
  } catch {
    return undefined;
  }
}

const variable = <S extends z.ZodType<unknown, string>>(
  name: string,
  schema: S,
  fallback: string,
  about: string,
): Variable & { schema: S } => ({ name, schema, fallback, about });

const variables = {
  home: variable('AFFLUX_HOME', text, '.afflux', 'data and fetched tools; relative to the project folder'),
  host: variable('HOST', text, '127.0.0.1', 'address the collector and the API listen on'),
  metricsHost: variable(
    'METRICS_HOST',
    text,
    '127.0.0.1',
    'address on which the loader, the attribution worker, the scheduler and collectors that share a port answer for their health and metrics',
  ),
  collectorPort: variable('COLLECTOR_PORT', port, '8080', 'port of the collector'),
  collectorMetricsPort: variable(
    'COLLECTOR_METRICS_PORT',
    port,
    '8090',
    'port for health and metrics of the first of several collectors that share a port; the others follow it',
  ),
  apiPort: variable('API_PORT', port, '8081', 'port of the API'),
  loaderPort: variable('LOADER_PORT', port, '8082', 'port of the loader: health and metrics'),
  attributionPort: variable(
    'ATTRIBUTION_PORT',
    port,
    '8083',
    'port of the attribution worker: health and metrics',
  ),
  schedulerPort: variable('SCHEDULER_PORT', port, '8084', 'port of the scheduler: health and metrics'),
  collectorUrl: variable(
    'COLLECTOR_URL',
    url('http:', 'https:'),
    '',
    'public base URL of links; empty: http://localhost:COLLECTOR_PORT. With https the click cookie is Secure',
  ),
  databaseUrl: variable(
    'DATABASE_URL',
    urlWithout(databaseUrlFault),
    '',
    'PostgreSQL 15 or later, as postgres://afflux_app:password@host:5432/database, the login of every process, with sslmode, sslrootcert, sslcert and sslkey as libpq has them, several hosts as a:5432,b:5432; empty: the embedded one',
  ),
  databaseOwnerUrl: variable(
    'DATABASE_OWNER_URL',
    urlWithout(databaseUrlFault),
    '',
    'the database of DATABASE_URL as the owner of its schema: for "migrate" and "up" only; no other process needs it',
  ),
  clickhouseUrl: variable(
    'CLICKHOUSE_URL',
    urlWithout(clickhouseUrlFault),
    '',
    'ClickHouse HTTP interface, 25.6 or later, as http://user:password@host:8123/database, every server of a cluster with commas between; empty: the embedded one',
  ),
  clickhouseCa: variable(
    'CLICKHOUSE_CA',
    text,
    '',
    'PEM file of the authorities that sign the certificate of CLICKHOUSE_URL; empty: those that Node.js knows',
  ),
  clickhouseCert: variable(
    'CLICKHOUSE_CERT',
    text,
    '',
    'PEM file of the certificate that ClickHouse asks for; it is also the login when CLICKHOUSE_URL has no password',
  ),
  clickhouseKey: variable('CLICKHOUSE_KEY', text, '', 'PEM file of the private key of CLICKHOUSE_CERT'),
  clickhouseCluster: variable(
    'CLICKHOUSE_CLUSTER',
    text,
    '',
    'name of the cluster of CLICKHOUSE_URL, as its servers define it (docs/cluster.md); empty: one server',
  ),
  natsUrl: variable(
    'NATS_URL',
    urlWithout(natsUrlFault),
    '',
    'NATS server with JetStream, 2.9 or later, as nats://user:password@host:4222, nats://token@host:4222 or tls://…, several of a cluster with commas between; empty: the embedded one',
  ),
  natsReplicas: variable(
    'NATS_REPLICAS',
    replicas,
    '',
    'servers that keep a copy of each stream and bucket: 1, 3 or 5; empty: 3 for new ones where NATS is a cluster, else 1, and existing ones stay as they are',
  ),
  natsCreds: variable('NATS_CREDS', text, '', 'credentials file (.creds: a JWT and its seed) for NATS_URL'),
  natsNkey: variable('NATS_NKEY', text, '', 'file with the seed of an nkey for NATS_URL'),
  natsCa: variable(
    'NATS_CA',
    text,
    '',
    'PEM file of the authorities that sign the certificates of NATS_URL; empty: those that Node.js knows',
  ),
  natsCert: variable('NATS_CERT', text, '', 'PEM file of the certificate that NATS asks for'),
  natsKey: variable('NATS_KEY', text, '', 'PEM file of the private key of NATS_CERT'),
  natsTlsFirst: variable(
    'NATS_TLS_FIRST',
    yesOrNo,
    'no',
    '"yes": TLS before the server speaks, as nats-server with handshake_first wants it',
  ),
  postgresPort: variable('POSTGRES_PORT', port, '54320', 'loopback port of the embedded PostgreSQL'),
  clickhousePort: variable('CLICKHOUSE_PORT', port, '18123', 'loopback port of the embedded ClickHouse'),
  natsPort: variable('NATS_PORT', port, '14222', 'loopback port of the embedded NATS'),
  natsServer: variable(
    'NATS_SERVER',
    text,
    '',
    'path of a nats-server binary; empty: the one in PATH or AFFLUX_HOME/bin, whichever is 2.10 or later',
  ),
  natsSync: variable(
    'NATS_SYNC',
    oneOf('always', 'interval'),
    'always',
    'embedded NATS: "always" fsyncs every batch before its redirects leave, "interval" every 2 minutes (a power cut loses more)',
  ),
  clickKeys: variable(
    'CLICK_KEYS',
    clickKeys,
    '',
    'keys of the click ids, 32 hexadecimal digits each, newest first; empty: one generated in AFFLUX_HOME/secrets.json',
  ),
  dataKeys: variable(
    'DATA_KEYS',
    dataKeys,
    '',
    'keys that encrypt payout methods and signing secrets, 64 hexadecimal digits each, newest first; empty: derived from AFFLUX_HOME/secrets.json',
  ),
  portalUrl: variable(
    'PORTAL_URL',
    url('http:', 'https:'),
    '',
    'public base URL of the portal, for mails and cookies; empty: http://localhost:API_PORT. With https cookies are Secure',
  ),
  mailUrl: variable(
    'MAIL_URL',
    url('smtp:', 'smtps:'),
    '',
    'SMTP server for password resets and notices, as smtp://user:password@host:587; empty: mails are logged',
  ),
  mailFrom: variable('MAIL_FROM', text, 'Afflux <no-reply@localhost>', 'sender of mails'),
  webhookNetworks: variable(
    'WEBHOOK_NETWORKS',
    networks,
    '',
    'private addresses or networks that webhooks are allowed to reach, comma-separated; empty: none',
  ),
  apiRequestsPerMinute: variable(
    'API_REQUESTS_PER_MINUTE',
    count,
    '6000',
    'requests a minute of one party over all its keys, per API process; an affiliate has a tenth. Calls that report orders do not count',
  ),
  apiConcurrentReports: variable(
    'API_CONCURRENT_REPORTS',
    count,
    '4',
    'reports and exports of lists of one party at a time, over all its keys, per API process',
  ),
  maxHeaderBytes: variable(
    'UWS_HTTP_MAX_HEADERS_SIZE',
    count,
    '16384',
    'limit of the request line and headers of a click together, bytes; beyond it 431',
  ),
  trustedProxies: variable(
    'TRUSTED_PROXIES',
    networks,
    '',
    'addresses or networks of the proxies whose X-Forwarded-For, Forwarded or PROXY header is trusted, comma-separated; empty: none',
  ),
  geoDatabase: variable(
    'GEO_DATABASE',
    text,
    '',
    "path of an .mmdb database of countries, MaxMind's format too; empty: the installed one (CC0)",
  ),
  clickShards: variable(
    'CLICK_SHARDS',
    count.refine((n) => n <= MAX_CLICK_SHARDS, `must be at most ${MAX_CLICK_SHARDS}`),
    '1',
    'shards of the click stream that collectors publish to, by the campaign; loaders read every shard that exists',
  ),
  spoolMaxMb: variable(
    'SPOOL_MAX_MB',
    count,
    '1024',
    "limit of a collector's spool on its own disk while NATS is unavailable, MiB; beyond it clicks are answered 503",
  ),
  payoutProvider: variable(
    'PAYOUT_PROVIDER',
    oneOf('bank_csv', 'sepa_xml', 'paypal_csv', 'stripe'),
    'bank_csv',
    'how payouts are made: files in AFFLUX_HOME/payouts for a bank (CSV, or SEPA credit transfers as pain.001) or for PayPal, or Stripe Connect',
  ),
  sepaDebtorName: variable(
    'SEPA_DEBTOR_NAME',
    text,
    '',
    'who pays SEPA credit transfers: the holder of the account',
  ),
  sepaDebtorIban: variable('SEPA_DEBTOR_IBAN', text, '', 'the IBAN that SEPA credit transfers are paid from'),
  sepaDebtorBic: variable(
    'SEPA_DEBTOR_BIC',
    text,
    '',
    'the BIC of its bank; empty: the bank finds it by the IBAN',
  ),
  payoutHour: variable(
    'PAYOUT_HOUR',
    hourOrOff,
    '5',
    'hour (UTC) from which the scheduler runs the payouts of the day; "off": only "afflux payouts run" does',
  ),
  stripeSecretKey: variable('STRIPE_SECRET_KEY', text, '', 'secret key of the Stripe account that pays'),
  stripeWebhookSecret: variable(
    'STRIPE_WEBHOOK_SECRET',
    text,
    '',
    'signing secret of the Stripe webhook endpoint /v1/provider-notices/stripe; empty: disabled',
  ),
  grafanaToken: variable(
    'GRAFANA_TOKEN',
    text,
    '',
    'token of a service account of Grafana with the role Admin, for "afflux grafana --url"',
  ),
  logLevel: variable(
    'LOG_LEVEL',
    oneOf('silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace'),
    'info',
    'lowest severity that is logged',
  ),
  logFormat: variable(
    'LOG_FORMAT',
    z.string().pipe(z.enum(['json', 'text', ''], 'must be json or text')),
    '',
    '"json": an object a line; "text": for people; empty: text on a terminal, JSON elsewhere',
  ),
  otlpEndpoint: variable(
    'OTEL_EXPORTER_OTLP_ENDPOINT',
    url('http:', 'https:'),
    '',
    'where traces and metrics are sent for OpenTelemetry, by OTLP over HTTP (protobuf), such as http://localhost:4318; empty: nowhere, and no other variable with OTEL_ is read',
  ),
  otelDisabled: variable(
    'OTEL_SDK_DISABLED',
    text.transform((value) => value.toLowerCase() === 'true'),
    '',
    '"true": nothing is sent, as without an endpoint',
  ),
  otlpProtocol: variable(
    'OTEL_EXPORTER_OTLP_PROTOCOL',
    oneOf('http/protobuf'),
    'http/protobuf',
    'the only protocol of Afflux; receivers of OpenTelemetry have another port for it than for gRPC',
  ),
  otlpHeaders: variable(
    'OTEL_EXPORTER_OTLP_HEADERS',
    headers,
    '',
    'headers of these requests, as name=value,name=value with values percent-encoded, such as a token',
  ),
  tracesExporter: variable('OTEL_TRACES_EXPORTER', oneOf('otlp', 'none'), 'otlp', '"none": no traces'),
  metricsExporter: variable('OTEL_METRICS_EXPORTER', oneOf('otlp', 'none'), 'otlp', '"none": no metrics'),
  metricExportInterval: variable(
    'OTEL_METRIC_EXPORT_INTERVAL',
    count,
    '60000',
    'time between two messages of metrics, milliseconds',
  ),
  tracesSampler: variable(
    'OTEL_TRACES_SAMPLER',
    oneOf(
      'parentbased_always_on',
      'parentbased_always_off',
      'parentbased_traceidratio',
      'always_on',
      'always_off',
      'traceidratio',
    ),
    'parentbased_always_on',
    'which traces are sent; "parentbased": a request is as the span that its traceparent names',
  ),
  tracesSamplerArg: variable(
    'OTEL_TRACES_SAMPLER_ARG',
    share,
    '1',
    'share of the traces that the samplers with traceidratio send, from 0 to 1',
  ),
  resourceAttributes: variable(
    'OTEL_RESOURCE_ATTRIBUTES',
    pairs,
    '',
    'attributes of everything that is sent, as name=value,name=value, such as deployment.environment.name=staging',
  ),
};

type Parsed = { readonly [K in keyof typeof variables]: z.output<(typeof variables)[K]['schema']> };

/** The environment: parsed, with defaults, frozen. */
export interface EnvironmentConfig extends Parsed {
  /** Which engines have no URL of their own and are started by `afflux up`. */
  readonly embedded: { readonly postgres: boolean; readonly clickhouse: boolean; readonly nats: boolean };
}

/** The configuration of a process: {@link EnvironmentConfig}, completed by the generated secrets. */
export interface Config extends Omit<EnvironmentConfig, 'clickKeys' | 'dataKeys'> {
  /** Of the embedded PostgreSQL's superuser, who owns the schema there. */
  readonly postgresPassword: string;
  /** Of the login that processes use at the embedded PostgreSQL. */
  readonly databasePassword: string;
  readonly clickhousePassword: string;
  readonly analystPassword: string;
  /** What the passwords of programs' analysts are made of. */
  readonly programAnalystKey: string;
  readonly natsPassword: string;
  /** 16 bytes each, newest first. */
  readonly clickKeys: readonly [Buffer, ...Buffer[]];
  /** 32 bytes each, newest first. */
  readonly dataKeys: readonly [Buffer, ...Buffer[]];
}

/** In the order of `.env.example`. */
export const VARIABLE_NAMES: readonly string[] = Object.values(variables).map(({ name }) => name);

/** The variables that hold the port of a service or an embedded engine. */
export const PORT_VARIABLES: readonly string[] = Object.values(variables)
  .filter(({ schema }) => schema === port)
  .map(({ name }) => name);

/**
 * Parses the environment; reads and writes nothing else. Unset engine URLs stay empty: those of the embedded engines hold
 * generated passwords (core/config/secrets.ts).
 * @throws OperatingError `invalid_config` that lists every fault at once.
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): EnvironmentConfig {
  const faults: string[] = [];
  const parsed: Record<string, unknown> = {};
  for (const [key, { name, schema, fallback }] of Object.entries(variables)) {
    const isRead = !name.startsWith(OTEL) || sendsTelemetry(env);
    const result = schema.safeParse((isRead && env[name]?.trim()) || fallback);
    if (result.success) parsed[key] = result.data;
    else faults.push(...result.error.issues.map((issue) => `${name} ${issue.message}`));
  }
  const given = parsed as unknown as Parsed;
  if (faults.length === 0) faults.push(...serverFaults(given));
  if (given.databaseOwnerUrl && !given.databaseUrl) {
    faults.push('DATABASE_OWNER_URL must be set together with DATABASE_URL');
  }
  if (faults.length > 0) {
    throw new OperatingError('invalid_config', `invalid environment:\n  ${faults.join('\n  ')}`);
  }
  return Object.freeze({
    ...given,
    home: fromProject(given.home),
    collectorUrl: (given.collectorUrl || `http://localhost:${given.collectorPort}`).replace(/\/+$/, ''),
    embedded: {
      postgres: given.databaseUrl === '',
      clickhouse: given.clickhouseUrl === '',
      nats: given.natsUrl === '',
    },
    portalUrl: (given.portalUrl || `http://localhost:${given.apiPort}`).replace(/\/+$/, ''),
  });
}

const OTEL = 'OTEL_';

/** Variables of OpenTelemetry can be meant for other programs of the machine, with values that only those know. */
function sendsTelemetry(env: Readonly<Record<string, string | undefined>>): boolean {
  const { otlpEndpoint, otelDisabled } = variables;
  const isDisabled = otelDisabled.schema.parse(env[otelDisabled.name]?.trim() ?? '');
  return !isDisabled && (env[otlpEndpoint.name] ?? '').trim() !== '';
}

/** The text of `.env.example`; a test compares the committed file with it. */
export function renderEnvExample(): string {
  const lines = Object.values(variables).map(
    ({ name, about, fallback }) => `# ${about}\n${fallback === '' ? `# ${name}=` : `${name}=${fallback}`}\n`,
  );
  return `# Every variable of Afflux with its default. Copy to .env and change what you need. NAME_FILE, in place of NAME, names\n# a file that has the value, such as a secret of a container.\n\n${lines.join('\n')}`;
}
