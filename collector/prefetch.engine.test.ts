import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCampaign } from '../ledger/programs/campaigns.ts';
import { createLink } from '../ledger/programs/links.ts';
import { launchChromium } from '../test/support/browser.ts';
import { type CollectorUnderTest, prepareCollector, readMetrics } from '../test/support/collector.ts';
import { waitFor } from '../test/support/engines.ts';
import { findChromium } from '../test/support/programs.ts';

const chromium = findChromium();
/** Its own says that it is headless. */
const CHROME =
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36';
const DEADLINE = { deadlineMs: 15_000 };

/** How a page has a link fetched before it is clicked. */
const FETCH_AHEAD = {
  'link rel=prefetch': (url: string) => `<link rel="prefetch" href="${url}">`,
  'speculation rules, prefetch': (url: string) =>
    `<script type="speculationrules">{"prefetch":[{"urls":["${url}"],"eagerness":"immediate"}]}</script>`,
  'speculation rules, prerender': (url: string) =>
    `<script type="speculationrules">{"prerender":[{"urls":["${url}"],"eagerness":"immediate"}]}</script>`,
} as const;

describe.skipIf(chromium === undefined)('a link that a browser fetches before it is clicked', () => {
  let world: CollectorUnderTest;
  let collector: { stop(): Promise<void> };
  let browser: Browser;
  let site: Server;
  let siteUrl: string;
  let campaignId: number;
  let page = '';

  beforeAll(async () => {
    world = await prepareCollector();
    collector = await world.start();
    browser = await launchChromium(chromium ?? '');
    // The page with the link, and the shop that it leads to.
    site = createServer((request, response) => {
      response.setHeader('Content-Type', 'text/html');
      response.end(request.url?.startsWith('/landed') ? '<title>landed</title>' : page);
    });
    await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve));
    siteUrl = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
    const shop = { programId: world.program.id, name: 'Site', cookieDays: 7, landingUrl: siteUrl };
    campaignId = (await createCampaign(world.ledger, shop)).id;
  });
  afterAll(async () => {
    await browser?.close();
    site?.close();
    await collector?.stop();
    await world?.dispose();
  });

  const refused = async () =>
    Number(/outcome="speculative"[^}]*} (\d+)/.exec(await readMetrics(world.url, world.config))?.[1] ?? 0);

  it.each(Object.entries(FETCH_AHEAD))('is one valid click, and lands: %s', async (_how, markup) => {
    const link = await createLink(world.ledger, {
      affiliateId: world.affiliate.id,
      campaignId,
      landingUrl: `${siteUrl}/landed`,
    });
    await waitFor(
      async () =>
        (await fetch(`${world.url}/c/${link.code}`, { method: 'HEAD', redirect: 'manual' })).status === 302,
      {
        ...DEADLINE,
        what: 'the link',
      },
    );
    const url = `${world.url}/c/${link.code}?sub5=browser`;
    page = `<!doctype html><title>blog</title>${markup(url)}<a href="${url}">Shop</a>`;
    const before = await refused();
    const tab = await (await browser.newContext({ userAgent: CHROME })).newPage();
    await tab.goto(siteUrl);
    await waitFor(async () => (await refused()) > before, { ...DEADLINE, what: 'the fetch ahead' });
    await tab.getByRole('link', { name: 'Shop' }).click();
    await waitFor(() => tab.url().startsWith(`${siteUrl}/landed?click_id=`), {
      ...DEADLINE,
      what: 'the landing page',
    });
    const clicks = (await world.storedClicks()).filter(
      (click) => click.link_id === link.id && click.sub5 === 'browser',
    );
    expect(clicks.map(({ flags }) => flags)).toEqual([0]);
    await tab.context().close();
  });
});
