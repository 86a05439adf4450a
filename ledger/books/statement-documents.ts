import { parsePercent, taxWithin } from '../../core/money/rates.ts';
import { DAY_MS } from '../../core/time.ts';
import { type Database, type DatabaseSql, type DatabaseTransaction, inTransaction } from '../postgres/db.ts';
import { lockRow } from '../postgres/lock.ts';
import {
  affiliateName,
  BY_AFFILIATE,
  type ListOrder,
  listClauses,
  type Page,
  type PageRequest,
  pageOf,
} from '../postgres/page.ts';
import { getTaxData, getTaxRules, type TaxData, type TaxRules } from '../programs/tax-data.ts';
import { EU_COUNTRIES } from '../programs/vat-ids.ts';

/**
 * Monthly statements of affiliates. A statement is made once, with a number without gaps in its program, and keeps the
 * names, addresses and tax of that day. Its movements are those of the books, which never change, so that it reads the
 * same for ever.
 */

/** A party as it stood when the statement was made: without tax data its name alone. */
export type StatementParty = {
  readonly name: string;
  readonly address: readonly string[];
  readonly country: string | null;
  readonly vatId: string | null;
};

export const STATEMENT_TAXES = ['none', 'domestic', 'reverse_charge'] as const;

export interface StatementDocument {
  readonly id: bigint;
  readonly programId: number;
  readonly affiliateId: number;
  /** "2026-10", of UTC. */
  readonly month: string;
  readonly number: number;
  readonly currency: string;
  readonly issuer: StatementParty;
  readonly recipient: StatementParty;
  /**
   * What became payable in the month less what was taken back of it, minor units, with bonuses and deductions and without
   * what was paid outside; taxes are within it.
   */
  readonly payableMinor: bigint;
  readonly vat: (typeof STATEMENT_TAXES)[number];
  /** Percent; null without VAT. */
  readonly vatRate: string | null;
  readonly vatMinor: bigint;
  readonly issuedAt: Date;
}

/** The month of a statement: from its first moment to that of the next one. */
export function monthRange(month: string): { from: Date; to: Date } {
  const from = new Date(`${month}-01T00:00:00Z`);
  return { from, to: new Date(Date.UTC(from.getUTCFullYear(), from.getUTCMonth() + 1)) };
}

const documentColumns = (sql: DatabaseSql) => sql`
  id, program_id, affiliate_id, to_char(month, 'YYYY-MM') as month, number, currency, issuer, recipient, payable_minor,
  vat, vat_rate::text, vat_minor, issued_at`;

export async function getStatementDocument(
  sql: DatabaseSql,
  id: bigint,
): Promise<StatementDocument | undefined> {
  const [document] = await sql<StatementDocument[]>`
    select ${documentColumns(sql)} from statement_documents where id = ${id}`;
  return document;
}

export const STATEMENT_DOCUMENT_LIST: ListOrder = {
  id: (sql) => sql`id`,
  newestFirst: true,
  sorts: {
    issued_at: 'id',
    month: { type: 'text', by: (sql) => sql`month::text` },
    affiliate: BY_AFFILIATE,
  },
  search: (sql, { text, pattern, id }) =>
    sql`${affiliateName(sql)} ilike ${pattern} or number::text = ${text} or id = ${id}::bigint`,
};

/** Statements, the newest first. */
export async function listStatementDocuments(
  sql: DatabaseSql,
  request: PageRequest<bigint> & {
    programId?: number | undefined;
    affiliateId?: number | undefined;
    month?: string | undefined;
  },
): Promise<Page<StatementDocument, bigint>> {
  const { programId = null, affiliateId = null, month = null } = request;
  const page = listClauses(sql, STATEMENT_DOCUMENT_LIST, request);
  const rows = await sql<StatementDocument[]>`
    select ${documentColumns(sql)}, ${page.key} from statement_documents
    where (${programId}::integer is null or program_id = ${programId})
      and (${affiliateId}::integer is null or affiliate_id = ${affiliateId})
      and (${month}::text is null or month = (${month} || '-01')::date)
      and ${page.where}
    ${page.order}`;
  return pageOf(rows, request);
}

