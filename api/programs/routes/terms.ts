import { z } from 'zod';
import { MAX_REFERENCE_LENGTH } from '../../../core/text-limits.ts';
import { MAX_PAGE_ROWS } from '../../../ledger/postgres/page.ts';
import { getProgram } from '../../../ledger/programs/programs.ts';
import {
  CUSTOMER_KINDS,
  type CustomerKind,
  type CustomerRates,
  ITEM_MARKS,
  type ItemRate,
  MAX_ITEM_RATES,
} from '../../../ledger/programs/special-rates.ts';
import {
  ATTRIBUTION_MODELS,
  COMMISSION_TYPES,
  getTerms,
  inheritedTerms,
  listTermsPage,
  PAYOUT_SCHEDULES,
  setTerms,
  TERMS_LIST,
  type Terms,
  type TermsField,
  type TermsValues,
  TIER_MODES,
  withdrawTerms,
} from '../../../ledger/programs/terms.ts';
import { commit } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { addList } from '../../http/lists.ts';
import { inProgram, principalOf, programRequired } from '../../http/principal.ts';
import { invalidField } from '../../http/problems.ts';
import { eventName } from '../../orders/order.ts';
import { camelKeys } from '../../schemas/camel-keys.ts';
import { formatId, formatOptionalId, idText, integerId } from '../../schemas/ids.ts';
import {
  cookieDays,
  formatMoney,
  formatOptionalTime,
  formatTime,
  holdDays,
  type Money,
  moneyInput,
  moneyText,
  rateBps,
  text,
  time,
  timeText,
} from '../../schemas/schemas.ts';

/** Levels 2 to 10. */
const MAX_HIGHER_LEVELS = 9;
const MAX_TIERS = 10;
const MAX_RECURRING_MONTHS = 120;

/** The fields of terms as the API names them. */
const FIELDS = {
  commission_type: 'commissionType',
  rate_bps: 'rateBps',
  fixed: 'fixedMinor',
  fixed_within_order: 'fixedWithinOrder',
  tiers: 'tiers',
  tier_mode: 'tierMode',
  customer_rates: 'customerRates',
  item_rates: 'itemRates',
  recurring_months: 'recurringMonths',
  level_rates_bps: 'levelRatesBps',
  hold_days: 'holdDays',
  cookie_days: 'cookieDays',
  attribution_model: 'attributionModel',
  payout_min: 'payoutMinMinor',
  payout_schedule: 'payoutSchedule',
} as const satisfies Readonly<Record<string, TermsField>>;
type FieldName = keyof typeof FIELDS;
const FIELD_NAMES = Object.keys(FIELDS) as FieldName[];

const CUSTOMER_RATES =
  'Instead of rate_bps and fixed, by who bought. Where both come to nothing, such orders are not credited: rate_bps 0 for returning customers credits new ones only. renewal: later orders of a subscription, which are neither new nor returning.';
const ITEM_RATES =
  'Instead of rate_bps, by what was bought: of an item’s sku, brand and category the first that has a rate counts. 0 excludes it.';

function byKind<Schema extends z.ZodType>(rate: Schema) {
  return z.strictObject(
    Object.fromEntries(CUSTOMER_KINDS.map((kind) => [kind, rate.exactOptional()])) as Record<
      CustomerKind,
      z.ZodExactOptional<Schema>
    >,
  );
}

const itemMark = text(MAX_REFERENCE_LENGTH).optional();
const itemRate = z
  .strictObject({ sku: itemMark, brand: itemMark, category: itemMark, rate_bps: rateBps })
  .transform(({ rate_bps, ...marks }, context): ItemRate => {
    const [by, ...others] = ITEM_MARKS.filter((mark) => marks[mark] !== undefined);
    const name = by && marks[by];
    if (by && name !== undefined && others.length === 0) return { by, name, rateBps: rate_bps };
    context.addIssue({ code: 'custom', message: 'must name one of sku, brand and category' });
    return z.NEVER;
  });

