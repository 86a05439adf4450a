import { InputError } from '../../core/errors.ts';
import { convertMinor, parseExchangeRate } from '../../core/money/rates.ts';
import { formatAmount, MAX_AMOUNT_MINOR, parseCurrency } from '../../core/money.ts';
import { appendAuditLog } from '../access/audit-log.ts';
import type { DatabaseSql, DatabaseTransaction } from '../postgres/db.ts';
import { checkText } from '../postgres/input-faults.ts';

/**
 * Exchange rates. One unit of `base` is worth `rate` units of `quote`, from `validFrom` until `validUntil`, or until
 * there is a later one. They are never changed: an order keeps the rates it was converted by.
 */
export interface NewRate {
  readonly base: string;
  readonly quote: string;
  /** A plain decimal, kept as it is. */
  readonly rate: string;
  /** Who says so. */
  readonly source: string;
  readonly validFrom: Date;
  readonly validUntil: Date | null;
}

export interface Rate extends NewRate {
  readonly id: number;
  readonly createdAt: Date;
}

/** Rates in one statement: a parameter of some hundred kilobytes. */
const BATCH_SIZE = 5_000;
const MAX_SOURCE_LENGTH = 200;

/**
 * Stores rates; those that are there already with the same rate are left out. The caller's transaction makes it all or
 * nothing.
 * @throws InputError naming what is wrong, or `rate` when another rate is stored for the same pair and time.
 */
export async function addRates(
  tx: DatabaseTransaction,
  options: { rates: readonly NewRate[]; actor: string },
): Promise<{ added: number; known: number }> {
  const { rates, actor } = options;
  for (const rate of rates) checkRate(rate);
  let added = 0;
  for (let from = 0; from < rates.length; from += BATCH_SIZE) {
    added += await addBatch(tx, rates.slice(from, from + BATCH_SIZE));
  }
  if (added > 0) {
    const sources = [...new Set(rates.map(({ source }) => source))];
    await appendAuditLog(tx, { actor, action: 'rates.add', subject: 'rates', after: { added, sources } });
  }
  return { added, known: rates.length - added };
}

function checkRate({ base, quote, rate, source, validFrom, validUntil }: NewRate): void {
  checkCurrency(base, 'base');
  checkCurrency(quote, 'quote');
  if (base === quote) throw new InputError('quote', 'must be another currency than base');
  parseExchangeRate(rate);
  checkText(source, 'source', MAX_SOURCE_LENGTH);
  if (Number.isNaN(validFrom.getTime())) throw new InputError('valid_from', 'must be a time');
  if (validUntil !== null && !(validUntil > validFrom)) {
    throw new InputError('valid_until', 'must be later than valid_from');
  }
}

function checkCurrency(currency: string, field: string): void {
  try {
    parseCurrency(currency);
  } catch {
    throw new InputError(field, `${JSON.stringify(currency)} is not an active ISO 4217 currency code`);
  }
}

async function addBatch(tx: DatabaseTransaction, rates: readonly NewRate[]): Promise<number> {
  const rows = rates.map(({ base, quote, rate, source, validFrom, validUntil }) => ({
    base,
    quote,
    rate,
    source,
    valid_from: validFrom.toISOString(),
    valid_until: validUntil?.toISOString() ?? null,
  }));
  const count = await tx`
    insert into rates (base, quote, rate, source, valid_from, valid_until)
    select base, quote, rate, source, valid_from, valid_until from json_to_recordset(${tx.json(rows)}::json) as r (
      base text, quote text, rate numeric, source text, valid_from timestamptz, valid_until timestamptz)
    on conflict on constraint rates_once do nothing`.affected();
  if (count === rows.length) return count;
  const [other] = await tx<{ base: string; quote: string; validFrom: Date; stored: string }[]>`
    select r.base, r.quote, r.valid_from, s.rate::text as stored
    from json_to_recordset(${tx.json(rows)}::json) as r (base text, quote text, rate numeric, valid_from timestamptz)
    join rates s using (base, quote, valid_from) where s.rate <> r.rate limit 1`;
  if (!other) return count;
  const { base, quote, validFrom, stored } = other;
  throw new InputError(
    'rate',
    `of ${base} in ${quote} from ${validFrom.toISOString()} on is stored as ${stored}, and never changes; a later one may follow`,
  );
}

