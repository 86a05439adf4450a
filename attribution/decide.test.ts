import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ClickFlag } from '../core/click-record.ts';
import type { Affiliate } from '../ledger/affiliates.ts';
import type { ClaimedConversion } from '../ledger/conversions.ts';
import type { Terms } from '../ledger/terms.ts';
import { type ClickAnswer, decide, type Facts, type KnownClick } from './decide.ts';

const CLICK_MS = Date.UTC(2026, 0, 10, 12);
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

const click: KnownClick = {
  ts: CLICK_MS,
  node: 1,
  seq: 2,
  programId: 1,
  campaignId: 2,
  affiliateId: 3,
  linkId: 4,
  ip: '192.0.2.1',
  flags: 0,
};

function conversion(changes: Partial<ClaimedConversion> = {}): ClaimedConversion {
  return {
    id: 1n,
    programId: 1,
    orderId: 'o-1',
    amountMinor: 10_000n,
    currency: 'EUR',
    refundedMinor: 0n,
    state: 'received',
    status: 'pending',
    reason: null,
    source: 'api',
    occurredAt: new Date(CLICK_MS + 10 * MINUTE_MS),
    receivedAt: new Date(CLICK_MS + 10 * MINUTE_MS),
    decidedAt: null,
    clickId: 'x',
    clickTs: null,
    clickNode: null,
    clickSeq: null,
    clickIp: null,
    campaignId: null,
    affiliateId: null,
    linkId: null,
    termsId: null,
    evidence: null,
    customerId: null,
    customerEmailHash: null,
    ip: null,
    userAgent: null,
    fingerprint: null,
    attempts: 0,
    fingerprintMatch: 'review',
    conversionsPerIpHour: 10,
    instantConversionSeconds: 30,
    rulesVersion: 1,
    ...changes,
  };
}

const affiliate: Affiliate = {
  id: 3,
  programId: 1,
  refCode: 'ann',
  name: 'Ann',
  email: 'Ann@Example.test ',
  customerRef: 'customer-ann',
  status: 'active',
  parentId: null,
  approvedAt: null,
  createdAt: new Date(0),
};

const terms: Terms = {
  id: 7,
  programId: 1,
  campaignId: null,
  affiliateId: null,
  validFrom: null,
  validTo: null,
  currency: 'EUR',
  commissionType: 'percent',
  rateBps: 1_000,
  fixedMinor: 0n,
  levelRatesBps: [300, 100],
  holdDays: 30,
  cookieDays: 30,
  attributionModel: 'last_click',
  payoutMinMinor: 1_000n,
  rounding: 'half_even',
  createdAt: new Date(0),
};

function facts(changes: Partial<Facts> = {}): Facts {
  return {
    conversion: conversion(),
    click: { kind: 'found', click },
    terms,
    affiliate,
    completeToMs: CLICK_MS + DAY_MS,
    conversionsFromIp: 0,
    ...changes,
  };
}

const found = (changes: Partial<KnownClick>): ClickAnswer => ({
  kind: 'found',
  click: { ...click, ...changes },
});

describe('decide', () => {
  it('attributes an ordinary conversion and keeps why', () => {
    const verdict = decide(facts());
    expect(verdict).toMatchObject({ outcome: 'attributed', reason: null });
    if (verdict.outcome === 'awaiting_click') throw new Error('not decided');
    expect(verdict.evidence.rules.map((rule) => rule.fired)).toEqual([false, false, false, false]);
    expect(verdict.evidence.click?.identity).toBe(`${CLICK_MS}:1:2`);
  });

  it.each([
    ['no click id', facts({ click: { kind: 'none_given' } }), 'no_click'],
    ['a forged click id', facts({ click: { kind: 'not_an_id' } }), 'invalid_click_id'],
    ['another program', facts({ click: found({ programId: 9 }) }), 'click_of_other_program'],
    ['a paused link', facts({ click: found({ flags: ClickFlag.paused }) }), 'invalid_click'],
    ['an order before the click', facts({ click: found({ ts: CLICK_MS + DAY_MS }) }), 'click_after_order'],
    ['no terms', facts({ terms: undefined }), 'no_terms'],
  ])('does not attribute %s', (_name, given, reason) => {
    expect(decide(given)).toMatchObject({ outcome: 'unattributed', reason });
  });

  it('honours the window to the millisecond', () => {
    const at = (ms: number) => facts({ conversion: conversion({ occurredAt: new Date(ms) }) });
    expect(decide(at(CLICK_MS + 30 * DAY_MS))).toMatchObject({ outcome: 'attributed' });
    expect(decide(at(CLICK_MS + 30 * DAY_MS + 1))).toMatchObject({
      outcome: 'unattributed',
      reason: 'outside_window',
    });
  });

  it('says "no such click" only when the warehouse is complete past the click', () => {
    const missing = (completeToMs: number) =>
      facts({ click: { kind: 'missing', identity: click }, completeToMs });
    expect(decide(missing(CLICK_MS))).toEqual({ outcome: 'awaiting_click' });
    expect(decide(missing(CLICK_MS + 1))).toMatchObject({
      outcome: 'unattributed',
      reason: 'click_not_found',
    });
  });

  it('rejects self-referral by customer id and by email', () => {
    const byId = facts({ conversion: conversion({ customerId: 'customer-ann' }) });
    expect(decide(byId)).toMatchObject({ outcome: 'rejected', reason: 'self_referral' });
    const hash = createHash('sha256').update('ann@example.test').digest('hex');
    const byEmail = facts({ conversion: conversion({ customerEmailHash: hash }) });
    expect(decide(byEmail)).toMatchObject({ outcome: 'rejected', reason: 'self_referral' });
  });

  it.each([
    ['instant_conversion', facts({ conversion: conversion({ occurredAt: new Date(CLICK_MS + 29_999) }) })],
    ['high_conversion_rate_from_ip', facts({ conversionsFromIp: 10 })],
    ['affiliate_not_active', facts({ affiliate: { ...affiliate, status: 'suspended' } })],
  ])('puts %s in review', (reason, given) => {
    expect(decide(given)).toMatchObject({ outcome: 'review', reason });
  });

  it('does not fire at the thresholds themselves', () => {
    expect(decide(facts({ conversionsFromIp: 9 }))).toMatchObject({ outcome: 'attributed' });
    const atThirty = facts({ conversion: conversion({ occurredAt: new Date(CLICK_MS + 30_000) }) });
    expect(decide(atThirty)).toMatchObject({ outcome: 'attributed' });
  });

  it('rejects rather than reviews when both apply', () => {
    const both = facts({ conversion: conversion({ customerId: 'customer-ann' }), conversionsFromIp: 50 });
    expect(decide(both)).toMatchObject({ outcome: 'rejected', reason: 'self_referral' });
  });
});
