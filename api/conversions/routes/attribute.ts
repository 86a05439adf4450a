import { z } from 'zod';
import { decideByHand } from '../../../attribution/decide/by-hand.ts';
import { couponTime } from '../../../attribution/decide/choose-coupon.ts';
import { parseEvidence } from '../../../attribution/decide/evidence.ts';
import { gatherCustomers } from '../../../attribution/worker/customers.ts';
import { assert, InputError } from '../../../core/errors.ts';
import { MAX_CODE_LENGTH, MAX_NOTE_LENGTH } from '../../../core/text-limits.ts';
import { appendAuditLog } from '../../../ledger/access/audit-log.ts';
import { type Conversion, getConversion } from '../../../ledger/conversions/conversions.ts';
import { recordDecisions, type WinningClick } from '../../../ledger/decisions/decisions.ts';
import type { DatabaseTransaction } from '../../../ledger/postgres/db.ts';
import { getAffiliate } from '../../../ledger/programs/affiliates.ts';
import { getCampaign } from '../../../ledger/programs/campaigns.ts';
import { onlyCampaign } from '../../../ledger/programs/coupons.ts';
import { findLink } from '../../../ledger/programs/links.ts';
import { getProgram } from '../../../ledger/programs/programs.ts';
import { isExcluded } from '../../../ledger/programs/special-rates.ts';
import { termsInForce } from '../../../ledger/programs/terms.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { inProgram, principalOf } from '../../http/principal.ts';
import { wrongState } from '../../http/problems.ts';
import { conversionView, formatConversion } from '../../orders/conversion-view.ts';
import { bigintId, formatId, formatOptionalId, integerId } from '../../schemas/ids.ts';
import { text } from '../../schemas/schemas.ts';

const WHAT = 'conversion with this id';

const body = z
  .strictObject({
    link_code: text(MAX_CODE_LENGTH)
      .optional()
      .meta({ description: 'The link, and so its affiliate and campaign.' }),
    affiliate_id: integerId('affiliate').optional().meta({ description: 'Instead of link_code.' }),
    campaign_id: integerId('campaign').optional().meta({
      description: 'With affiliate_id; may be left out where the program has one campaign.',
    }),
    note: text(MAX_NOTE_LENGTH).meta({ description: 'Why; it stays in the audit log and the evidence.' }),
  })
  .superRefine(({ link_code, affiliate_id, campaign_id }, context) => {
    const issue = (field: string, message: string) =>
      context.addIssue({ code: 'custom', path: [field], message });
    if (link_code === undefined && affiliate_id === undefined)
      issue('link_code', 'or affiliate_id is required');
    if (link_code !== undefined && affiliate_id !== undefined)
      issue('affiliate_id', 'stands instead of link_code');
    if (affiliate_id === undefined && campaign_id !== undefined)
      issue('campaign_id', 'needs an affiliate_id');
  });

type Target = Pick<WinningClick, 'affiliateId' | 'campaignId' | 'linkId'>;

/** An operator credits an order that no click and no coupon credited. */
export function addAttributeRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/conversions/:id/attribute',
    config: {
      roles: ['operator'],
      idempotent: true,
      problems: ['not_found', 'wrong_state'],
      example: { affiliate_id: 'aff_1', campaign_id: 'cmp_1', note: 'named in the customer’s mail' },
    },
    schema: {
      operationId: 'attributeConversion',
      tags: ['conversions'],
      summary:
        'Credit an order that is credited to no affiliate, by the terms in force when it occurred. Repeating it changes nothing.',
      params: z.object({ id: bigintId('conversion') }),
      body,
      response: { 200: conversionView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { note } = request.body;
      return await commit(context, request, reply, async (tx) => {
        const before = inProgram(principal, await getConversion(tx, request.params.id), WHAT);
        const target = await readTarget(tx, before.programId, request.body);
        const credited = await attribute(tx, { conversion: before, target, note, actor: principal.actor });
        const now = inProgram(principal, await getConversion(tx, before.id), WHAT);
        if (!credited && !isCreditedByHand(now, target)) throw wrongState('conversion', now.state);
        return { body: formatConversion(now, principal) };
      });
    },
  });
}