/** Rates, the newest first. */
export async function listRates(
  sql: DatabaseSql,
  options: { limit: number; base?: string | undefined; quote?: string | undefined },
): Promise<Rate[]> {
  const { limit, base = null, quote = null } = options;
  return await sql<Rate[]>`
    select id, base, quote, rate::text, source, valid_from, valid_until, created_at from rates
    where (${base}::text is null or base = ${base}) and (${quote}::text is null or quote = ${quote})
    order by valid_from desc, base, quote limit ${limit}`;
}

/** An amount in one currency that is wanted in another, as of a time. */
export interface ExchangeQuestion {
  readonly amountMinor: bigint;
  readonly from: string;
  readonly to: string;
  readonly at: Date;
}

/** What it comes to, and the rates that say so. */
export interface Exchange {
  readonly amountMinor: bigint;
  readonly rateId: number;
  /** Where both currencies are quoted in a third one: the rate of `to`; `rateId` is that of `from`. */
  readonly crossRateId: number | null;
}

interface FoundRate {
  readonly index: number;
  readonly rateId: number;
  readonly isInverse: boolean;
  readonly rate: string;
  readonly crossRateId: number | null;
  readonly crossRate: string | null;
}

/**
 * Converts amounts by the stored rates in force at their times, rounded once, half to even: by a rate of the two
 * currencies, else by one the other way round, else by two of one publication that quote both in a third currency.
 * Answers in the order of the questions, with an InputError (`no_rate`) where no rate is in force.
 */
export async function exchange(
  sql: DatabaseSql,
  questions: readonly ExchangeQuestion[],
): Promise<(Exchange | InputError)[]> {
  if (questions.length === 0) return [];
  const asked = questions.map(({ from, to, at }, index) => ({
    index,
    from,
    to,
    at: at.toISOString(),
  }));
  const rows = await sql<FoundRate[]>`
    select q.index, found.* from json_to_recordset(${sql.json(asked)}::json)
      as q (index integer, "from" text, "to" text, at timestamptz)
    cross join lateral (
      (select id as rate_id, base = q.to as is_inverse, rate::text as rate, null::integer as cross_rate_id,
        null::text as cross_rate
      from rates where (base, quote) in ((q.from, q.to), (q.to, q.from))
        and valid_from <= q.at and q.at < coalesce(valid_until, 'infinity')
      order by base = q.to, valid_from desc limit 1)
      union all
      (select f.id, true, f.rate::text, t.id, t.rate::text
      from rates f join rates t using (base, source, valid_from)
      where f.quote = q.from and t.quote = q.to and valid_from <= q.at
        and q.at < coalesce(f.valid_until, 'infinity') and q.at < coalesce(t.valid_until, 'infinity')
      order by valid_from desc, base, source limit 1)
      limit 1
    ) found`;
  const byIndex = new Map(rows.map((row) => [row.index, row]));
  return questions.map((question, index) => {
    const found = byIndex.get(index);
    return found ? exchanged(question, found) : noRate(question);
  });
}

/** What an amount comes to by the rates that an order was converted by. @throws InputError naming `amount`. */
export async function exchangeBy(
  sql: DatabaseSql,
  question: Omit<ExchangeQuestion, 'at'> & { rateId: number; crossRateId: number | null },
): Promise<bigint> {
  const { rateId, crossRateId, to } = question;
  const [found] = await sql<[Omit<FoundRate, 'index'>]>`
    select f.id as rate_id, f.base = ${to} or t.id is not null as is_inverse, f.rate::text as rate,
      t.id as cross_rate_id, t.rate::text as cross_rate
    from rates f left join rates t on t.id = ${crossRateId}::integer where f.id = ${rateId}`;
  const converted = exchanged(question, found);
  if (converted instanceof InputError) throw converted;
  return converted.amountMinor;
}

function exchanged(
  { amountMinor, from, to }: Omit<ExchangeQuestion, 'at'>,
  found: Omit<FoundRate, 'index'>,
): Exchange | InputError {
  const rate = parseExchangeRate(found.rate);
  const across = found.crossRate === null ? [] : [parseExchangeRate(found.crossRate)];
  const [times, per] = found.isInverse ? [across, [rate]] : [[rate, ...across], []];
  const converted = convertMinor(amountMinor, { from, to, times, per });
  if (converted > MAX_AMOUNT_MINOR) {
    return new InputError('amount', `must not exceed ${formatAmount(MAX_AMOUNT_MINOR, to)} in ${to}`);
  }
  return { amountMinor: converted, rateId: found.rateId, crossRateId: found.crossRateId };
}

function noRate({ from, to, at }: ExchangeQuestion): InputError {
  const message = `no rate from ${from} to ${to}, the currency of the program, is stored for ${at.toISOString()}`;
  return new InputError('currency', message, 'no_rate');
}
