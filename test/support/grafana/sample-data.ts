import { ClickFlag, type ClickRecord } from '../../../core/clicks/click-record.ts';
import { HOUR_MS, MINUTE_MS } from '../../../core/time.ts';
import { recordAuditChecks } from '../../../ledger/audit/checks.ts';
import { recordRefund } from '../../../ledger/decisions/refunds.ts';
import { insertPostbackCalls } from '../../../ledger/integrations/postback-calls.ts';
import { answerAll, type PaymentAnswer } from '../../../ledger/payouts/provider.ts';
import { BANK_LIMITS } from '../../../ledger/payouts/providers/bank-csv.ts';
import { runPayouts } from '../../../ledger/payouts/run.ts';
import { inTransaction } from '../../../ledger/postgres/db.ts';
import { FROM_THE_BEGINNING } from '../../../ledger/programs/names.ts';
import { mirrorBatch } from '../../../scheduler/mirror.ts';
import { mirrorNameChanges } from '../../../scheduler/names.ts';
import { timeText, type Warehouse } from '../../../warehouse/clickhouse/client.ts';
import { INSERT_CLICKS_SQL } from '../../../warehouse/loader/inserter.ts';
import { createParties, creditOrder, type TestLedger, type TestParties } from '../ledger.ts';
import { clickRecord, encodeClicks } from '../warehouse.ts';

/** What Grafana would put into a query: the range, the step, the variables, the filters added by hand. */
export interface Situation {
  readonly fromMs: number;
  readonly toMs: number;
  readonly intervalS: number;
  /** By the variable's name; undefined is All. */
  readonly values: Readonly<Record<string, string | undefined>>;
  readonly adHoc?: readonly { readonly key: string; readonly value: string }[];
}

/**
 * A query on ClickHouse as Grafana and its plugin send it, in their order: conditions of variables at All, variables,
 * filters by hand, and then in the back end the macros of time.
 */
export function expandClickHouse(sql: string, situation: Situation): string {
  const { fromMs, toMs, intervalS, adHoc = [] } = situation;
  let text = conditionsOfAll(sql, situation);
  text = withVariables(text, situation, (value) => `'${value.replaceAll("'", "\\'")}'`, 'singlequote');
  const filters = adHoc
    .map(({ key, value }) => ` ${key} = \\'${value.replaceAll("'", "\\\\\\'")}\\' `)
    .join('AND');
  text = text.replace(/\$__adHocFilters\(([^)]+)\)/g, (_, tables: string) => {
    const entries = tables.split(',').map((table) => `${table.trim()}: '${filters}'`);
    return filters === ''
      ? 'additional_table_filters={}'
      : `additional_table_filters={${entries.join(', ')}}`;
  });
  const seconds = (ms: number): string => `toDateTime(${Math.floor(ms / 1_000)})`;
  const millis = (ms: number): string => `fromUnixTimestamp64Milli(${ms})`;
  const macros: Record<string, (column: string) => string> = {
    timeFilter_ms: (c) => `${c} >= ${millis(fromMs)} AND ${c} <= ${millis(toMs)}`,
    timeInterval: (c) => `toStartOfInterval(toDateTime(${c}), INTERVAL ${intervalS} second)`,
    fromTime_ms: () => millis(fromMs),
    toTime_ms: () => millis(toMs),
    fromTime: () => seconds(fromMs),
    toTime: () => seconds(toMs),
  };
  return expandMacros(text, macros);
}

/** A query on PostgreSQL as Grafana sends it. */
export function expandPostgres(sql: string, situation: Situation): string {
  const text = withVariables(sql, situation, (value) => `'${value.replaceAll("'", "''")}'`, 'sqlstring');
  const at = (ms: number): string => `'${new Date(ms).toISOString()}'`;
  return expandMacros(text, {
    timeFilter: (c) => `${c} BETWEEN ${at(situation.fromMs)} AND ${at(situation.toMs)}`,
  });
}

