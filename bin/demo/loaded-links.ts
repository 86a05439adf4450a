import type { Config } from '../../core/config/config.ts';
import { createSecretBox } from '../../core/secret-box.ts';
import { metricsToken } from '../../core/service/metrics-access.ts';
import { collectorSlotUrl, serviceNamed, serviceUrl } from '../services.ts';

const ANSWER_MS = 2_000;
/** A replaced collector leaves its slot free: there may be others after it. */
const SLOTS_BETWEEN = 2;

/**
 * How many links every collector leads on with: those that were just made are not among them at once. Of several on one
 * port the kernel chooses who answers, so each is asked at a port of its own.
 */
export async function linksInCollectors(config: Config): Promise<number> {
  const counts = [await linksAt(serviceUrl(serviceNamed('collector'), config), config)];
  for (let slot = 0, gap = 0; gap < SLOTS_BETWEEN; slot++) {
    const count = await linksAt(collectorSlotUrl(slot, config), config);
    gap = count === undefined ? gap + 1 : 0;
    counts.push(count);
  }
  return Math.min(...counts.filter((count) => count !== undefined));
}

/** Undefined where there is no collector, 0 for one that is stuck. */
async function linksAt(url: string, config: Config): Promise<number | undefined> {
  const authorization = `Bearer ${metricsToken(createSecretBox(config.dataKeys))}`;
  const signal = AbortSignal.timeout(ANSWER_MS);
  try {
    const answer = await fetch(`${url}/metrics`, { headers: { authorization }, signal });
    const [, count] = /^afflux_collector_links (\d+)$/m.exec(await answer.text()) ?? [];
    return count === undefined ? undefined : Number(count);
  } catch {
    return signal.aborted ? 0 : undefined;
  }
}
