import { z } from 'zod';
import { affiliateTree, type SubAffiliate, subAffiliates } from '../../../ledger/programs/affiliate-tree.ts';
import { AFFILIATE_STATUSES, getAffiliate } from '../../../ledger/programs/affiliates.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { principalOf } from '../../http/principal.ts';
import { formatId, formatOptionalId, idText, integerId } from '../../schemas/ids.ts';
import { formatMoney, formatTime, moneyText, timeText } from '../../schemas/schemas.ts';
import { visibleAffiliate } from '../affiliate-view.ts';

const params = z.object({ id: integerId('affiliate') });

const memberView = z
  .object({
    id: idText('affiliate'),
    parent_id: idText('affiliate').nullable(),
    name: z.string(),
    status: z.enum(AFFILIATE_STATUSES),
    depth: z.int().meta({ description: 'Negative above the affiliate, 0 itself, positive below.' }),
    earned: moneyText.meta({ description: 'At every level, less what was taken back.' }),
  })
  .meta({ id: 'TreeMember' });

const subAffiliatesView = z
  .object({
    levels: z
      .array(
        z.object({
          level: z.int(),
          members: z.int(),
          conversions_attributed: z.int(),
          earned: moneyText,
        }),
      )
      .meta({ description: 'Level 2: recruited by itself; level 3: by those; and so on.' }),
    data: z.array(
      z.object({
        id: idText('affiliate'),
        parent_id: idText('affiliate').nullable(),
        name: z.string(),
        status: z.enum(AFFILIATE_STATUSES),
        level: z.int(),
        since: timeText,
        conversions_attributed: z
          .int()
          .meta({ description: 'Credited conversions by which the affiliate in the path earned.' }),
        earned: moneyText.meta({
          description: 'By the affiliate in the path, less what was taken back.',
        }),
      }),
    ),
  })
  .meta({ id: 'SubAffiliates' });

function formatSubAffiliates(members: readonly SubAffiliate[]): z.output<typeof subAffiliatesView> {
  const levels = [...new Set(members.map(({ level }) => level))].map((level) => {
    const own = members.filter((member) => member.level === level);
    return {
      level,
      members: own.length,
      conversions_attributed: own.reduce((sum, { credited }) => sum + credited, 0),
      earned: formatMoney(
        own.reduce((sum, { earnedMinor }) => sum + earnedMinor, 0n),
        own[0]?.currency ?? '',
      ),
    };
  });
  return {
    levels,
    data: members.map((member) => ({
      id: formatId('affiliate', member.id),
      parent_id: formatOptionalId('affiliate', member.parentId),
      name: member.name,
      status: member.status,
      level: member.level,
      since: formatTime(member.createdAt),
      conversions_attributed: member.credited,
      earned: formatMoney(member.earnedMinor, member.currency),
    })),
  };
}

/** Who recruited whom, and what each earned. */
export function addAffiliateTreeRoutes(app: ApiServer, { ledger }: ApiContext): void {
  const tags = ['affiliates'];

  app.route({
    method: 'GET',
    url: '/v1/affiliates/:id/tree',
    config: { roles: ['operator', 'finance', 'fraud'], problems: ['not_found'] },
    schema: {
      operationId: 'getAffiliateTree',
      tags,
      summary: 'Who recruited whom, above and below an affiliate, with what each earned',
      params,
      response: { 200: z.object({ data: z.array(memberView) }) },
    },
    handler: async (request) => {
      const affiliate = visibleAffiliate(principalOf(request), await getAffiliate(ledger, request.params.id));
      const members = await affiliateTree(ledger, affiliate.id);
      return {
        data: members.map((member) => ({
          id: formatId('affiliate', member.id),
          parent_id: formatOptionalId('affiliate', member.parentId),
          name: member.name,
          status: member.status,
          depth: member.depth,
          earned: formatMoney(member.earnedMinor, member.currency),
        })),
      };
    },
  });

  app.route({
    method: 'GET',
    url: '/v1/affiliates/:id/sub-affiliates',
    config: { roles: ['operator', 'finance', 'affiliate'], problems: ['not_found'] },
    schema: {
      operationId: 'listSubAffiliates',
      tags,
      summary: 'Whom an affiliate recruited, level by level, with what it earned by each',
      params,
      response: { 200: subAffiliatesView },
    },
    handler: async (request) => {
      const { id } = visibleAffiliate(principalOf(request), await getAffiliate(ledger, request.params.id));
      return formatSubAffiliates(await subAffiliates(ledger, id));
    },
  });
}