/**
 * A month is closed a day after its end: by then every transaction that began in it has ended, so that no movement of it
 * comes after its statement.
 */
const CLOSED_AFTER_MS = DAY_MS;
/** Statements made in one transaction. */
const BATCH_SIZE = 500;

/** When the statements of a month can be made. */
export function closedAt(month: string): Date {
  return new Date(monthRange(month).to.getTime() + CLOSED_AFTER_MS);
}

/**
 * Months in which an affiliate has movements and no statement, the first one first: those that are not closed, too. Who it is
 * must be known until they are made.
 */
export async function missingStatements(sql: DatabaseSql, affiliateId: number): Promise<string[]> {
  const rows = await sql<{ month: string }[]>`
    select to_char(m.month, 'YYYY-MM') as month
    from (
      select distinct date_trunc('month', j.created_at at time zone 'UTC')::date as month
      from accounts a join entries e on e.account_id = a.id join journals j on j.id = e.journal_id
      where a.affiliate_id = ${affiliateId}
    ) m
    where not exists (select from statement_documents d where d.affiliate_id = ${affiliateId} and d.month = m.month)
    order by m.month`;
  return rows.map(({ month }) => month);
}

/** Makes the statements of every closed month that are missing: one for each affiliate with movements. Safe to repeat. */
export async function issueStatements(ledger: Database, { now }: { now: Date }): Promise<{ issued: number }> {
  const closed = new Date(now.getTime() - CLOSED_AFTER_MS).toISOString().slice(0, 7);
  const months = await ledger<{ programId: number; month: string }[]>`
    select p.id as program_id, to_char(m, 'YYYY-MM') as month
    from programs p
    cross join lateral (
      select coalesce(
        (select max(month)::timestamp from statement_documents d where d.program_id = p.id),
        (select date_trunc('month', min(created_at) at time zone 'UTC') from journals j where j.program_id = p.id)
      ) as first
    ) f
    cross join lateral generate_series(f.first, (${closed} || '-01')::timestamp - interval '1 month', interval '1 month') m
    order by 1, 2`;
  let issued = 0;
  for (const { programId, month } of months) {
    for (;;) {
      const made = await inTransaction(ledger, (tx) => issueBatch(tx, { programId, month }));
      issued += made;
      if (made < BATCH_SIZE) break;
    }
  }
  return { issued };
}

interface Missing {
  readonly affiliateId: number;
  readonly name: string;
  readonly currency: string;
  readonly payableMinor: bigint;
  readonly taxData: (Omit<TaxData, 'usForm' | 'vatId'> & { vat_id: string | null }) | null;
}

/** The next statements of a month that are missing, by affiliate. */
async function issueBatch(
  tx: DatabaseTransaction,
  { programId, month }: { programId: number; month: string },
): Promise<number> {
  // One at a time, because each takes the number after the last.
  await lockRow(tx, 'programs', programId);
  const missing = await findMissing(tx, { programId, month });
  if (missing.length === 0) return 0;
  const [{ name, last }] = await tx<[{ name: string; last: number }]>`
    select name, coalesce((select max(number) from statement_documents where program_id = p.id), 0) as last
    from programs p where id = ${programId}`;
  const rules = await getTaxRules(tx, programId);
  const issuer = partyOf(name, await getTaxData(tx, { programId, affiliateId: null }));
  const rows = missing.map(({ affiliateId, name: affiliate, currency, payableMinor, taxData }, i) => {
    const recipient = partyOf(affiliate, taxData ? { ...taxData, vatId: taxData.vat_id } : undefined);
    return {
      affiliate_id: affiliateId,
      number: last + 1 + i,
      currency,
      recipient,
      payable_minor: payableMinor.toString(),
      ...taxOf({ issuer, recipient, rules, payableMinor }),
    };
  });
  await tx`
    insert into statement_documents (program_id, affiliate_id, month, number, currency, issuer, recipient, payable_minor,
      vat, vat_rate, vat_minor)
    select ${programId}, affiliate_id, (${month} || '-01')::date, number, currency, ${tx.json(issuer)}::jsonb, recipient,
      payable_minor, vat, vat_rate, vat_minor
    from jsonb_to_recordset(${tx.json(rows)}::jsonb) as r (affiliate_id integer, number integer, currency text,
      recipient jsonb, payable_minor bigint, vat text, vat_rate numeric, vat_minor bigint)
    order by number`;
  return rows.length;
}

