import { z } from 'zod';
import {
  type Firings,
  NO_FIRINGS,
  type OrderSum,
  previewThresholds,
  readFirings,
  type ThresholdsPreview,
} from '../../../attribution/tools/rule-firings.ts';
import { CONVERSION_REASONS } from '../../../ledger/conversions/conversions.ts';
import {
  checkFraudThresholds,
  FRAUD_RULE_NAMES,
  FRAUD_RULES,
  type FraudRuleName,
  type FraudThresholds,
  isWatching,
  listThresholdsVersions,
  type ThresholdsVersion,
  thresholdOf,
  thresholdSince,
} from '../../../ledger/programs/fraud-rules.ts';
import { getProgram, type Program } from '../../../ledger/programs/programs.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { type Principal, principalOf } from '../../http/principal.ts';
import { notFound } from '../../http/problems.ts';
import { threshold, thresholds } from '../../programs/fraud-thresholds.ts';
import { formatId, formatOptionalId, idText, integerId } from '../../schemas/ids.ts';
import {
  bigintPageQuery,
  formatMoney,
  formatOptionalTime,
  formatPage,
  formatTime,
  moneyText,
  pageOf,
  timeText,
} from '../../schemas/schemas.ts';

const ruleName = z.enum(FRAUD_RULE_NAMES as [FraudRuleName, ...FraudRuleName[]]);
const orderSum = z.object({ orders: z.int(), amount: moneyText });

const covered = {
  orders: z.int().meta({ description: 'Decided orders that were looked at.' }),
  from: timeText.meta({ description: 'Received at this time or later.' }),
  is_cut: z.boolean().meta({
    description: 'There were more than 10,000 orders in the 30 days: the latest ones are looked at.',
  }),
};

const ruleView = z.object({
  name: ruleName,
  sentence: z.string().meta({ description: 'When it fires; N is the threshold.' }),
  unit: z.string(),
  default: threshold.meta({
    description: 'Where the program sets nothing; suggested of a rule that watches.',
  }),
  state: z.enum(['holding', 'watching', 'off']).meta({
    description: 'A rule that only watches is compared with the suggested threshold and holds no order.',
  }),
  threshold,
  since: timeText.nullable().meta({ description: 'Null: the default, which was never set.' }),
  set_by: z.string().nullable().meta({ description: 'As the audit log names them; null: no person.' }),
  fired: orderSum
    .extend({
      in_review: z.int().meta({ description: 'Still to be decided by a reviewer.' }),
      approved: z.int(),
      rejected: z.int(),
      undecided: z.int().meta({ description: 'Held, and cancelled or refunded before a reviewer decided.' }),
      would_hold: orderSum.meta({
        description: 'Those for which it fired while it only watched, and which no other rule held.',
      }),
      precision: z.number().nullable().meta({
        description: 'Rejected of those that reviewers decided, 0 to 1; null: they have decided none.',
      }),
    })
    .meta({ description: 'Orders for which it fired, alone or with other rules.' }),
});

const rulesView = z
  .object({
    program_id: idText('program'),
    rules_version: z.int(),
    ...covered,
    rules: z.array(ruleView).meta({ description: 'In the order in which they name the reason.' }),
  })
  .meta({ id: 'FraudRuleFirings' });

const changedOrder = z.object({
  conversion_id: idText('conversion'),
  order_id: z.string(),
  affiliate_id: idText('affiliate').nullable(),
  received_at: timeText,
  amount: moneyText,
  change: z.enum(['held', 'released']).meta({ description: 'Newly held for review, or no longer.' }),
  rules: z.array(
    z.object({
      rule: z.enum(CONVERSION_REASONS),
      observed: z.union([z.string(), z.number()]).nullable(),
    }),
  ),
});

const previewView = z
  .object({
    ...covered,
    rules: z.array(
      z.object({
        name: ruleName,
        before: z.int().meta({ description: 'Orders that it holds with the thresholds in force.' }),
        after: z.int().meta({ description: 'With the proposed ones.' }),
        unobserved: z.int().meta({
          description: 'Orders of which it observed nothing, as it was off or new when they were decided.',
        }),
      }),
    ),
    held_before: orderSum,
    held_after: orderSum,
    newly_held: orderSum,
    released: orderSum,
    changed: pageOf(changedOrder),
  })
  .meta({ id: 'FraudRulesPreview' });

const params = z.object({ id: integerId('program') });
const REVIEWERS = ['operator', 'fraud'] as const;
const TAGS = ['fraud'];

/** What the fraud rules of a program find, and would find with other thresholds. */
export function addFraudRuleRoutes(app: ApiServer, context: ApiContext): void {
  addFiringsRoute(app, context);
  addPreviewRoute(app, context);
}