function expandMacros(text: string, macros: Readonly<Record<string, (column: string) => string>>): string {
  const names = Object.keys(macros).join('|');
  const expanded = text.replace(new RegExp(`\\$__(${names})\\b(?:\\((\\w+)\\))?`, 'g'), (_, name, column) =>
    (macros[name] ?? (() => ''))(column),
  );
  const left = /\$\{?\w+/.exec(expanded);
  if (left) throw new Error(`${left[0]} is neither a variable nor a macro that is known`);
  return expanded;
}

function withVariables(
  text: string,
  { values }: Situation,
  quote: (value: string) => string,
  format: string,
): string {
  return text.replace(/\$\{(\w+):(\w+)\}/g, (_, name: string, given: string) => {
    if (given !== format) throw new Error(`\${${name}:${given}}: this store takes ${format}`);
    if (!(name in values)) throw new Error(`there is no variable ${name}`);
    const value = values[name];
    // The custom value of All is put in as it is.
    return value === undefined ? `'*'` : quote(value);
  });
}

/** `$__conditionalAll(condition, $variable)`: the condition, or 1=1 while the variable is at All. */
function conditionsOfAll(sql: string, { values }: Situation): string {
  const macro = '$__conditionalAll(';
  let text = sql;
  for (let at = text.lastIndexOf(macro); at !== -1; at = text.lastIndexOf(macro)) {
    let depth = 0;
    let comma = -1;
    let end = at + macro.length - 1;
    for (; ; end++) {
      if (text[end] === '(') depth++;
      if (text[end] === ',' && depth === 1) comma = end;
      if (text[end] === ')' && --depth === 0) break;
      if (end > text.length) throw new Error(`no end: ${text.slice(at)}`);
    }
    const variable = text.slice(comma + 1, end).trim();
    if (!/^\$\w+$/.test(variable)) throw new Error(`"${variable}" must be a plain variable`);
    if (!(variable.slice(1) in values)) throw new Error(`there is no variable ${variable}`);
    const condition = values[variable.slice(1)] === undefined ? '1=1' : text.slice(at + macro.length, comma);
    text = `${text.slice(0, at)}${condition}${text.slice(end + 1)}`;
  }
  return text;
}

/** Who is on the stage. */
export interface SampleData {
  readonly shop: TestParties;
  readonly other: TestParties;
  /** Time of the run, Unix milliseconds. */
  readonly now: number;
}

const DAYS_OF_CLICKS = 3;

/**
 * Two programs with three days of clicks, an address that becomes fast, two affiliates at the same addresses, orders in
 * every state, payouts that were paid, refused or never answered, refused calls, a webhook with a backlog, and an audit of which
 * one check failed.
 */
export async function insertSampleData(stores: {
  books: TestLedger;
  warehouse: Warehouse;
}): Promise<SampleData> {
  const { books, warehouse } = stores;
  const { ledger } = books;
  const shop = await createParties(ledger);
  const other = await createParties(ledger);
  const now = Date.now();
  await warehouse.insertRows('geo_networks', [
    { network: '203.0.113.0/24', country: 'DE' },
    { network: '198.51.100.0/24', country: 'FR' },
  ]);
  await warehouse.command('SYSTEM RELOAD DICTIONARY geo');
  await warehouse.insertBytes({
    sql: INSERT_CLICKS_SQL,
    data: [encodeClicks(sampleClicks(shop, other, now))],
    settings: {},
  });

  await orders(books, shop, 12);
  const refunded = 'to be refunded';
  await creditOrder(ledger, shop, { amountMinor: 9_900n, orderId: refunded });
  await pay(books, () => ({ outcome: 'paid' }));
  await inTransaction(ledger, (tx) =>
    recordRefund(tx, {
      programId: shop.programId,
      orderId: refunded,
      refundRef: 'r1',
      amountMinor: 9_900n,
      actor: 'test',
    }),
  );
  await orders(books, other, 3);
  await pay(books, () => ({ outcome: 'refused', reason: 'no such account' }));
  // All accounts but one are looked into, and paid again.
  await books.owner`update payout_methods set refused_at = null where affiliate_id <> ${other.chain[0]}`;
  await orders(books, shop, 2);
  await pay(books, () => undefined);
  await orders(books, shop, 4);
  for (let i = 0; i < 3; i++) {
    const review = { outcome: 'review', reason: 'instant_conversion' } as const;
    await creditOrder(ledger, shop, { amountMinor: 5_000n, ...review });
  }
  await creditOrder(ledger, shop, { amountMinor: 7_000n, outcome: 'rejected', reason: 'self_referral' });
  await edges(books, shop);
  await recordAuditChecks(ledger, new Date(now), [
    { store: 'clicks', name: 'leases', ok: true, detail: 'no gap' },
    { store: 'ledger', name: 'balances_agree', ok: false, detail: 'not so' },
  ]);

  while ((await mirrorBatch({ ledger, warehouse })) > 0);
  await mirrorNameChanges({ ledger, warehouse, since: FROM_THE_BEGINNING });
  return { shop, other, now };
}

/** Publishes that every click before this time is counted. */
export async function publishWatermark(warehouse: Warehouse, completeTo: number): Promise<void> {
  await warehouse.insertRows('watermarks', [
    { shard: 0, complete_to: timeText(completeTo), stream_seq: 1, updated_at: timeText(completeTo) },
  ]);
}

async function orders({ ledger }: TestLedger, parties: TestParties, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await creditOrder(ledger, parties, { amountMinor: 4_000n + BigInt(i) });
}

/** Calls of which most were refused, and a webhook that waits for one event and lost another. */
async function edges({ ledger, owner }: TestLedger, { programId }: TestParties): Promise<void> {
  const call = { requestId: 'r', via: 'postback', programId, actor: null, ip: null, params: {} } as const;
  const rest = { detail: null, conversionId: null, replayOf: null };
  await insertPostbackCalls(ledger, [
    ...Array.from({ length: 6 }, (_, n) => ({
      ...call,
      ...rest,
      outcome: 'rejected' as const,
      status: 422,
      code: 'invalid_amount',
      orderId: `refused-${n}`,
    })),
    { ...call, ...rest, outcome: 'accepted', status: 200, code: null, orderId: 'taken' },
  ]);
  await owner`
    insert into webhook_endpoints (program_id, role, url, secret)
    values (${programId}, 'operator', 'https://hook.example/k3y?token=x', '')`;
  await owner`
    with events as (
      insert into webhook_events (type, program_id, subject)
      values ('payout.created', ${programId}, 'pending'), ('payout.created', ${programId}, 'dead') returning id, subject
    )
    insert into webhook_deliveries (endpoint_id, event_id, body, state, done_at)
    select (select max(id) from webhook_endpoints), id, '', subject, case subject when 'dead' then now() end from events`;
}

/** A run whose provider answers so, or not at all. */
async function pay({ ledger }: TestLedger, answer: () => PaymentAnswer | undefined): Promise<void> {
  await runPayouts(ledger, {
    actor: 'test',
    now: new Date(Date.now() + 1_000),
    provider: {
      name: 'test',
      limits: BANK_LIMITS,
      async submit(batch) {
        const given = answer();
        if (!given) throw new Error('no answer');
        return answerAll(batch, given);
      },
    },
  });
}

const address = (...bytes: [number, number, number, number]): Buffer =>
  Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...bytes]);

