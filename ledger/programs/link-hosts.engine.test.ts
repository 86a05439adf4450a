import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { fromProject } from '../../core/config/paths.ts';
import { InputError } from '../../core/errors.ts';
import { readMigrations } from '../../core/migrations.ts';
import { createParties, freshLedger, type TestLedger, type TestParties } from '../../test/support/ledger.ts';
import type { Database } from '../postgres/db.ts';
import { getCampaign, updateCampaign } from './campaigns.ts';
import { createLinkTemplate } from './link-templates.ts';
import { createLink, hostsOfLinks, listLinks, updateLink } from './links.ts';

let db: TestLedger;
let ledger: Database;
let parties: TestParties;
beforeAll(async () => {
  db = await freshLedger({ max: 2 });
  ledger = db.ledger;
});
afterAll(async () => await db.close());
beforeEach(async () => {
  parties = await createParties(ledger);
});

const leadsElsewhere = (field: string) =>
  expect.objectContaining({ constructor: InputError, field, reason: expect.stringContaining('allows') });

function create(landingUrl: string, routing: Parameters<typeof createLink>[1]['routing'] = null) {
  const { campaignId, chain } = parties;
  return createLink(ledger, { campaignId, affiliateId: chain[0], landingUrl, routing });
}

function allow(allowedHosts: string[], landingUrl?: string | null) {
  return updateCampaign(ledger, { id: parties.campaignId, changes: { allowedHosts, landingUrl } });
}

async function linkedHosts() {
  const campaign = await getCampaign(ledger, parties.campaignId);
  if (!campaign) throw new Error('the campaign is there');
  return await hostsOfLinks(ledger, campaign);
}

describe('an affiliate who links to a host of their own', { tags: ['attack'] }, () => {
  test('is refused in the landing page, in the routing, and in a template', async () => {
    const weighted = (url: string) => [{ url, weight: 1 }];
    await expect(create('https://phish.example/login')).rejects.toEqual(leadsElsewhere('landing_url'));
    await expect(
      create('https://shop.example/', { rules: [], destinations: weighted('https://phish.example/') }),
    ).rejects.toEqual(leadsElsewhere('routing.destinations.0.url'));
    const rule = { when: { os: ['iOS'] }, destinations: weighted('https:\\phish.example') };
    await expect(create('https://shop.example/', { rules: [rule] })).rejects.toEqual(
      leadsElsewhere('routing.rules.0.destinations.0.url'),
    );
    const changes = { landingUrl: 'https://phish.example/' };
    await expect(updateLink(ledger, { id: parties.linkId, changes })).rejects.toEqual(
      leadsElsewhere('landing_url'),
    );
    await expect(
      createLinkTemplate(ledger, {
        campaignId: parties.campaignId,
        name: 'x',
        landingUrl: 'https://p.example',
      }),
    ).rejects.toEqual(leadsElsewhere('landing_url'));
  });

  test('is allowed what an operator lists, wildcards and every host included', async () => {
    await allow(['*.Shop.example', 'söhne.example']);
    expect((await create('https://m.shop.example/')).landingUrl).toBe('https://m.shop.example/');
    expect((await create('https://söhne.example')).landingUrl).toBe('https://xn--shne-5qa.example/');
    await expect(create('https://phish.example/')).rejects.toEqual(leadsElsewhere('landing_url'));
    await allow(['*']);
    expect((await create('https://phish.example/')).landingUrl).toBe('https://phish.example/');
    await allow([], null);
    await expect(create('https://shop.example/')).rejects.toEqual(leadsElsewhere('landing_url'));
  });
});

test('targets are stored as they are sent', async () => {
  const destinations = [{ url: 'HTTPS:///SHOP.example/a b', weight: 1 }];
  const link = await create('https:\\shop.example', { rules: [], destinations });
  expect(link).toMatchObject({
    landingUrl: 'https://shop.example/',
    routing: { rules: [], destinations: [{ url: 'https://shop.example/a%20b', weight: 1 }] },
  });
});

test('links to hosts that are no longer allowed are listed, lead on, and can be paused', async () => {
  await allow(['other.example', 'third.example']);
  const stray = await create('https://other.example/');
  await create('https://shop.example/', {
    rules: [],
    destinations: [{ url: 'https://third.example/', weight: 1 }],
  });
  expect((await linkedHosts()).map(({ isAllowed }) => isAllowed)).toEqual([true, true, true]);
  await allow(['third.example']);
  expect(await linkedHosts()).toEqual([
    { host: 'other.example', links: 1, isAllowed: false },
    { host: 'shop.example', links: 2, isAllowed: true },
    { host: 'third.example', links: 1, isAllowed: true },
  ]);
  const { rows } = await listLinks(ledger, {
    campaignId: parties.campaignId,
    host: 'other.example',
    limit: 10,
  });
  expect(rows.map(({ id }) => id)).toEqual([stray.id]);
  const paused = await updateLink(ledger, { id: stray.id, changes: { status: 'paused' } });
  expect(paused).toMatchObject({ status: 'paused', landingUrl: 'https://other.example/' });
});

test('links of an earlier release get their hosts, and campaigns those on which links or templates agree', async () => {
  const { campaignId, chain, linkId } = parties;
  const { owner } = db;
  const migration = readMigrations(fromProject('ledger/migrations')).find(({ name }) =>
    /link_hosts/.test(name),
  );
  const updates = (migration?.text ?? '').split(/;$/m).filter((statement) => /^update/m.test(statement));
  expect(updates).toHaveLength(2);
  const migrate = async () => {
    await allow([], null);
    for (const statement of updates) await owner.unsafe(statement);
    return { hosts: await linkedHosts(), campaign: await getCampaign(ledger, campaignId) };
  };
  await ledger`update links set landing_url = 'HTTP://Shop.Example:81?x', hosts = '{}' where id = ${linkId}`;
  const agreed = await migrate();
  expect(agreed.hosts).toEqual([{ host: 'shop.example', links: 1, isAllowed: true }]);
  expect(agreed.campaign?.allowedHosts).toEqual(['shop.example']);
  const routing = { rules: [], destinations: [{ url: 'https://phish.example/', weight: 1 }] };
  await ledger`
    insert into links (program_id, campaign_id, affiliate_id, code, landing_url, routing)
    values (${parties.programId}, ${campaignId}, ${chain[0]}, ${`odd-${linkId}`}, 'https:///{sub1}/x',
      ${ledger.json(routing)})`;
  const mixed = await migrate();
  expect(mixed.hosts.map(({ host, isAllowed }) => [host, isAllowed])).toEqual([
    ['?', false],
    ['phish.example', false],
    ['shop.example', false],
  ]);
  expect(mixed.campaign?.allowedHosts).toEqual([]);
  await ledger`insert into link_templates (program_id, campaign_id, name, landing_url)
    values (${parties.programId}, ${campaignId}, 'Start', 'https://shop.example/{sub1}')`;
  expect((await migrate()).campaign?.allowedHosts).toEqual(['shop.example']);
});
