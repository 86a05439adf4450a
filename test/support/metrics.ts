import type { Config } from '../../core/config/config.ts';
import { createSecretBox } from '../../core/secret-box.ts';
import { metricsToken } from '../../core/service/metrics-access.ts';

/** What Prometheus reads of the process at `url`, by the token of its configuration. */
export async function readMetrics(url: string, { dataKeys }: Pick<Config, 'dataKeys'>): Promise<string> {
  const authorization = `Bearer ${metricsToken(createSecretBox(dataKeys))}`;
  return await (await fetch(`${url}/metrics`, { headers: { authorization } })).text();
}
