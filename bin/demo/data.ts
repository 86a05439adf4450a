import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { analystLogin } from '../../core/config/analysts.ts';
import type { Config } from '../../core/config/config.ts';
import { createApiKey, type Role } from '../../ledger/access/api-keys.ts';
import { type Database, type DatabaseTransaction, inTransaction } from '../../ledger/postgres/db.ts';
import { type Affiliate, createAffiliate, getAffiliate } from '../../ledger/programs/affiliates.ts';
import { type Campaign, createCampaign } from '../../ledger/programs/campaigns.ts';
import { createLink } from '../../ledger/programs/links.ts';
import { createProgram, listPrograms } from '../../ledger/programs/programs.ts';
import { setTerms } from '../../ledger/programs/terms.ts';
import { createPortalUsers, type PortalUsers } from './portal-users.ts';

/** What the demo creates, as written to `$AFFLUX_HOME/demo.json`: ids, link codes and API keys. */
export interface Demo {
  readonly program: { readonly id: number; readonly name: string; readonly currency: string };
  readonly campaigns: readonly { readonly id: number; readonly name: string }[];
  readonly affiliates: readonly {
    readonly id: number;
    readonly ref_code: string;
    readonly parent_id: number | null;
    readonly customer_ref: string | null;
  }[];
  readonly links: readonly {
    readonly id: number;
    readonly code: string;
    readonly url: string;
    readonly campaign_id: number;
    readonly affiliate_id: number;
  }[];
  /** Bearer keys: the operator's, the shop's, and the first affiliate's. */
  readonly keys: { readonly operator: string; readonly advertiser: string; readonly affiliate: string };
  /** Who may sign in to the portal. */
  readonly portal: PortalUsers;
  /** Who reads ClickHouse, in the database that the URL names. */
  readonly analyst: { readonly url: string; readonly user: string; readonly password: string };
}

const PROGRAM_NAME = 'Demo shop';
const CURRENCY = 'EUR';

/**
 * A newcomer orders seconds after the click, which the default of 30 seconds would send to review; the demo's program
 * lets that pass, and keeps every other rule.
 */
const INSTANT_CONVERSION_SECONDS = 0;

/** Each with its recruiter: Ann has two levels of parents. */
const AFFILIATES = [
  { refCode: 'cat', name: 'Cat Coupons', parent: undefined },
  { refCode: 'bob', name: 'Bob Blogs', parent: 'cat' },
  { refCode: 'ann', name: 'Ann Advises', parent: 'bob' },
  { refCode: 'dan', name: 'Dan Deals', parent: 'cat' },
  { refCode: 'eve', name: 'Eve Emails', parent: undefined },
  { refCode: 'fay', name: 'Fay Films', parent: 'dan' },
] as const;

const CAMPAIGNS = [
  { slug: 'summer', name: 'Summer sale', terms: undefined },
  { slug: 'app', name: 'App sign-up', terms: { commissionType: 'fixed', fixedMinor: 250n } },
  {
    slug: 'home',
    name: 'Home and garden',
    terms: { commissionType: 'hybrid', rateBps: 500, fixedMinor: 100n },
  },
] as const;

/**
 * Creates the demo program in an empty ledger, and afterwards keeps the links' URLs in `demo.json` up to date.
 * Undefined when the ledger has programs of its own and no demo.
 */
export async function ensureDemo(options: { ledger: Database; config: Config }): Promise<Demo | undefined> {
  const { ledger, config } = options;
  const file = join(config.home, 'demo.json');
  const isEmpty = (await listPrograms(ledger, { limit: 1 })).rows.length === 0;
  if (!isEmpty) {
    const known = await readDemo(file);
    if (!known) return undefined;
    const links = known.links.map((link) => ({ ...link, url: linkUrl(config, link.code) }));
    // A folder from before there was a portal gets its users now.
    const portal =
      (known as Partial<Demo>).portal ?? (await createPortalUsers(ledger, await partnerOf(ledger, known)));
    const current = { ...known, links, portal, analyst: analystOf(config) };
    if (JSON.stringify(current) !== JSON.stringify(known)) await writeDemo(file, current);
    return current;
  }
  return await inTransaction(ledger, async (tx) => {
    const created = await createDemo(tx, config);
    // Keys are shown this once: the file is complete before anything is committed.
    await writeDemo(file, created);
    return created;
  });
}

/** Cat, who signs in to the portal: a partner who has recruited others. */
async function partnerOf(ledger: Database, demo: Demo): Promise<Parameters<typeof createPortalUsers>[1]> {
  const id = demo.affiliates.find(({ ref_code }) => ref_code === 'cat')?.id;
  const affiliate = id === undefined ? undefined : await getAffiliate(ledger, id);
  if (!affiliate) throw new Error('the demo has Cat');
  return { programId: demo.program.id, affiliate };
}

