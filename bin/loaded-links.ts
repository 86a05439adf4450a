import { basename } from 'node:path';
import type { Config } from '../core/config/config.ts';
import { createSecretBox } from '../core/secret-box.ts';
import { metricsToken } from '../core/service/metrics-access.ts';
import { collectorSlotUrl, serviceNamed, serviceUrl } from './services.ts';
import { runningCollectors } from './supervisor/collector-folders.ts';

const ANSWER_MS = 2_000;

/**
 * How many links every collector leads on with: those that were just made are not among them at once. Of several on one
 * port the kernel chooses who answers, so each that runs is asked at a port of its own: no other one, which another user of
 * the machine could have.
 */
export async function linksInCollectors(config: Config): Promise<number> {
  const folders = runningCollectors(config.home).map(({ folder }) => folder);
  const urls =
    folders.length > 1
      ? folders.map((folder) => collectorSlotUrl(Number(basename(folder)), config))
      : [serviceUrl(serviceNamed('collector'), config)];
  return Math.min(...(await Promise.all(urls.map(async (url) => await linksAt(url, config)))));
}

/** 0 where none answers in time. */
async function linksAt(url: string, config: Config): Promise<number> {
  const authorization = `Bearer ${metricsToken(createSecretBox(config.dataKeys))}`;
  const signal = AbortSignal.timeout(ANSWER_MS);
  try {
    const answer = await fetch(`${url}/metrics`, { headers: { authorization }, signal });
    return Number(/^afflux_collector_links (\d+)$/m.exec(await answer.text())?.[1] ?? 0);
  } catch {
    return 0;
  }
}
