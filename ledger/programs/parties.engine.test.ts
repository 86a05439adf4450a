import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { InputError } from '../../core/errors.ts';
import { waitFor } from '../../test/support/engines.ts';
import {
  createParties,
  freshLedger,
  type TestLedger,
  type TestParties,
  waitingForLocks,
} from '../../test/support/ledger.ts';
import { createApiKey } from '../access/api-keys.ts';
import type { Database } from '../postgres/db.ts';
import { createAffiliate, listAffiliates, updateAffiliate } from './affiliates.ts';
import { createCampaign, updateCampaign } from './campaigns.ts';
import { createLink, updateLink } from './links.ts';
import { createProgram, getProgram, updateProgram } from './programs.ts';
import { listTerms, setTerms, termsInForce } from './terms.ts';

let db: TestLedger;
let ledger: Database;
let parties: TestParties;
beforeAll(async () => {
  db = await freshLedger({ max: 4 });
  ledger = db.ledger;
});
afterAll(async () => await db.close());
beforeEach(async () => {
  parties = await createParties(ledger);
});

function inputError(field: string) {
  return expect.objectContaining({ constructor: InputError, field });
}

describe('landing URLs', () => {
  test.each([
    'javascript:alert(1)',
    'ftp://shop.example/',
    'https://user:secret@shop.example/',
    'https://shop.example/\r\nSet-Cookie: a=b',
    'https://shop\n.example/',
    'https://phish.example/',
    'https:///{sub1}/',
    'https://shop.example/?click_id=1',
    'https://shop.example/?c={clickid}',
    'https://{sub1}.example/',
    `https://shop.example/${'x'.repeat(2_000)}`,
    '',
  ])('%j is refused when saved', async (landingUrl) => {
    const { campaignId, chain, linkId } = parties;
    const created = createLink(ledger, { campaignId, affiliateId: chain[0], landingUrl });
    await expect(created).rejects.toEqual(inputError('landing_url'));
    const updated = updateLink(ledger, { id: linkId, changes: { landingUrl } });
    await expect(updated).rejects.toEqual(inputError('landing_url'));
  });

  test('also as fallbacks', async () => {
    const fallbackUrl = 'data:text/html,x';
    const fault = inputError('fallback_url');
    await expect(createProgram(ledger, { name: 'p', currency: 'EUR', fallbackUrl })).rejects.toEqual(fault);
    const changes = { fallbackUrl };
    await expect(updateCampaign(ledger, { id: parties.campaignId, changes })).rejects.toEqual(fault);
  });
});

describe('links', () => {
  const landingUrl = 'https://shop.example/?c={click_id}';

  test('have codes that tell upper from lower case and are unique on the platform', async () => {
    const { campaignId, chain } = parties;
    const [affiliateId] = chain;
    await createLink(ledger, { campaignId, affiliateId, landingUrl, code: 'Spring' });
    await createLink(ledger, { campaignId, affiliateId, landingUrl, code: 'spring' });
    const taken = createLink(ledger, { campaignId, affiliateId, landingUrl, code: 'Spring' });
    await expect(taken).rejects.toEqual(inputError('code'));
    for (const code of ['', 'a b', 'ä', 'x'.repeat(65), 'a/b', 'a\n']) {
      const malformed = createLink(ledger, { campaignId, affiliateId, landingUrl, code });
      await expect(malformed).rejects.toEqual(inputError('code'));
    }
    const drawn = await createLink(ledger, { campaignId, affiliateId, landingUrl });
    expect(drawn.code).toMatch(/^[0-9A-Za-z]{9}$/);
  });

  test('stay within one program', async () => {
    const other = await createParties(ledger);
    const { campaignId } = parties;
    const mixed = createLink(ledger, { campaignId, affiliateId: other.chain[0], landingUrl });
    await expect(mixed).rejects.toEqual(inputError('affiliate_id'));
    const nowhere = createLink(ledger, {
      campaignId: 2_000_000_000,
      affiliateId: other.chain[0],
      landingUrl,
    });
    await expect(nowhere).rejects.toEqual(inputError('campaign_id'));
  });

  test('carry the transaction that last wrote them', async () => {
    const xid = async () => {
      const [row] = await ledger<[{ xid: bigint }]>`
        select change_xid::text::bigint as xid from links where id = ${parties.linkId}`;
      return row.xid;
    };
    const before = await xid();
    await updateLink(ledger, { id: parties.linkId, changes: { status: 'paused' } });
    expect(await xid()).toBeGreaterThan(before);
    // The application cannot lie about it.
    await expect(ledger`update links set change_xid = '1'`).rejects.toMatchObject({ code: '42501' });
  });
});

