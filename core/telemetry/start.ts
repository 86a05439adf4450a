import type { Registry } from 'prom-client';
import type { Logger } from '../service/log.ts';
import { noTelemetry, type Telemetry, type TelemetryConfig } from './telemetry.ts';

/** Telemetry as configured. Unless there is an endpoint, nothing of OpenTelemetry is loaded. */
export async function openTelemetry(options: {
  config: TelemetryConfig;
  /** Of the process, such as `collector`. */
  service: string;
  metrics: Registry;
  log: Logger;
}): Promise<Telemetry> {
  const { config } = options;
  if (config.otlpEndpoint === '') return noTelemetry(config.collectorUrl);
  return (await import('./open-telemetry.ts')).startOpenTelemetry(options);
}