function analystOf(config: Config): Demo['analyst'] {
  const { url, database, user, password } = analystLogin(config);
  return { url: `${url}/${database}`, user, password };
}

async function writeDemo(file: string, demo: Demo): Promise<void> {
  await writeFile(`${file}.new`, `${JSON.stringify(demo, null, 2)}\n`, { mode: 0o600, flush: true });
  await rename(`${file}.new`, file);
}

export function linkUrl(config: Config, code: string): string {
  return `${config.collectorUrl}/c/${code}`;
}

/** The demo of this installation, if it has one. */
export async function readDemo(file: string): Promise<Demo | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Demo;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function createDemo(tx: DatabaseTransaction, config: Config): Promise<Demo> {
  const program = await createProgram(tx, {
    name: PROGRAM_NAME,
    currency: CURRENCY,
    // The demo pays on its first day; fixture.ts sets a hold once the payout methods are set.
    payoutMethodHoldDays: 0,
    // The first steps in the README click with curl, which is a robot.
    fraudRules: { instant_conversion: INSTANT_CONVERSION_SECONDS, fast_conversions: false, bot_click: false },
  });
  await setTerms(tx, { programId: program.id, rateBps: 1_000, payoutMinMinor: 1_000n });
  const campaigns: Campaign[] = [];
  for (const { name, slug, terms } of CAMPAIGNS) {
    const landingUrl = `https://shop.example/${slug}`;
    const campaign = await createCampaign(tx, { programId: program.id, name, landingUrl });
    if (terms) {
      await setTerms(tx, {
        programId: program.id,
        campaignId: campaign.id,
        payoutMinMinor: 1_000n,
        ...terms,
      });
    }
    campaigns.push(campaign);
  }
  const affiliates = await createAffiliates(tx, program.id);
  const links = await createLinks(tx, campaigns, affiliates, config);
  const key = async (role: Role, affiliateId?: number): Promise<string> =>
    (await createApiKey(tx, { role, name: `demo ${role}`, programId: program.id, affiliateId })).key;
  const first = affiliates.get('ann');
  const recruiter = affiliates.get('cat');
  if (!first || !recruiter) throw new Error('the demo has Ann and Cat');
  return {
    program: { id: program.id, name: program.name, currency: program.currency },
    campaigns: campaigns.map(({ id, name }) => ({ id, name })),
    affiliates: [...affiliates.values()].map((affiliate) => ({
      id: affiliate.id,
      ref_code: affiliate.refCode,
      parent_id: affiliate.parentId,
      customer_ref: affiliate.customerRef,
    })),
    links,
    keys: {
      operator: await key('operator'),
      advertiser: await key('advertiser'),
      affiliate: await key('affiliate', first.id),
    },
    portal: await createPortalUsers(tx, { programId: program.id, affiliate: recruiter }),
    analyst: analystOf(config),
  };
}

async function createAffiliates(tx: DatabaseTransaction, programId: number): Promise<Map<string, Affiliate>> {
  const affiliates = new Map<string, Affiliate>();
  for (const { refCode, name, parent } of AFFILIATES) {
    const parentId = parent === undefined ? null : (affiliates.get(parent)?.id ?? null);
    affiliates.set(
      refCode,
      await createAffiliate(tx, {
        programId,
        refCode,
        name,
        email: `${refCode}@affiliates.example`,
        customerRef: `customer-${refCode}`,
        parentId,
        status: 'active',
      }),
    );
  }
  return affiliates;
}

async function createLinks(
  tx: DatabaseTransaction,
  campaigns: readonly Campaign[],
  affiliates: ReadonlyMap<string, Affiliate>,
  config: Config,
): Promise<Demo['links']> {
  const links: Demo['links'][number][] = [];
  for (const affiliate of affiliates.values()) {
    for (const [i, campaign] of campaigns.entries()) {
      const slug = CAMPAIGNS[i]?.slug ?? 'x';
      const link = await createLink(tx, {
        code: `${affiliate.refCode}-${slug}`,
        affiliateId: affiliate.id,
        campaignId: campaign.id,
        landingUrl: `https://shop.example/${slug}?partner={affiliate_id}&sub={sub1}`,
      });
      links.push({
        id: link.id,
        code: link.code,
        url: linkUrl(config, link.code),
        campaign_id: campaign.id,
        affiliate_id: affiliate.id,
      });
    }
  }
  return links;
}