const termsView = z
  .object({
    id: idText('terms'),
    program_id: idText('program'),
    campaign_id: idText('campaign').nullable(),
    affiliate_id: idText('affiliate').nullable(),
    event_name: z
      .string()
      .nullable()
      .meta({ description: 'Null: every event that has no terms of its own.' }),
    valid_from: timeText.nullable().meta({ description: 'Null: since ever.' }),
    valid_to: timeText.nullable().meta({ description: 'Null: until further notice.' }),
    commission_type: z.enum(COMMISSION_TYPES),
    rate_bps: z.number().meta({
      description:
        'Hundredths of a percent with at most two decimals, as all rates: 1000 is 10 %, 712.5 is 7.125 %.',
    }),
    fixed: moneyText,
    fixed_within_order: z.boolean().meta({
      description: 'The fixed commission is cut to the amount of the order; percentages always are.',
    }),
    tiers: z.array(z.object({ from: moneyText, rate_bps: z.number() })).meta({
      description: 'From this volume of a calendar month (UTC) on, the own rate is this one.',
    }),
    tier_mode: z.enum(TIER_MODES),
    customer_rates: byKind(
      z.object({ rate_bps: z.number().exactOptional(), fixed: moneyText.exactOptional() }),
    ).meta({ description: CUSTOMER_RATES }),
    item_rates: z
      .array(
        z
          .object({ sku: z.string(), brand: z.string(), category: z.string() })
          .partial()
          .extend({ rate_bps: z.number() }),
      )
      .meta({ description: ITEM_RATES }),
    recurring_months: z.int().meta({
      description: 'Later orders of a customer are credited by the first one for so many months.',
    }),
    level_rates_bps: z.array(z.number()).meta({ description: 'Rates of level 2, 3, …' }),
    hold_days: z.int(),
    cookie_days: z.int(),
    attribution_model: z.enum(ATTRIBUTION_MODELS),
    payout_min: moneyText,
    payout_schedule: z.enum(PAYOUT_SCHEDULES),
    origins: z.record(z.enum(FIELD_NAMES), z.union([z.literal(['named', 'default']), idText('terms')])).meta({
      description: 'Where each value comes from: named by these terms, from wider ones, or a default.',
    }),
    created_at: timeText,
  })
  .meta({ id: 'Terms' });

const inheritedView = termsView
  .pick({
    commission_type: true,
    rate_bps: true,
    fixed: true,
    fixed_within_order: true,
    tiers: true,
    tier_mode: true,
    customer_rates: true,
    item_rates: true,
    recurring_months: true,
    level_rates_bps: true,
    hold_days: true,
    cookie_days: true,
    attribution_model: true,
    payout_min: true,
    payout_schedule: true,
    origins: true,
  })
  .meta({ id: 'InheritedTerms' });

const scope = {
  program_id: integerId('program').optional(),
  campaign_id: integerId('campaign').optional(),
  affiliate_id: integerId('affiliate').optional(),
  event_name: eventName,
};

const newTerms = z.strictObject({
  ...scope,
  from: time.optional().meta({ description: 'Not in the past, and within a year; default: at once.' }),
  commission_type: z.enum(COMMISSION_TYPES).optional(),
  rate_bps: rateBps.optional(),
  fixed: moneyInput.optional(),
  fixed_within_order: z.boolean().optional(),
  level_rates_bps: z.array(rateBps).max(MAX_HIGHER_LEVELS).optional(),
  hold_days: holdDays.optional(),
  cookie_days: cookieDays.optional(),
  attribution_model: z.enum(ATTRIBUTION_MODELS).optional(),
  payout_min: moneyInput.optional(),
  tiers: z
    .array(z.strictObject({ from: moneyInput, rate_bps: rateBps }))
    .max(MAX_TIERS)
    .optional()
    .meta({ description: 'By rising volume; below the first one rate_bps counts.' }),
  tier_mode: z.enum(TIER_MODES).optional(),
  customer_rates: byKind(z.strictObject({ rate_bps: rateBps.optional(), fixed: moneyInput.optional() }))
    .optional()
    .meta({ description: CUSTOMER_RATES }),
  item_rates: z.array(itemRate).max(MAX_ITEM_RATES).optional().meta({ description: ITEM_RATES }),
  recurring_months: z.int().min(0).max(MAX_RECURRING_MONTHS).optional(),
  payout_schedule: z.enum(PAYOUT_SCHEDULES).optional(),
});