describe('the tree of affiliates', () => {
  test('refuses a cycle, also one that two transactions would close together', async () => {
    const [affiliate, parent, grandparent] = parties.chain;
    const hang = (id: number, parentId: number) =>
      updateAffiliate(ledger, { actor: 'test', id, changes: { parentId } });
    await expect(hang(grandparent, affiliate)).rejects.toEqual(inputError('parent_id'));
    await expect(hang(parent, parent)).rejects.toEqual(inputError('parent_id'));
    const { programId } = parties;
    const loose = (refCode: string) =>
      createAffiliate(ledger, { programId, refCode, name: refCode, email: 'a@example.com' });
    const [a, b] = [await loose('a'), await loose('b')];
    const second = await ledger.begin(async (tx) => {
      await updateAffiliate(tx, { actor: 'test', id: a.id, changes: { parentId: b.id } });
      const rival = Promise.allSettled([hang(b.id, a.id)]);
      await waitFor(async () => (await waitingForLocks(db.owner)) > 0, {
        deadlineMs: 5_000,
        what: 'the second transaction to wait for the first',
      });
      return { rival };
    });
    expect(await second.rival).toEqual([{ status: 'rejected', reason: inputError('parent_id') }]);
  });

  test('is 20 deep at the most', async () => {
    const { programId } = parties;
    let [parentId]: readonly number[] = parties.chain;
    const below = (refCode: string) =>
      createAffiliate(ledger, { programId, refCode, name: refCode, email: 'a@example.com', parentId });
    for (let depth = 4; depth <= 20; depth++) parentId = (await below(`d${depth}`)).id;
    await expect(below('d21')).rejects.toEqual(inputError('parent_id'));
    const top = await createAffiliate(ledger, {
      programId,
      refCode: 'top',
      name: 'top',
      email: 'a@example.com',
    });
    const lowered = updateAffiliate(ledger, {
      actor: 'test',
      id: parties.chain[2],
      changes: { parentId: top.id },
    });
    await expect(lowered).rejects.toEqual(inputError('parent_id'));
  });

  test('stays within one program', async () => {
    const other = await createParties(ledger);
    const changes = { parentId: other.chain[0] };
    await expect(updateAffiliate(ledger, { actor: 'test', id: parties.chain[0], changes })).rejects.toEqual(
      inputError('parent_id'),
    );
  });
});

describe('bad input names its field', () => {
  const affiliate = { refCode: 'x', name: 'x', email: 'x@example.com' };
  test.each([
    ['ref_code', { ...affiliate, refCode: 'a b' }],
    ['ref_code', { ...affiliate, refCode: 'affiliate' }],
    ['name', { ...affiliate, name: '' }],
    ['name', { ...affiliate, name: 'a\u0000b' }],
    ['name', { ...affiliate, name: '\ud800' }],
    ['email', { ...affiliate, email: 'no address' }],
    ['customer_ref', { ...affiliate, customerRef: 'a\nb' }],
    ['program_id', { ...affiliate, programId: 2_000_000_000 }],
  ])('%s of an affiliate: %j', async (field, given) => {
    const { programId } = parties;
    await expect(createAffiliate(ledger, { programId, ...given })).rejects.toEqual(inputError(field));
  });

  test.each([
    ['currency', { name: 'p', currency: 'EURO' }],
    ['tracking_domain', { name: 'p', currency: 'EUR', trackingDomain: 'Go.Example.com/x' }],
    [
      'fraud_rules.instant_conversion',
      { name: 'p', currency: 'EUR', fraudRules: { instant_conversion: -1 } },
    ],
  ])('%s of a program', async (field, given) => {
    await expect(createProgram(ledger, given)).rejects.toEqual(inputError(field));
  });

  test('a campaign that ends before it starts; a key without its affiliate', async () => {
    const { programId } = parties;
    const backwards = { programId, name: 'c', startsAt: new Date(2_000), endsAt: new Date(1_000) };
    await expect(createCampaign(ledger, backwards)).rejects.toEqual(inputError('ends_at'));
    const unscoped = createApiKey(ledger, { role: 'affiliate', name: 'k', programId });
    await expect(unscoped).rejects.toEqual(inputError('role'));
  });
});