/** A condition: entry `e` on account `a` of journal `j` books what was paid outside these books, and billed there. */
const isPaidOutside = (sql: DatabaseSql) => sql`(a.kind = 'paid' and j.payout_id is null)`;

/** What left an affiliate's money in a month, minor units: with what became payable it is all that has changed it. */
export async function readOutflows(
  sql: DatabaseSql,
  { affiliateId, month }: { affiliateId: number; month: string },
): Promise<{ paidMinor: bigint; writtenOffMinor: bigint }> {
  const { from, to } = monthRange(month);
  const [flows] = await sql<[{ paidMinor: bigint; writtenOffMinor: bigint }]>`
    select coalesce(sum(e.amount_minor) filter (where a.kind = 'paid' and not ${isPaidOutside(sql)}), 0)::bigint as paid_minor,
      coalesce(sum(e.amount_minor) filter (where j.kind = 'debt_write_off'), 0)::bigint as written_off_minor
    from accounts a join entries e on e.account_id = a.id join journals j on j.id = e.journal_id
    where a.affiliate_id = ${affiliateId} and j.created_at >= ${from} and j.created_at < ${to}`;
  return flows;
}

/** Affiliates with movements in the month and no statement of it, with what became payable. */
async function findMissing(
  tx: DatabaseTransaction,
  { programId, month }: { programId: number; month: string },
): Promise<Missing[]> {
  const { from, to } = monthRange(month);
  return await tx<Missing[]>`
    select f.id as affiliate_id, f.name, max(a.currency) as currency,
      coalesce(sum(e.amount_minor) filter (
        where a.kind <> 'pending' and not ${isPaidOutside(tx)} and j.kind <> 'debt_write_off'), 0)::bigint as payable_minor,
      (select jsonb_build_object('name', t.name, 'address', t.address, 'country', t.country, 'vat_id', t.vat_id)
        from tax_data t where t.affiliate_id = f.id) as tax_data
    from journals j join entries e on e.journal_id = j.id join accounts a on a.id = e.account_id
    join affiliates f on f.id = a.affiliate_id
    where j.program_id = ${programId} and j.created_at >= ${from} and j.created_at < ${to}
      and not exists (
        select from statement_documents d where d.affiliate_id = f.id and d.month = (${month} || '-01')::date)
    group by f.id order by f.id limit ${BATCH_SIZE}`;
}

function partyOf(
  name: string,
  data: Pick<TaxData, 'name' | 'address' | 'country' | 'vatId'> | undefined,
): StatementParty {
  if (!data) return { name, address: [], country: null, vatId: null };
  return { name: data.name, address: data.address, country: data.country, vatId: data.vatId };
}

/**
 * The tax of a statement by the program's rule. Affiliates with a VAT number in the program's country: its rate, within
 * what is paid. In another country of the European Union: reverse charge, where both are in the Union. Others: none.
 */
function taxOf(options: {
  issuer: StatementParty;
  recipient: StatementParty;
  rules: TaxRules;
  payableMinor: bigint;
}): { vat: StatementDocument['vat']; vat_rate: string | null; vat_minor: string } {
  const { issuer, recipient, rules, payableMinor } = options;
  const none = { vat: 'none', vat_rate: null, vat_minor: '0' } as const;
  if (rules.vat === 'none' || rules.vatRate === null || recipient.vatId === null) return none;
  if (recipient.country === issuer.country) {
    const vatMinor = taxWithin(payableMinor, parsePercent(rules.vatRate, 'vat_rate'));
    return { vat: 'domestic', vat_rate: rules.vatRate, vat_minor: vatMinor.toString() };
  }
  const isWithinUnion = [issuer.country, recipient.country].every(
    (one) => one !== null && EU_COUNTRIES.has(one),
  );
  return isWithinUnion ? { ...none, vat: 'reverse_charge' } : none;
}