function formatTerms(terms: Terms): z.output<typeof termsView> {
  return {
    id: formatId('terms', terms.id),
    program_id: formatId('program', terms.programId),
    campaign_id: formatOptionalId('campaign', terms.campaignId),
    affiliate_id: formatOptionalId('affiliate', terms.affiliateId),
    event_name: terms.eventName,
    valid_from: formatOptionalTime(terms.validFrom),
    valid_to: formatOptionalTime(terms.validTo),
    ...formatValues(terms),
    created_at: formatTime(terms.createdAt),
  };
}

function formatValues(
  terms: TermsValues & Pick<Terms, 'currency' | 'origins'>,
): z.output<typeof inheritedView> {
  return {
    commission_type: terms.commissionType,
    rate_bps: terms.rateBps,
    fixed: formatMoney(terms.fixedMinor, terms.currency),
    fixed_within_order: terms.fixedWithinOrder,
    tiers: terms.tiers.map(({ fromMinor, rateBps }) => ({
      from: formatMoney(fromMinor, terms.currency),
      rate_bps: rateBps,
    })),
    tier_mode: terms.tierMode,
    customer_rates: formatCustomerRates(terms),
    item_rates: terms.itemRates.map(({ by, name, rateBps }) => ({ [by]: name, rate_bps: rateBps })),
    recurring_months: terms.recurringMonths,
    level_rates_bps: terms.levelRatesBps,
    hold_days: terms.holdDays,
    cookie_days: terms.cookieDays,
    attribution_model: terms.attributionModel,
    payout_min: formatMoney(terms.payoutMinMinor, terms.currency),
    payout_schedule: terms.payoutSchedule,
    origins: formatOrigins(terms.origins),
  };
}

function formatCustomerRates({
  customerRates,
  currency,
}: Pick<Terms, 'customerRates' | 'currency'>): z.output<typeof termsView>['customer_rates'] {
  return Object.fromEntries(
    Object.entries(customerRates).map(([kind, { rateBps, fixedMinor }]) => [
      kind,
      {
        ...(rateBps !== undefined && { rate_bps: rateBps }),
        ...(fixedMinor !== undefined && { fixed: formatMoney(fixedMinor, currency) }),
      },
    ]),
  );
}

function customerRatesIn(
  currency: string,
  given: z.output<typeof newTerms>['customer_rates'],
): CustomerRates | undefined {
  if (given === undefined) return undefined;
  return Object.fromEntries(
    Object.entries(given).map(([kind, { rate_bps: rateBps, fixed }]) => [
      kind,
      { rateBps, fixedMinor: amountIn(currency, `customer_rates.${kind}.fixed`, fixed) },
    ]),
  );
}

function formatOrigins(origins: Terms['origins']): Record<FieldName, string> {
  const formatted = FIELD_NAMES.map((name) => {
    const origin = origins[FIELDS[name]] ?? 'named';
    return [name, typeof origin === 'number' ? formatId('terms', origin) : origin];
  });
  return Object.fromEntries(formatted) as Record<FieldName, string>;
}

function amountIn(currency: string, field: string, money: Money | undefined): bigint | undefined {
  if (money === undefined || money.currency === currency) return money?.amountMinor;
  throw invalidField(`${field}.currency`, `must be ${currency}, the currency of the program`);
}

const tags = ['terms'];

export function addTermsRoutes(app: ApiServer, context: ApiContext): void {
  addTermsQueries(app, context);
  addTermsCommands(app, context);
}

