import { z } from 'zod';
import type { JsonValue } from '../../../core/postgres/sql.ts';
import { MAX_NAME_LENGTH } from '../../../core/text-limits.ts';
import type { DatabaseSql } from '../../../ledger/postgres/db.ts';
import { lockRow } from '../../../ledger/postgres/lock.ts';
import { getAffiliate } from '../../../ledger/programs/affiliates.ts';
import { getProgram } from '../../../ledger/programs/programs.ts';
import {
  getTaxData,
  getTaxRules,
  setTaxData,
  setTaxRules,
  type TaxData,
  type TaxRules,
  type TaxSubject,
  US_FORMS,
  VAT_RULES,
} from '../../../ledger/programs/tax-data.ts';
import { checkMatch, commit, withEtag } from '../../http/commit.ts';
import type { ApiContext, ApiServer } from '../../http/context.ts';
import { inProgram, type Principal, principalOf } from '../../http/principal.ts';
import { formatId, idText, integerId } from '../../schemas/ids.ts';
import { text } from '../../schemas/schemas.ts';
import { visibleAffiliate } from '../affiliate-view.ts';

const MAX_ADDRESS_LINES = 5;
const MAX_LINE_LENGTH = 100;
/** With spaces and points; without them a number has at most 20. */
const MAX_VAT_ID_LENGTH = 40;

const countryText = z.string().meta({ description: 'ISO 3166-1.', examples: ['DE'] });

const input = z.strictObject({
  name: text(MAX_NAME_LENGTH).meta({ description: 'The legal name.' }),
  address: z
    .array(text(MAX_LINE_LENGTH))
    .min(1)
    .max(MAX_ADDRESS_LINES)
    .meta({ description: 'Its lines, without the country.', examples: [['Hauptstraße 1', '10115 Berlin']] }),
  country: countryText,
  vat_id: text(MAX_VAT_ID_LENGTH).nullable().default(null).meta({
    description: 'VAT number; of countries of the European Union its form and check digits are checked.',
  }),
  us_form: z.enum(US_FORMS).nullable().default(null).meta({
    description: 'Which form of the tax office of the United States they have handed in.',
  }),
});

const dataView = z
  .object({
    name: z.string(),
    address: z.array(z.string()),
    country: countryText,
    vat_id: z.string().nullable(),
    us_form: z.enum(US_FORMS).nullable(),
  })
  .meta({ id: 'TaxData' });

const ofAffiliateView = z
  .object({
    affiliate_id: idText('affiliate'),
    required: z.boolean().meta({ description: 'Whether the program pays no affiliate without them.' }),
    tax_data: dataView.nullable(),
  })
  .meta({ id: 'AffiliateTaxData' });

const rulesInput = z.strictObject({
  required_for_payout: z.boolean().default(false),
  vat: z.enum(VAT_RULES).default('none').meta({
    description:
      'self_billing: monthly statements are invoices in the name of the affiliate, with VAT within what is paid.',
  }),
  vat_rate: z
    .string()
    .max(8)
    .nullable()
    .default(null)
    .meta({
      description:
        'Percent with at most four decimals, for affiliates with a VAT number in the program’s country.',
      examples: ['19'],
    }),
});

const ofProgramView = z
  .object({
    program_id: idText('program'),
    tax_data: dataView.nullable().meta({ description: 'Of who runs the program; stands on statements.' }),
    rules: z.object({
      required_for_payout: z.boolean(),
      vat: z.enum(VAT_RULES),
      vat_rate: z.string().nullable(),
    }),
  })
  .meta({ id: 'ProgramTaxData' });

function parseData({ name, address, country, vat_id, us_form }: z.output<typeof input>): TaxData {
  return { name, address, country, vatId: vat_id, usForm: us_form };
}

function formatData(data: TaxData | undefined): z.output<typeof dataView> | null {
  if (!data) return null;
  const { name, address, country, vatId, usForm } = data;
  return { name, address: [...address], country, vat_id: vatId, us_form: usForm };
}

/** What the audit log, which is kept for ever, has of a person's tax data: no name, address or number. */
function auditOf({ tax_data }: z.output<typeof ofAffiliateView>): JsonValue {
  if (!tax_data) return null;
  const { country, vat_id, us_form } = tax_data;
  return { country, has_vat_id: vat_id !== null, us_form };
}

function formatRules({ requiredForPayout, vat, vatRate }: TaxRules): z.output<typeof ofProgramView>['rules'] {
  return { required_for_payout: requiredForPayout, vat, vat_rate: vatRate };
}

/** Tax data of affiliates and programs. */
export function addTaxDataRoutes(app: ApiServer, context: ApiContext): void {
  addAffiliateRoutes(app, context);
  addProgramRoutes(app, context);
}

