import { createSecretBox } from '../../core/secret-box.ts';
import { metricsToken } from '../../core/service/metrics-access.ts';
import { readConfig } from '../environment.ts';

/** `afflux metrics-token`: what Prometheus sends to read the metrics of every process. */
export function showMetricsToken(): void {
  process.stdout.write(`${metricsToken(createSecretBox(readConfig().dataKeys))}\n`);
}
