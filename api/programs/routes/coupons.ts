import { z } from 'zod';
import { MAX_CODE_LENGTH } from '../../../core/text-limits.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { getAffiliate } from '../../../ledger/programs/affiliates.ts';
import {
  COUPON_LIST,
  type Coupon,
  createCoupon,
  getCoupon,
  listCoupons,
  updateCoupon,
  withdrawCoupon,
} from '../../../ledger/programs/coupons.ts';
import { checkMatch, commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { addList, timeRange } from '../../http/lists.ts';
import { affiliateFilter, inProgram, owned, principalOf, programFilter } from '../../http/principal.ts';
import { invalidField } from '../../http/problems.ts';
import { camelKeys } from '../../schemas/camel-keys.ts';
import { formatId, idText, integerId } from '../../schemas/ids.ts';
import { formatOptionalTime, formatTime, plain, time, timeText } from '../../schemas/schemas.ts';

const couponView = z
  .object({
    id: idText('coupon'),
    code: z.string().meta({ description: 'The same in any case.' }),
    program_id: idText('program'),
    campaign_id: idText('campaign').meta({ description: 'By whose terms it credits orders.' }),
    affiliate_id: idText('affiliate'),
    valid_from: timeText.nullable(),
    valid_until: timeText.nullable().meta({ description: 'Outside of the time in which it is valid.' }),
    withdrawn_at: timeText.nullable().meta({ description: 'From then on it is valid no longer.' }),
    created_at: timeText,
  })
  .meta({ id: 'Coupon' });

const validity = {
  valid_from: time.nullable().exactOptional().meta({
    description: 'null: always. Default: null for a code that the program has never had, else now.',
  }),
  valid_until: time.nullable().exactOptional(),
};

const params = z.object({ id: integerId('coupon') });
const WHAT = 'coupon with this id';
const TAGS = ['coupons'];
const READERS = ['operator', 'finance', 'fraud', 'affiliate'] as const;

function formatCoupon(coupon: Coupon): z.output<typeof couponView> {
  return {
    id: formatId('coupon', coupon.id),
    code: coupon.code,
    program_id: formatId('program', coupon.programId),
    campaign_id: formatId('campaign', coupon.campaignId),
    affiliate_id: formatId('affiliate', coupon.affiliateId),
    valid_from: formatOptionalTime(coupon.validFrom),
    valid_until: formatOptionalTime(coupon.validUntil),
    withdrawn_at: formatOptionalTime(coupon.withdrawnAt),
    created_at: formatTime(coupon.createdAt),
  };
}

/** Codes by which affiliates are credited without a click. */
export function addCouponRoutes(app: ApiServer, context: ApiContext): void {
  addReadRoutes(app, context);
  addCreateRoute(app, context);
  addChangeRoutes(app, context);
}

function addReadRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;
  addList(app, context, {
    url: '/v1/coupons',
    operationId: 'listCoupons',
    tags: TAGS,
    summary: 'Coupons, by id; an affiliate sees its own',
    config: { roles: READERS },
    kind: 'coupon',
    list: COUPON_LIST,
    filters: {
      program_id: integerId('program').optional(),
      campaign_id: integerId('campaign').optional(),
      affiliate_id: integerId('affiliate').optional(),
      code: plain(MAX_CODE_LENGTH).optional().meta({ description: 'In any case.' }),
      ...timeRange,
    },
    view: couponView,
    read: async (page, { sql, principal, query: { program_id, campaign_id, affiliate_id, ...filters } }) =>
      await listCoupons(sql, {
        ...page,
        ...filters,
        programId: programFilter(principal, program_id),
        campaignId: campaign_id,
        affiliateId: affiliateFilter(principal, affiliate_id),
      }),
    format: (coupons) => coupons.map(formatCoupon),
  });

  app.route({
    method: 'GET',
    url: '/v1/coupons/:id',
    config: { roles: READERS, problems: ['not_found'] },
    schema: {
      operationId: 'getCoupon',
      tags: TAGS,
      summary: 'One coupon',
      params,
      response: { 200: couponView },
    },
    handler: async (request, reply) => {
      const coupon = owned(principalOf(request), await getCoupon(ledger, request.params.id), WHAT);
      return withEtag(reply, formatCoupon(coupon));
    },
  });
}

function addCreateRoute(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/coupons',
    config: {
      roles: ['operator'],
      idempotent: true,
      example: { affiliate_id: 'aff_1', campaign_id: 'cmp_1', code: 'ANN10' },
    },
    schema: {
      operationId: 'createCoupon',
      tags: TAGS,
      summary: 'Give an affiliate a coupon code; at any moment a code is of one affiliate of the program',
      body: z.strictObject({
        affiliate_id: integerId('affiliate'),
        campaign_id: integerId('campaign')
          .exactOptional()
          .meta({ description: 'May be left out where the program has one campaign.' }),
        code: plain(MAX_CODE_LENGTH),
        ...validity,
      }),
      response: { 201: couponView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      return await commit(context, request, reply, async (tx) => {
        const affiliate = await getAffiliate(tx, request.body.affiliate_id);
        // What is foreign and what does not exist look alike.
        if (!affiliate || (principal.programId !== null && affiliate.programId !== principal.programId)) {
          throw invalidField('affiliate_id', 'there is no such affiliate');
        }
        const { programId } = affiliate;
        const body = formatCoupon(await createCoupon(tx, { ...camelKeys(request.body), programId }));
        return { status: 201, body, audit: { action: 'coupon.create', subject: body.id, after: body } };
      });
    },
  });
}

function addChangeRoutes(app: ApiServer, context: ApiContext): void {
  app.route({
    method: 'PATCH',
    url: '/v1/coupons/:id',
    config: {
      roles: ['operator'],
      idempotent: true,
      ifMatch: true,
      problems: ['not_found', 'wrong_state'],
    },
    schema: {
      operationId: 'updateCoupon',
      tags: TAGS,
      summary: 'Change when a coupon is valid; orders that are decided stay as they are',
      params,
      body: z.strictObject(validity),
      response: { 200: couponView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'coupons', id);
        const before = formatCoupon(inProgram(principal, await getCoupon(tx, id), WHAT));
        checkMatch(request, before);
        const updated = await updateCoupon(tx, { id, changes: camelKeys(request.body) });
        const after = formatCoupon(inProgram(principal, updated, WHAT));
        return { body: after, audit: { action: 'coupon.update', subject: after.id, before, after } };
      });
      return withEtag(reply, changed);
    },
  });

  app.route({
    method: 'POST',
    url: '/v1/coupons/:id/withdraw',
    config: { roles: ['operator'], idempotent: true, problems: ['not_found'] },
    schema: {
      operationId: 'withdrawCoupon',
      tags: TAGS,
      summary:
        'End a coupon for good; its code can be given to another affiliate. Repeating it changes nothing.',
      params,
      response: { 200: couponView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id } = request.params;
      return await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'coupons', id);
        const before = inProgram(principal, await getCoupon(tx, id), WHAT);
        const body = formatCoupon(
          inProgram(principal, await withdrawCoupon(tx, { id, now: new Date() }), WHAT),
        );
        if (before.withdrawnAt !== null) return { body };
        const audit = { before: formatCoupon(before), after: body };
        return { body, audit: { action: 'coupon.withdraw', subject: body.id, ...audit } };
      });
    },
  });
}
