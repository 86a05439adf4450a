import { join } from 'node:path';
import { setupToken, setupUrl } from '../../api/setup/token.ts';
import type { Config } from '../../core/config/config.ts';
import { createSecretBox } from '../../core/secret-box.ts';
import type { LogFormat } from '../../core/service/log-lines.ts';
import { connectDatabase } from '../../ledger/postgres/db.ts';
import { hasOperator } from '../../ledger/setup/first-setup.ts';
import { type Demo, linkUrl, readDemo } from './data.ts';

/**
 * Lines that `afflux up` prints under its table: how to set up a platform without an operator, or the demo's users. In
 * JSON they are for a store of logs, which no right to set up a platform belongs in.
 */
export async function firstSteps(options: { config: Config; format: LogFormat }): Promise<string[]> {
  const { config, format } = options;
  const demo = await readDemo(join(config.home, 'demo.json'));
  if (demo) return describeDemo(config, demo);
  const ledger = await connectDatabase({ url: config.databaseUrl, max: 1, name: 'afflux-up' });
  const isSetUp = await hasOperator(ledger).finally(() => ledger.end());
  if (isSetUp) return [`The portal is at ${config.portalUrl}/portal/.`];
  if (format === 'json') {
    return [
      'No user can sign in yet. Set the platform up: npx afflux init on the command line, or in a browser by the link that npx afflux init --link prints',
    ];
  }
  return [
    'No user can sign in yet. Set the platform up in a browser; the link is good for a day, keep it to yourself:',
    `  ${setupUrl(config.portalUrl, setupToken(createSecretBox(config.dataKeys), Date.now()))}`,
    'or on the command line: npx afflux init. To look around first, with invented data: npm run demo',
  ];
}

/** The demo's users and a way from a click to a commission with its link and keys. */
export function describeDemo(config: Config, demo: Demo): string[] {
  const link = demo.links.find(({ code }) => code === 'ann-summer');
  if (!link) return describePortal(config, demo);
  const api = `http://localhost:${config.apiPort}`;
  return [
    ...describePortal(config, demo),
    '',
    'From a click to a commission (a click counts within two seconds, its commission follows at once):',
    `  CLICK=$(curl -s -o /dev/null -w '%{redirect_url}' '${linkUrl(config, link.code)}?sub1=hello' | sed 's/.*click_id=//')`,
    `  curl -s "${api}/postback?key=${demo.keys.advertiser}&order_id=order-$RANDOM&amount=120.00&currency=${demo.program.currency}&click_id=$CLICK"`,
    `  sleep 3; curl -s -H 'Authorization: Bearer ${demo.keys.affiliate}' ${api}/v1/commissions`,
    '',
    `More keys and links: ${join(config.home, 'demo.json')}. Traffic with everything: npm run demo`,
  ];
}

/** Where the portal is, and who may sign in to the demo's. */
function describePortal(config: Config, { portal }: Demo): string[] {
  const { operator, partner } = portal;
  return [
    `The portal is at ${config.portalUrl}/portal/. Sign in as`,
    `  a partner:    ${partner.email}  ${partner.password}`,
    `  an operator:  ${operator.email}  ${operator.password}`,
  ];
}