test('a change of the fraud settings is a new version of the rules, other changes are not', async () => {
  const id = parties.programId;
  await updateProgram(ledger, { id, changes: { name: 'renamed' } });
  expect((await getProgram(ledger, id))?.rulesVersion).toBe(1);
  const changed = await updateProgram(ledger, {
    id,
    changes: { fraudRules: { high_conversion_rate_from_ip: 3 } },
  });
  expect(changed).toMatchObject({ rulesVersion: 2, fraudRules: { high_conversion_rate_from_ip: 3 } });
});

test('pages follow each other without gap or repetition', async () => {
  const { programId } = parties;
  const first = await listAffiliates(ledger, { programId, limit: 2 });
  expect(first.next).toBe(first.rows[1]?.id);
  const second = await listAffiliates(ledger, { programId, limit: 2, after: first.next ?? undefined });
  expect(second.next).toBeNull();
  expect([...first.rows, ...second.rows].map(({ name }) => name)).toEqual([
    'grandparent',
    'parent',
    'affiliate',
  ]);
});

describe('terms', () => {
  test('follow each other without overlap; the past keeps its version', async () => {
    const { programId, campaignId, chain } = parties;
    const before = new Date();
    const next = await setTerms(ledger, { programId, rateBps: 2_000 });
    const [newest, oldest] = await listTerms(ledger, { programId });
    expect(newest).toEqual(next);
    expect(oldest).toMatchObject({ id: parties.termsId, validFrom: null, validTo: next.validFrom });
    const ask = (at: Date) => ({ programId, campaignId, affiliateId: chain[0], at });
    const later = new Date(Date.now() + 60_000);
    const answers = await termsInForce(ledger, [ask(later), ask(before), { ...ask(later), programId: 0 }]);
    expect(answers.map((terms) => terms?.id)).toEqual([next.id, parties.termsId, undefined]);
  });

  test('of the most specific scope win', async () => {
    const { programId, campaignId, chain } = parties;
    const [affiliateId, other] = chain;
    const otherCampaign = (await createCampaign(ledger, { programId, name: 'other' })).id;
    const ofCampaign = await setTerms(ledger, { programId, campaignId });
    const ofAffiliate = await setTerms(ledger, { programId, affiliateId });
    const ofBoth = await setTerms(ledger, { programId, affiliateId, campaignId });
    const at = new Date(Date.now() + 60_000);
    const answers = await termsInForce(ledger, [
      { programId, at, campaignId, affiliateId },
      { programId, at, campaignId: otherCampaign, affiliateId },
      { programId, at, campaignId, affiliateId: other },
      { programId, at, campaignId: otherCampaign, affiliateId: other },
    ]);
    expect(answers.map((terms) => terms?.id)).toEqual([
      ofBoth.id,
      ofAffiliate.id,
      ofCampaign.id,
      parties.termsId,
    ]);
  });

  test('overlapping ones are refused by the database itself', async () => {
    const overlap = db.owner`
      insert into terms (program_id, currency, validity, commission_type, rate_bps, fixed_minor, payout_min_minor)
      values (${parties.programId}, 'EUR', '[2020-01-01,2020-01-02)', 'percent', 100, 0, 0)`;
    await expect(overlap).rejects.toMatchObject({ constraint: 'terms_no_overlap' });
  });

  test.each([
    ['from', { from: new Date(0) }],
    ['rate_bps', { rateBps: -1 }],
    ['level_rates_bps', { rateBps: 9_800, levelRatesBps: [300] }],
    ['level_rates_bps', { levelRatesBps: [-1] }],
    ['commission_type', { commissionType: 'percent', fixedMinor: 5n }],
    ['commission_type', { commissionType: 'fixed', rateBps: 5 }],
    ['hold_days', { holdDays: 366 }],
    ['cookie_days', { cookieDays: 0 }],
    ['affiliate_id', { affiliateId: 2_000_000_000 }],
  ] as const)('with a wrong %s are refused (%#)', async (field, given) => {
    const { programId } = parties;
    await expect(setTerms(ledger, { programId, ...given })).rejects.toEqual(inputError(field));
    expect(await listTerms(ledger, { programId })).toHaveLength(1);
  });
});