function addTermsQueries(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;
  addList(app, context, {
    url: '/v1/terms',
    operationId: 'listTerms',
    tags,
    summary: 'Every version of the terms of a program, the newest first',
    config: { roles: ['operator', 'finance', 'affiliate'] },
    kind: 'terms',
    list: TERMS_LIST,
    // Who read all versions before there were pages still does.
    pageRows: MAX_PAGE_ROWS,
    filters: {
      program_id: integerId('program').optional(),
      campaign_id: integerId('campaign').optional(),
      affiliate_id: integerId('affiliate').optional(),
      at: time.optional().meta({ description: 'Those in force at this time.' }),
    },
    view: termsView,
    read: async (page, { sql, principal, query: { program_id, campaign_id, affiliate_id, at } }) =>
      await listTermsPage(sql, {
        ...page,
        programId: programRequired(principal, program_id),
        campaignId: campaign_id,
        affiliateId: affiliate_id,
        promisedTo: principal.affiliateId ?? undefined,
        at,
      }),
    format: (versions) => versions.map(formatTerms),
  });

  app.route({
    method: 'GET',
    url: '/v1/terms/inherited',
    config: { roles: ['operator'] },
    schema: {
      operationId: 'getInheritedTerms',
      tags,
      summary: 'What new terms of a scope would have that name nothing but their commission type',
      querystring: z.object({
        ...scope,
        from: time.optional().meta({ description: 'When they would begin; default: at once.' }),
        commission_type: newTerms.shape.commission_type,
      }),
      response: { 200: inheritedView },
    },
    handler: async (request) => {
      const programId = programRequired(principalOf(request), request.query.program_id);
      const program = await getProgram(ledger, programId);
      if (!program) throw invalidField('program_id', 'there is no such program');
      const inherited = await inheritedTerms(ledger, { ...camelKeys(request.query), programId });
      return formatValues({ ...inherited, currency: program.currency });
    },
  });
}

function addTermsCommands(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;

  app.route({
    method: 'POST',
    url: '/v1/terms',
    config: { roles: ['operator'], idempotent: true },
    schema: {
      operationId: 'setTerms',
      tags,
      summary:
        'Set the terms of a program, a campaign, an affiliate, or an affiliate within a campaign, for all events or one',
      description:
        'What they do not name comes from the wider terms in force when they begin; a program’s terms have defaults.',
      body: newTerms,
      response: { 201: termsView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const programId = programRequired(principal, request.body.program_id);
      const program = await getProgram(ledger, programId);
      if (!program) throw invalidField('program_id', 'there is no such program');
      const { fixed, payout_min, tiers, customer_rates, ...rest } = request.body;
      return await commit(context, request, reply, async (tx) => {
        const terms = await setTerms(tx, {
          ...camelKeys(rest),
          programId,
          tiers: tiers?.map(({ from, rate_bps }, i) => ({
            fromMinor: amountIn(program.currency, `tiers.${i}.from`, from) ?? 0n,
            rateBps: rate_bps,
          })),
          customerRates: customerRatesIn(program.currency, customer_rates),
          fixedMinor: amountIn(program.currency, 'fixed', fixed),
          payoutMinMinor: amountIn(program.currency, 'payout_min', payout_min),
        });
        const body = formatTerms(terms);
        return { status: 201, body, audit: { action: 'terms.set', subject: body.id, after: body } };
      });
    },
  });

  app.route({
    method: 'DELETE',
    url: '/v1/terms/:id',
    config: { roles: ['operator'], idempotent: true, problems: ['not_found', 'wrong_state'] },
    schema: {
      operationId: 'withdrawTerms',
      tags,
      summary: 'Withdraw terms that are not in force yet; those before them go on',
      params: z.object({ id: integerId('terms') }),
      response: { 204: z.undefined().describe('They are withdrawn, also if they were before.') },
    },
    handler: async (request, reply) => {
      const [found] = await getTerms(ledger, [request.params.id]);
      const terms = inProgram(principalOf(request), found, 'terms with this id');
      return await commit(context, request, reply, async (tx) => {
        const { withdrawn } = await withdrawTerms(tx, { id: terms.id, now: new Date() });
        const before = formatTerms(terms);
        const audit = withdrawn ? { action: 'terms.withdraw', subject: before.id, before } : undefined;
        return { status: 204, body: undefined, audit };
      });
    },
  });
}
