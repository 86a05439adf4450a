import { InputError } from '../../core/errors.ts';
import { parsePercent } from '../../core/money/rates.ts';
import type { DatabaseSql } from '../postgres/db.ts';
import { parseVatId } from './vat-ids.ts';

/** Who affiliates and programs are to the tax office, and what a program asks for and shows. */

export const US_FORMS = ['w9', 'w8ben', 'w8bene', 'w8eci', 'w8exp', 'w8imy'] as const;

export interface TaxData {
  /** The legal name. */
  readonly name: string;
  /** Lines, without the country. */
  readonly address: readonly string[];
  /** ISO 3166-1, such as "DE". */
  readonly country: string;
  readonly vatId: string | null;
  /** The form that a payer in the United States has received of them. */
  readonly usForm: (typeof US_FORMS)[number] | null;
}

/** Whose: an affiliate's, or the program's own. */
export interface TaxSubject {
  readonly programId: number;
  readonly affiliateId: number | null;
}

const TAX_COLUMNS = ['name', 'address', 'country', 'vatId', 'usForm'];

/** Names of regions by their codes; among them are some that ISO 3166-1 has not assigned, or keeps for unions. */
const REGIONS = new Intl.DisplayNames('en', { type: 'region', fallback: 'none' });
const NO_COUNTRY = /^(?:AA|AC|CP|DG|EA|EU|EZ|IC|Q[M-Z]|TA|UK|UN|X[A-JL-Z]|ZZ)$/;

function isCountry(code: string): boolean {
  return /^[A-Z]{2}$/.test(code) && !NO_COUNTRY.test(code) && REGIONS.of(code) !== undefined;
}

export async function getTaxData(sql: DatabaseSql, subject: TaxSubject): Promise<TaxData | undefined> {
  const [data] = await sql<TaxData[]>`
    select ${sql(TAX_COLUMNS)} from tax_data
    where program_id = ${subject.programId} and affiliate_id is not distinct from ${subject.affiliateId}::integer`;
  return data;
}

/** Replaces the tax data. @throws InputError naming `country` or `vat_id`. */
export async function setTaxData(
  sql: DatabaseSql,
  options: TaxSubject & { data: TaxData; actor: string },
): Promise<TaxData> {
  const { programId, affiliateId, data, actor } = options;
  if (!isCountry(data.country)) {
    throw new InputError('country', 'must be a country of ISO 3166-1, such as "DE"');
  }
  const vatId = data.vatId === null ? null : parseVatId(data.vatId, data.country);
  const [set] = await sql<[TaxData]>`
    insert into tax_data (program_id, affiliate_id, name, address, country, vat_id, us_form, changed_by)
    values (${programId}, ${affiliateId}, ${data.name}, ${[...data.address]}::text[], ${data.country}, ${vatId},
      ${data.usForm}, ${actor})
    on conflict on constraint tax_data_once do update set name = excluded.name, address = excluded.address,
      country = excluded.country, vat_id = excluded.vat_id, us_form = excluded.us_form,
      changed_by = excluded.changed_by, updated_at = clock_timestamp()
    returning ${sql(TAX_COLUMNS)}`;
  return set;
}

export const VAT_RULES = ['none', 'self_billing'] as const;

/** What a program asks of tax data, and which tax its statements show. */
export interface TaxRules {
  /** No payout without tax data. */
  readonly requiredForPayout: boolean;
  /** `self_billing`: its statements are invoices in the name of the affiliate, with VAT within what is paid. */
  readonly vat: (typeof VAT_RULES)[number];
  /** Percent, such as "19.0000", of affiliates in the program's country; null without VAT. */
  readonly vatRate: string | null;
}

export const NO_TAX_RULES: TaxRules = { requiredForPayout: false, vat: 'none', vatRate: null };

export async function getTaxRules(sql: DatabaseSql, programId: number): Promise<TaxRules> {
  const [rules = NO_TAX_RULES] = await sql<TaxRules[]>`
    select required_for_payout, vat, vat_rate::text from tax_rules where program_id = ${programId}`;
  return rules;
}

/** Replaces the rules. @throws InputError naming `vat_rate`, or `vat` when the program has no tax data to bill by. */
export async function setTaxRules(
  sql: DatabaseSql,
  { programId, rules }: { programId: number; rules: TaxRules },
): Promise<TaxRules> {
  const { requiredForPayout, vat, vatRate } = rules;
  if (vat === 'none' && vatRate !== null)
    throw new InputError('vat_rate', 'goes together with vat self_billing');
  if (vat === 'self_billing') {
    if (vatRate === null) throw new InputError('vat_rate', 'is required with vat self_billing');
    parsePercent(vatRate, 'vat_rate');
    const issuer = await getTaxData(sql, { programId, affiliateId: null });
    if (!issuer) throw new InputError('vat', 'self_billing needs the tax data of the program');
  }
  await sql`
    insert into tax_rules (program_id, required_for_payout, vat, vat_rate)
    values (${programId}, ${requiredForPayout}, ${vat}, ${vatRate}::numeric)
    on conflict (program_id) do update set required_for_payout = excluded.required_for_payout, vat = excluded.vat,
      vat_rate = excluded.vat_rate`;
  return await getTaxRules(sql, programId);
}
