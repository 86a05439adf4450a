import { z } from 'zod';
import {
  COMMISSION_CAUSES,
  COMMISSION_LIST,
  COMMISSION_STATES,
  type ListedCommission,
  listCommissions,
} from '../../../ledger/books/commissions.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { addList, timeRange } from '../../http/lists.ts';
import { affiliateFilter, type Principal, programFilter } from '../../http/principal.ts';
import { bigintId, formatId, idText, integerId } from '../../schemas/ids.ts';
import { formatMoney, formatTime, moneyText, timeText } from '../../schemas/schemas.ts';

const commissionView = z
  .object({
    id: idText('commission'),
    conversion_id: idText('conversion'),
    order_id: z.string().nullable().meta({
      description: 'Of the shop; for affiliates null of orders of recruits.',
    }),
    program_id: idText('program'),
    affiliate_id: idText('affiliate'),
    level: z.int().meta({ description: '1: its own click; 2: a click of whom it recruited; …' }),
    part: z
      .number()
      .meta({ description: 'Counts from 1: an order that is raised or restored earns further parts.' }),
    cause: z.enum(COMMISSION_CAUSES),
    terms_id: idText('terms'),
    amount: moneyText.meta({ description: 'As earned.' }),
    reversed: moneyText.meta({ description: 'What refunds and rejections took back.' }),
    state: z.enum(COMMISSION_STATES),
    paid_outside: z.boolean().meta({
      description: 'Paid before the order was imported: in no payout.',
    }),
    available_at: timeText,
    created_at: timeText,
  })
  .meta({ id: 'Commission' });

function formatCommission(
  commission: ListedCommission,
  { role }: Principal,
): z.output<typeof commissionView> {
  return {
    id: formatId('commission', commission.id),
    conversion_id: formatId('conversion', commission.conversionId),
    order_id: role === 'affiliate' && commission.level > 1 ? null : commission.orderId,
    program_id: formatId('program', commission.programId),
    affiliate_id: formatId('affiliate', commission.affiliateId),
    level: commission.level,
    part: commission.part,
    cause: commission.cause,
    terms_id: formatId('terms', commission.termsId),
    amount: formatMoney(commission.amountMinor, commission.currency),
    reversed: formatMoney(commission.reversedMinor, commission.currency),
    state: commission.state,
    paid_outside: commission.paidOutside,
    available_at: formatTime(commission.availableAt),
    created_at: formatTime(commission.createdAt),
  };
}

export function addCommissionRoutes(app: ApiServer, context: ApiContext): void {
  addList(app, context, {
    url: '/v1/commissions',
    operationId: 'listCommissions',
    tags: ['money'],
    summary: 'Commissions, the newest first',
    config: { roles: ['operator', 'finance', 'fraud', 'affiliate'] },
    kind: 'commission',
    list: COMMISSION_LIST,
    filters: {
      program_id: integerId('program').optional(),
      affiliate_id: integerId('affiliate').optional(),
      conversion_id: bigintId('conversion').optional(),
      state: z.enum(COMMISSION_STATES).optional(),
      ...timeRange,
    },
    view: commissionView,
    read: async (page, { sql, principal, query: { program_id, affiliate_id, conversion_id, ...filters } }) =>
      await listCommissions(sql, {
        ...page,
        ...filters,
        programId: programFilter(principal, program_id),
        affiliateId: affiliateFilter(principal, affiliate_id),
        conversionId: conversion_id,
        asAffiliate: principal.role === 'affiliate',
      }),
    format: (commissions, principal) =>
      commissions.map((commission) => formatCommission(commission, principal)),
  });
}
