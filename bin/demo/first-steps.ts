import { join } from 'node:path';
import type { Config } from '../../core/config/config.ts';
import type { Logger } from '../../core/service/log.ts';
import { connectDatabase } from '../../ledger/postgres/db.ts';
import { type Demo, ensureDemo, readDemo } from './data.ts';

/** What `afflux up` does with its stores once they are migrated, before any service runs: the demo program. */
export async function prepareStores(options: { config: Config; log: Logger }): Promise<void> {
  const { config, log } = options;
  const ledger = await connectDatabase({ url: config.databaseUrl, max: 1, name: 'afflux-up' });
  try {
    const demo = await ensureDemo({ ledger, config });
    log.debug({ program: demo?.program.name }, 'demo program');
  } finally {
    await ledger.end();
  }
}

/** Lines that `afflux up` prints under its table: from a click to a commission, with the demo's link and keys. */
export async function firstSteps({ config }: { config: Config }): Promise<string[]> {
  const demo = await readDemo(join(config.home, 'demo.json'));
  const link = demo?.links.find(({ code }) => code === 'ann-summer');
  if (!demo || !link) return [];
  const api = `http://localhost:${config.apiPort}`;
  return [
    ...describePortal(config, demo),
    '',
    'From a click to a commission (a click counts within two seconds, its commission follows at once):',
    `  CLICK=$(curl -s -o /dev/null -w '%{redirect_url}' '${link.url}?sub1=hello' | sed 's/.*click_id=//')`,
    `  curl -s "${api}/postback?key=${demo.keys.advertiser}&order_id=order-$RANDOM&amount=120.00&currency=${demo.program.currency}&click_id=$CLICK"`,
    `  sleep 3; curl -s -H 'Authorization: Bearer ${demo.keys.affiliate}' ${api}/v1/commissions`,
    '',
    `More keys and links: ${join(config.home, 'demo.json')}. Traffic with everything: npm run demo`,
  ];
}

/** Where the portal is, and who may sign in to the demo's. */
export function describePortal(config: Config, { portal }: Demo): string[] {
  const { operator, partner } = portal;
  return [
    `The portal is at ${config.portalUrl}/portal/. Sign in as`,
    `  a partner:    ${partner.email}  ${partner.password}`,
    `  an operator:  ${operator.email}  ${operator.password}`,
  ];
}