async function readOfAffiliate(
  sql: DatabaseSql,
  { programId, affiliateId }: TaxSubject & { affiliateId: number },
): Promise<z.output<typeof ofAffiliateView>> {
  const { requiredForPayout } = await getTaxRules(sql, programId);
  const data = await getTaxData(sql, { programId, affiliateId });
  return {
    affiliate_id: formatId('affiliate', affiliateId),
    required: requiredForPayout,
    tax_data: formatData(data),
  };
}

function addAffiliateRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;
  const params = z.object({ id: integerId('affiliate') });
  const tags = ['affiliates'];
  const url = '/v1/affiliates/:id/tax-data';

  app.route({
    method: 'GET',
    url,
    config: { roles: ['operator', 'finance', 'affiliate'], problems: ['not_found'] },
    schema: {
      operationId: 'getAffiliateTaxData',
      tags,
      summary: 'Who an affiliate is to the tax office',
      params,
      response: { 200: ofAffiliateView },
    },
    handler: async (request, reply) => {
      const { id, programId } = visibleAffiliate(
        principalOf(request),
        await getAffiliate(ledger, request.params.id),
      );
      return withEtag(reply, await readOfAffiliate(ledger, { programId, affiliateId: id }));
    },
  });

  app.route({
    method: 'PUT',
    url,
    config: {
      roles: ['operator', 'finance', 'affiliate'],
      idempotent: true,
      ifMatch: true,
      problems: ['not_found'],
    },
    schema: {
      operationId: 'setAffiliateTaxData',
      tags,
      summary: 'Set who an affiliate is to the tax office; stands on its statements from then on',
      params,
      body: input,
      response: { 200: ofAffiliateView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { id: affiliateId } = request.params;
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'affiliates', affiliateId);
        const { programId } = visibleAffiliate(principal, await getAffiliate(tx, affiliateId));
        const subject = { programId, affiliateId };
        const before = await readOfAffiliate(tx, subject);
        checkMatch(request, before);
        await setTaxData(tx, { ...subject, data: parseData(request.body), actor: principal.actor });
        const after = await readOfAffiliate(tx, subject);
        const audit = { action: 'tax_data.set', before: auditOf(before), after: auditOf(after) };
        return { body: after, audit: { ...audit, subject: after.affiliate_id } };
      });
      return withEtag(reply, changed);
    },
  });
}

async function readOfProgram(sql: DatabaseSql, programId: number): Promise<z.output<typeof ofProgramView>> {
  return {
    program_id: formatId('program', programId),
    tax_data: formatData(await getTaxData(sql, { programId, affiliateId: null })),
    rules: formatRules(await getTaxRules(sql, programId)),
  };
}

/** @throws Problem `not_found`. */
async function visibleProgram(sql: DatabaseSql, principal: Principal, id: number): Promise<number> {
  const program = await getProgram(sql, id);
  return inProgram(principal, program && { programId: program.id }, 'program with this id').programId;
}

function addProgramRoutes(app: ApiServer, context: ApiContext): void {
  const { ledger } = context;
  const params = z.object({ id: integerId('program') });
  const tags = ['programs'];
  const url = '/v1/programs/:id/tax-data';

  app.route({
    method: 'GET',
    url,
    config: { roles: ['operator', 'finance'], problems: ['not_found'] },
    schema: {
      operationId: 'getProgramTaxData',
      tags,
      summary: 'Who runs a program, what it asks of tax data, and which tax its statements show',
      params,
      response: { 200: ofProgramView },
    },
    handler: async (request, reply) => {
      const programId = await visibleProgram(ledger, principalOf(request), request.params.id);
      return withEtag(reply, await readOfProgram(ledger, programId));
    },
  });

  app.route({
    method: 'PUT',
    url,
    config: { roles: ['operator'], idempotent: true, ifMatch: true, problems: ['not_found'] },
    schema: {
      operationId: 'setProgramTaxData',
      tags,
      summary: 'Set who runs a program, what it asks of tax data, and which tax its statements show',
      params,
      body: z.strictObject({ tax_data: input, rules: rulesInput }),
      response: { 200: ofProgramView },
    },
    handler: async (request, reply) => {
      const principal = principalOf(request);
      const { tax_data, rules } = request.body;
      const changed = await commit(context, request, reply, async (tx) => {
        await lockRow(tx, 'programs', request.params.id);
        const programId = await visibleProgram(tx, principal, request.params.id);
        const before = await readOfProgram(tx, programId);
        checkMatch(request, before);
        const { actor } = principal;
        await setTaxData(tx, { programId, affiliateId: null, data: parseData(tax_data), actor });
        const { required_for_payout: requiredForPayout, vat, vat_rate: vatRate } = rules;
        await setTaxRules(tx, { programId, rules: { requiredForPayout, vat, vatRate } });
        const after = await readOfProgram(tx, programId);
        return { body: after, audit: { action: 'tax_data.set', subject: after.program_id, before, after } };
      });
      return withEtag(reply, changed);
    },
  });
}
