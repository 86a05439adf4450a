import type { Config } from '../core/config/config.ts';
import { assert } from '../core/errors.ts';
import type { Logger } from '../core/service/log.ts';
import type { Running } from '../core/service/service.ts';
import { requireServer } from '../core/uws/self-test.ts';

/** One of the platform's own processes. */
export interface Service {
  readonly name: 'collector' | 'loader' | 'attribution' | 'scheduler' | 'api';
  /** One line for `afflux --help` and for the table that `afflux up` prints. */
  readonly summary: string;
  readonly help: string;
  /** The variable that sets its port. */
  readonly portVariable: string;
  readonly port: (config: Config) => number;
  /** Whether HOST decides the address it listens on; that of the others is METRICS_HOST. */
  readonly isPublic: boolean;
  readonly start: (options: {
    config: Config;
    log: Logger;
    stopping: AbortSignal;
    slot?: number;
  }) => Promise<Running>;
}

/** In the order in which a click and its order pass through them. */
export const SERVICES: readonly Service[] = [
  {
    name: 'collector',
    summary: 'redirects clicks and records them',
    help: `Answers GET /c/{code} with a redirect once the click is durable in NATS, and serves /healthz, /readyz and
/metrics. Reads COLLECTOR_PORT, HOST, COLLECTOR_URL, TRUSTED_PROXIES, NATS_URL, DATABASE_URL.`,
    portVariable: 'COLLECTOR_PORT',
    port: (config) => config.collectorPort,
    isPublic: true,
    start: async (options) => {
      await requireServer({ home: options.config.home, log: options.log });
      const { config, log, stopping, slot } = options;
      // Of workers that ran here before; what starts workers does it for all of them.
      if (slot === undefined) {
        await (await import('./supervisor/collector-folders.ts')).gatherOrphans({
          ...{ home: config.home, taken: new Set([0]), log, stopping },
        });
      }
      return (await import('../collector/main.ts')).startCollector(options);
    },
  },
  {
    name: 'loader',
    summary: 'moves clicks from NATS into ClickHouse, each exactly once',
    help: `Reads the stream in blocks, inserts each block under a token of its own, and publishes up to which time every
click is counted. Serves /readyz and /metrics on LOADER_PORT. Reads NATS_URL, CLICKHOUSE_URL.`,
    portVariable: 'LOADER_PORT',
    port: (config) => config.loaderPort,
    isPublic: false,
    start: async (options) => (await import('../warehouse/loader/main.ts')).startLoader(options),
  },
  {
    name: 'attribution',
    summary: 'joins conversions to clicks and posts commissions',
    help: `Takes recorded conversions, finds the click that earned each, applies terms and fraud rules, and posts the
commissions. Serves /readyz and /metrics on ATTRIBUTION_PORT. Reads DATABASE_URL, CLICKHOUSE_URL.`,
    portVariable: 'ATTRIBUTION_PORT',
    port: (config) => config.attributionPort,
    isPublic: false,
    start: async (options) => (await import('../attribution/main.ts')).startAttribution(options),
  },
  {
    name: 'scheduler',
    summary: 'vests, pays, reconciles and mirrors by the clock',
    help: `Vests commissions whose hold has ended, runs the day's payouts from PAYOUT_HOUR on, asks the provider for unknown
payouts, and mirrors conversions and names into ClickHouse. Serves /readyz and /metrics on SCHEDULER_PORT. Reads
DATABASE_URL, CLICKHOUSE_URL, PAYOUT_HOUR, PAYOUT_PROVIDER.`,
    portVariable: 'SCHEDULER_PORT',
    port: (config) => config.schedulerPort,
    isPublic: false,
    start: async (options) => (await import('../scheduler/main.ts')).startScheduler(options),
  },
  {
    name: 'api',
    summary: 'the HTTP API: conversions, postbacks, programs, reports',
    help: `Serves the API described by its own /openapi.json, and /healthz, /readyz and /metrics. Reads API_PORT, HOST,
DATABASE_URL, CLICKHOUSE_URL.`,
    portVariable: 'API_PORT',
    port: (config) => config.apiPort,
    isPublic: true,
    start: async (options) => (await import('../api/main.ts')).startApi(options),
  },
];

export function serviceNamed(name: Service['name']): Service {
  const found = SERVICES.find((service) => service.name === name);
  assert(found, `there is a service ${name}`);
  return found;
}

/** The address that a service listens on. */
export function serviceHost(service: Service, config: Config): string {
  return service.isPublic ? config.host : config.metricsHost;
}

/** Where a process on this machine reaches the service. */
export function serviceUrl(service: Service, config: Config): string {
  return httpUrl(serviceHost(service, config), service.port(config));
}

/** Where the collector in a slot answers for its own health and metrics, if it is one of several on a port. */
export function collectorSlotUrl(slot: number, config: Config): string {
  return httpUrl(config.metricsHost, config.collectorMetricsPort + slot);
}

function httpUrl(host: string, port: number): string {
  const everywhere = host === '0.0.0.0' || host === '::';
  const address = everywhere ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host;
  return `http://${address}:${port}`;
}
