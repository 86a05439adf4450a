import { z } from 'zod';
import { InputError } from '../../core/errors.ts';
import { routingSchema } from '../../core/links/routing.ts';
import { MAX_CODE_LENGTH } from '../../core/text-limits.ts';
import type { DatabaseTransaction } from '../../ledger/postgres/db.ts';
import { getAffiliate } from '../../ledger/programs/affiliates.ts';
import { getCampaign } from '../../ledger/programs/campaigns.ts';
import { LINK_STATUSES, type Link, type NewLink } from '../../ledger/programs/links.ts';
import { affiliateFilter, type Principal } from '../http/principal.ts';
import { camelKeys } from '../schemas/camel-keys.ts';
import { formatId, idText, integerId } from '../schemas/ids.ts';
import {
  clickCap,
  formatOptionalTime,
  formatTime,
  passParameters,
  text,
  time,
  timeText,
  urlText,
} from '../schemas/schemas.ts';

export const linkView = z
  .object({
    id: idText('link'),
    code: z.string(),
    url: z.string().meta({ description: 'What the affiliate publishes.' }),
    program_id: idText('program'),
    campaign_id: idText('campaign'),
    affiliate_id: idText('affiliate'),
    landing_url: z.string(),
    routing: routingSchema.nullable(),
    daily_click_cap: z.int().nullable(),
    pass_parameters: passParameters.nullable().meta({ description: 'null: those of the program.' }),
    status: z.enum(LINK_STATUSES),
    expires_at: timeText.nullable(),
    created_at: timeText,
  })
  .meta({ id: 'Link' });

/** A link to be made. */
export const newLink = z.strictObject({
  campaign_id: integerId('campaign'),
  affiliate_id: integerId('affiliate').optional().meta({ description: 'An affiliate may leave it out.' }),
  landing_url: urlText.meta({ examples: ['https://shop.example/?ref={click_id}'] }),
  routing: routingSchema.nullable().exactOptional(),
  daily_click_cap: clickCap,
  pass_parameters: passParameters.nullable().exactOptional(),
  code: text(MAX_CODE_LENGTH).exactOptional(),
  expires_at: time.nullable().exactOptional(),
});

/** Formats links under the public base URL of the collector. */
export function linkFormatter(collectorUrl: string): (link: Link) => z.output<typeof linkView> {
  return (link) => ({
    id: formatId('link', link.id),
    code: link.code,
    url: `${collectorUrl}/c/${link.code}`,
    program_id: formatId('program', link.programId),
    campaign_id: formatId('campaign', link.campaignId),
    affiliate_id: formatId('affiliate', link.affiliateId),
    landing_url: link.landingUrl,
    routing: link.routing,
    daily_click_cap: link.dailyClickCap,
    pass_parameters: link.passParameters && [...link.passParameters],
    status: link.status,
    expires_at: formatOptionalTime(link.expiresAt),
    created_at: formatTime(link.createdAt),
  });
}

/**
 * A link whose campaign and affiliate are the principal's to link. What is foreign and what does not exist look alike,
 * so both are the field's fault. @throws InputError, Problem `forbidden`.
 */
export async function checkParties(
  tx: DatabaseTransaction,
  principal: Principal,
  asked: z.output<typeof newLink>,
): Promise<NewLink> {
  const affiliateId = affiliateFilter(principal, asked.affiliate_id);
  if (affiliateId === undefined) throw new InputError('affiliate_id', 'is required');
  const foreign = (row: { programId: number } | undefined): boolean =>
    row === undefined || (principal.programId !== null && row.programId !== principal.programId);
  if (foreign(await getCampaign(tx, asked.campaign_id))) {
    throw new InputError('campaign_id', 'there is no such campaign');
  }
  if (foreign(await getAffiliate(tx, affiliateId))) {
    throw new InputError('affiliate_id', 'there is no such affiliate');
  }
  return { ...camelKeys(asked), affiliateId };
}