function sampleClicks(shop: TestParties, other: TestParties, now: number): ClickRecord[] {
  const [first, second] = shop.chain;
  const of = (parties: TestParties, affiliateId: number): Partial<ClickRecord> => ({
    program_id: parties.programId,
    campaign_id: parties.campaignId,
    affiliate_id: affiliateId,
    link_id: parties.linkId,
  });
  const clicks: Partial<ClickRecord>[] = [];
  for (let hour = 0; hour < 24 * DAYS_OF_CLICKS; hour++) {
    for (let i = 0; i < 12; i++) {
      clicks.push({
        ...of(i % 4 === 0 ? other : shop, i % 4 === 0 ? other.chain[0] : first),
        ts: now - hour * HOUR_MS - 2 * MINUTE_MS - i * MINUTE_MS,
        ip: address(203, 0, 113, i),
        flags: [0, 0, 0, ClickFlag.bot, ClickFlag.repeat, ClickFlag.head][i % 6] ?? 0,
        device: i % 3 === 0 ? 'mobile' : 'desktop',
      });
    }
  }
  // Two affiliates at the same five addresses.
  for (let i = 0; i < 5; i++) {
    clicks.push({ ...of(shop, second), ts: now - HOUR_MS - i, ip: address(203, 0, 113, i), flags: 0 });
    clicks.push({ ...of(shop, first), ts: now - HOUR_MS - 10 - i, ip: address(203, 0, 113, i), flags: 0 });
  }
  // A burst from one address, which ended half a minute ago.
  for (let i = 0; i < 300; i++) {
    clicks.push({ ...of(shop, first), ts: now - 31_000 - i * 100, ip: address(198, 51, 100, 9), flags: 0 });
  }
  return clicks
    .sort((a, b) => (a.ts ?? 0) - (b.ts ?? 0))
    .map((given, seq) => clickRecord({ ...given, node: 7, seq }));
}