/** @throws InputError naming link_code, affiliate_id or campaign_id. */
async function readTarget(
  tx: DatabaseTransaction,
  programId: number,
  { link_code: code, affiliate_id: affiliateId, campaign_id: campaignId }: z.output<typeof body>,
): Promise<Target> {
  if (code !== undefined) {
    const link = await findLink(tx, { programId, code });
    if (!link) throw new InputError('link_code', 'there is no such link');
    await checkAffiliate(tx, { programId, affiliateId: link.affiliateId, field: 'link_code' });
    return { affiliateId: link.affiliateId, campaignId: link.campaignId, linkId: link.id };
  }
  assert(affiliateId !== undefined, 'one of the two is given');
  await checkAffiliate(tx, { programId, affiliateId, field: 'affiliate_id' });
  const campaign = campaignId === undefined ? undefined : await getCampaign(tx, campaignId);
  if (campaignId !== undefined && campaign?.programId !== programId) {
    throw new InputError('campaign_id', 'there is no such campaign in the program');
  }
  return { affiliateId, campaignId: campaignId ?? (await onlyCampaign(tx, programId)), linkId: null };
}

async function checkAffiliate(
  tx: DatabaseTransaction,
  { programId, affiliateId, field }: { programId: number; affiliateId: number; field: string },
): Promise<void> {
  const affiliate = await getAffiliate(tx, affiliateId);
  if (affiliate?.programId !== programId)
    throw new InputError(field, 'there is no such affiliate in the program');
  if (affiliate.status === 'terminated') throw new InputError(field, 'the affiliate is terminated');
}

/** Whether it was credited now: an order that is credited already, or was rejected, stays as it is. @throws InputError. */
async function attribute(
  tx: DatabaseTransaction,
  options: { conversion: Conversion; target: Target; note: string; actor: string },
): Promise<boolean> {
  const { conversion, target, note, actor } = options;
  const { programId, eventName } = conversion;
  const [terms] = await termsInForce(tx, [{ programId, eventName, ...target, at: couponTime(conversion) }]);
  if (!terms) throw new InputError('id', 'no terms were in force when the order occurred');
  const buying = { conversion, winner: { source: 'manual' as const, terms } };
  const customer = (await gatherCustomers(tx, [buying])).get(buying);
  assert(customer, 'an order has a customer, who may be unknown');
  if (isExcluded(terms, customer.kind))
    throw new InputError('id', `the terms credit no order of a ${customer.kind} customer`);
  const program = await getProgram(tx, programId);
  assert(program, 'a conversion has a program');
  const [recorded] = await recordDecisions(tx, [
    decideByHand({
      conversion,
      target: { ...target, terms },
      customer,
      creditedBy: actor,
      note,
      programRulesVersion: program.rulesVersion,
      now: new Date(),
    }),
  ]);
  if (recorded?.outcome !== 'recorded') return false;
  await appendAuditLog(tx, {
    actor,
    action: 'conversion.attribute',
    subject: formatId('conversion', conversion.id),
    before: { state: conversion.state, reason: conversion.reason },
    after: {
      state: 'attributed',
      affiliate_id: formatId('affiliate', target.affiliateId),
      campaign_id: formatId('campaign', target.campaignId),
      link_id: formatOptionalId('link', target.linkId),
      note,
    },
  });
  return true;
}

function isCreditedByHand({ evidence }: Conversion, target: Target): boolean {
  const manual = parseEvidence(evidence)?.manual;
  return (
    manual !== undefined &&
    manual.affiliateId === target.affiliateId &&
    manual.campaignId === target.campaignId &&
    manual.linkId === target.linkId
  );
}