function addFiringsRoute(app: ApiServer, { ledger }: ApiContext): void {
  app.route({
    method: 'GET',
    url: '/v1/programs/:id/fraud-rules',
    config: { roles: REVIEWERS, isQuery: true, problems: ['not_found'] },
    schema: {
      operationId: 'listFraudRules',
      tags: TAGS,
      summary:
        'The fraud rules with their thresholds, what they found in 30 days and what reviewers made of it',
      params,
      response: { 200: rulesView },
    },
    handler: async (request) => {
      const program = visible(principalOf(request), await getProgram(ledger, request.params.id));
      const versions = await listThresholdsVersions(ledger, program.id);
      const found = await readFirings(ledger, { programId: program.id, now: new Date() });
      return {
        program_id: formatId('program', program.id),
        rules_version: program.rulesVersion,
        ...formatCovered(found.covered),
        rules: FRAUD_RULE_NAMES.map((name) =>
          formatRule(name, { program, versions, firings: found.firings.get(name) ?? NO_FIRINGS }),
        ),
      };
    },
  });
}

function addPreviewRoute(app: ApiServer, { ledger }: ApiContext): void {
  app.route({
    method: 'POST',
    url: '/v1/programs/:id/fraud-rules/preview',
    config: { roles: REVIEWERS, isQuery: true, problems: ['not_found'] },
    schema: {
      operationId: 'previewFraudRules',
      tags: TAGS,
      summary: 'Which orders of 30 days other thresholds would hold or release; nothing is changed',
      params,
      querystring: z.object(bigintPageQuery('conversion')),
      body: z.strictObject({
        fraud_rules: thresholds.meta({ description: 'Those that differ from the thresholds in force.' }),
      }),
      response: { 200: previewView },
    },
    handler: async (request) => {
      const program = visible(principalOf(request), await getProgram(ledger, request.params.id));
      const proposed = request.body.fraud_rules;
      checkFraudThresholds(proposed);
      const { limit, cursor } = request.query;
      const preview = await previewThresholds(ledger, {
        programId: program.id,
        inForce: program.fraudRules,
        proposed,
        reviewsMatches: program.fingerprintMatch === 'review',
        now: new Date(),
        limit,
        after: cursor,
      });
      return formatPreview(preview, program.currency);
    },
  });
}

function visible({ programId }: Principal, program: Program | undefined): Program {
  if (!program || (programId !== null && programId !== program.id)) throw notFound('program with this id');
  return program;
}

function formatCovered({ orders, from, isCut }: ThresholdsPreview['covered']) {
  return { orders, from: formatTime(from), is_cut: isCut };
}

function formatSum({ orders, amountMinor }: OrderSum, currency: string): z.output<typeof orderSum> {
  return { orders, amount: formatMoney(amountMinor, currency) };
}

function formatRule(
  name: FraudRuleName,
  {
    program,
    versions,
    firings,
  }: { program: Program; versions: readonly ThresholdsVersion[]; firings: Firings },
): z.output<typeof ruleView> {
  const { sentence, unit, fallback } = FRAUD_RULES[name];
  const setIn = thresholdSince(versions, name);
  const { inReview, approved, rejected, undecided, wouldHold } = firings;
  return {
    name,
    sentence,
    unit,
    default: fallback,
    state: stateOf(program.fraudRules, name),
    threshold: thresholdOf(program.fraudRules, name),
    since: formatOptionalTime(setIn?.createdAt ?? null),
    set_by: setIn?.actor ?? null,
    fired: {
      ...formatSum(firings, program.currency),
      in_review: inReview,
      approved,
      rejected,
      undecided,
      would_hold: formatSum(wouldHold, program.currency),
      precision: approved + rejected === 0 ? null : rejected / (approved + rejected),
    },
  };
}

function stateOf(thresholds: FraudThresholds, name: FraudRuleName): 'holding' | 'watching' | 'off' {
  if (isWatching(thresholds, name)) return 'watching';
  return thresholdOf(thresholds, name) === false ? 'off' : 'holding';
}

function formatPreview(preview: ThresholdsPreview, currency: string): z.output<typeof previewView> {
  const { covered, rules, heldBefore, heldAfter, newlyHeld, released, changed, next } = preview;
  return {
    ...formatCovered(covered),
    rules: rules.map(({ rule, ...counts }) => ({ name: rule, ...counts })),
    held_before: formatSum(heldBefore, currency),
    held_after: formatSum(heldAfter, currency),
    newly_held: formatSum(newlyHeld, currency),
    released: formatSum(released, currency),
    changed: formatPage('conversion', { rows: [...changed], next }, (order) => ({
      conversion_id: formatId('conversion', order.id),
      order_id: order.orderId,
      affiliate_id: formatOptionalId('affiliate', order.affiliateId),
      received_at: formatTime(order.receivedAt),
      amount: formatMoney(order.amountMinor, currency),
      change: order.change,
      rules: order.rules.map(({ rule, observed }) => ({ rule, observed })),
    })),
  };
}
