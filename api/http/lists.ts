import { addAbortSignal, Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { FastifyContextConfig, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { SecretBox } from '../../core/secret-box.ts';
import { plainText } from '../../core/text/plain-text.ts';
import { csvCell, forPeople } from '../../ledger/payouts/providers/payment-file.ts';
import type { Database, DatabaseSql } from '../../ledger/postgres/db.ts';
import {
  type ListOrder,
  MAX_PAGE_ROWS,
  type Page,
  type PageRequest,
  type Search,
} from '../../ledger/postgres/page.ts';
import { namesById } from '../../ledger/programs/names.ts';
import { type BigintIdKind, type IntegerIdKind, parseId } from '../schemas/ids.ts';
import { formatPage, pageOf, plain, rowLimit, time } from '../schemas/schemas.ts';
import type { ApiContext, ApiServer } from './context.ts';
import { type Principal, principalOf } from './principal.ts';
import { invalidField, Problem } from './problems.ts';

/**
 * Lists of the API, all alike: pages, a sort, a search, the filters of the list, and everything that these select as CSV
 * under the same path with `.csv` behind it. A path of its own, so that each answer has one media type and generated
 * clients read both.
 */

/** A longer text is no name and no id. */
const MAX_SEARCH_LENGTH = 200;

/** Filters by when something was recorded. */
export const timeRange = {
  from: time.optional().meta({ description: 'Recorded from here on.' }),
  to: time.optional().meta({ description: 'Recorded before this.' }),
};

type Kind = IntegerIdKind | BigintIdKind;
type Id<K extends Kind> = K extends IntegerIdKind ? number : bigint;
type Shape = Readonly<Record<string, z.ZodType>>;

export interface ListRoute<
  K extends Kind,
  Filters extends Shape,
  Params extends Shape,
  Row,
  View extends Shape,
> {
  readonly url: string;
  /** `listLinks`; its CSV is `exportLinks`. */
  readonly operationId: `list${string}`;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly config: FastifyContextConfig;
  readonly kind: K;
  readonly list: ListOrder;
  readonly params?: z.ZodObject<Params>;
  /** Rows of a page when the caller does not say. */
  readonly pageRows?: number;
  readonly filters: Filters;
  readonly view: z.ZodObject<View>;
  readonly read: (
    page: PageRequest<Id<K>>,
    request: {
      /** For an export all of it is read by one transaction. */
      sql: DatabaseSql;
      principal: Principal;
      query: z.output<z.ZodObject<Filters>>;
      params: z.output<z.ZodObject<Params>>;
    },
  ) => Promise<Page<Row, Id<K>>>;
  /** The rows of a page as the principal sees them, in the same order. */
  readonly format: (
    rows: readonly Row[],
    principal: Principal,
    sql: DatabaseSql,
  ) => readonly z.output<z.ZodObject<View>>[] | Promise<readonly z.output<z.ZodObject<View>>[]>;
}

/** Adds a list and its export. */
export function addList<K extends Kind, Filters extends Shape, Params extends Shape, Row, View extends Shape>(
  app: ApiServer,
  { ledger, secretBox }: Pick<ApiContext, 'ledger' | 'secretBox'>,
  route: ListRoute<K, Filters, Params, Row, View>,
): void {
  const { url, tags, summary, config, kind, list, filters, view } = route;
  const common = { tags, ...(route.params && { params: route.params }) };
  const limit = rowLimit({ max: MAX_PAGE_ROWS, fallback: route.pageRows ?? DEFAULT_PAGE_ROWS });
  const selection = { ...selectionOf(list), ...filters };
  const pageRequest = (request: FastifyRequest) => {
    const query = { limit: MAX_PAGE_ROWS, ...(request.query as Partial<ListQuery>) };
    checkSort(list, query.sort, principalOf(request));
    return pageRequestOf(kind, query, secretBox);
  };
  const inputOf = (sql: DatabaseSql, request: FastifyRequest) => ({
    sql,
    principal: principalOf(request),
    query: pick(request.query as z.output<z.ZodObject<Filters>>, Object.keys(filters)),
    params: request.params as z.output<z.ZodObject<Params>>,
  });

  app.route({
    method: 'GET',
    url,
    config,
    schema: {
      ...common,
      operationId: route.operationId,
      summary,
      querystring: z.object({ limit, cursor: cursorText, ...selection }),
      response: { 200: pageOf(view) },
    },
    handler: async (request) => {
      const input = inputOf(ledger, request);
      const page = await route.read(pageRequest(request), input);
      const rows = await route.format(page.rows, input.principal, ledger);
      const data = formatPage(kind, { ...page, rows: [...rows] }, (row) => row);
      const sort = (request.query as ListQuery).sort;
      return (
        sort === undefined || data.next_cursor === null
          ? data
          : { ...data, next_cursor: sortedCursor(secretBox, data.next_cursor, sort, page.nextKey ?? '') }
      ) as never;
    },
  });

  app.route({
    method: 'GET',
    url: `${url}.csv`,
    config: { ...config, isQuery: true },
    schema: {
      ...common,
      operationId: route.operationId.replace('list', 'export'),
      summary: `All of ${route.operationId} as CSV, with the names of affiliates and campaigns`,
      querystring: z.object(selection),
      response: { 200: { description: 'CSV.', content: { 'text/csv': { schema: z.string() } } } },
    },
    handler: async (request, reply) => {
      const first = pageRequest(request);
      const name = `${url.slice(url.lastIndexOf('/') + 1)}.csv`;
      reply.type('text/csv; charset=utf-8').header('content-disposition', `attachment; filename="${name}"`);
      return await sendSnapshot(ledger, reply, async (sql) => {
        const input = inputOf(sql, request);
        // Read before the answer begins, so that what is refused is answered as a problem.
        const page = await route.read(first, input);
        return Readable.from(csvOf(route, { first, page, input }));
      });
    },
  });
}

/** A snapshot keeps what was deleted since from being cleaned up, and a connection from others: an export is cut off. */
const MAX_EXPORT_MS = 120_000;
/** Of all parties together, in this process: most connections are for the intake of orders. */
const MAX_EXPORTS = 4;
const exportsInFlight = new WeakMap<Database, number>();

/**
 * Sends what `open` reads of one snapshot: no row of a sorted export comes twice or not at all because it changes
 * meanwhile. @throws Problem `rate_limited` while {@link MAX_EXPORTS} are under way.
 */
async function sendSnapshot(
  ledger: Database,
  reply: FastifyReply,
  open: (sql: DatabaseSql) => Promise<Readable>,
): Promise<never> {
  const inFlight = exportsInFlight.get(ledger) ?? 0;
  if (inFlight >= MAX_EXPORTS) {
    throw new Problem('rate_limited', {
      detail: `${MAX_EXPORTS} exports are under way; wait for one to end`,
      headers: { 'retry-after': '1' },
    });
  }
  exportsInFlight.set(ledger, inFlight + 1);
  return await new Promise<never>((resolve, reject) => {
    const sent = ledger.begin('isolation level repeatable read read only', async (tx) => {
      const text = addAbortSignal(AbortSignal.timeout(MAX_EXPORT_MS), await open(tx));
      resolve(reply.send(text) as never);
      await finished(text);
    });
    // Once the answer has begun, its stream fails with what the transaction fails with.
    sent.catch(reject).finally(() => exportsInFlight.set(ledger, (exportsInFlight.get(ledger) ?? 1) - 1));
  });
}

/** Filters apart from the page, the sort and the search, so that both can be passed on side by side. */
function pick<Query extends object>(query: Query, names: readonly string[]): Query {
  return Object.fromEntries(Object.entries(query).filter(([name]) => names.includes(name))) as Query;
}

/** The parameters that every list has as far as its order allows them. */
function selectionOf({ sorts, search }: ListOrder): Shape {
  const names = Object.keys(sorts);
  return {
    ...(names.length > 0 && {
      sort: z
        .enum([...names, ...names.map((name) => `-${name}`)])
        .optional()
        .meta({ description: 'A field to sort by, with - before it descending.' }),
    }),
    ...(search && {
      search: plain(MAX_SEARCH_LENGTH)
        .optional()
        .meta({ description: 'A part of a name or an address in any case, or a whole id.' }),
    }),
  };
}

interface ListQuery {
  readonly limit: number;
  readonly cursor?: string | undefined;
  readonly sort?: string | undefined;
  readonly search?: string | undefined;
}

const DEFAULT_PAGE_ROWS = 100;
const cursorText = z.string().optional().meta({ description: 'next_cursor of the page before.' });

/** @throws Problem `invalid_input` for a cursor that is none, or of another sort. */
function pageRequestOf<K extends Kind>(kind: K, query: ListQuery, secretBox: SecretBox): PageRequest<Id<K>> {
  const { limit, sort, search } = query;
  const cursor = query.cursor === undefined ? undefined : readCursor(kind, query.cursor, sort, secretBox);
  const descending = sort?.startsWith('-') ?? false;
  return {
    limit,
    after: cursor?.id,
    ...(sort !== undefined && {
      sort: { by: descending ? sort.slice(1) : sort, descending, key: cursor?.key },
    }),
    ...(search !== undefined && { search: searchOf(kind, search) }),
  };
}

/** Signs of `like` stand for themselves. */
function searchOf(kind: Kind, search: string): Search {
  const text = plainText(search);
  const pattern = `%${text.replaceAll(/[\\%_]/g, (sign) => `\\${sign}`)}%`;
  return { text, pattern, id: parseId(kind, text) ?? null };
}

/**
 * Cursors are opaque: the id of the last row, and for a sorted list the sort and what the row was sorted by. That can be
 * what the caller may not read, so it is sealed.
 */
function sortedCursor(secretBox: SecretBox, cursor: string, sort: string, key: string): string {
  const id = Buffer.from(cursor, 'base64url').toString();
  return secretBox.encrypt(CURSOR, `${id} ${sort} ${key}`).toString('base64url');
}

/** The purpose under which cursors are sealed. */
const CURSOR = 'cursor of a list';

function readCursor<K extends Kind>(
  kind: K,
  cursor: string,
  sort: string | undefined,
  secretBox: SecretBox,
): { id: Id<K>; key: string | undefined } {
  const bytes = Buffer.from(cursor, 'base64url');
  const text = sort === undefined ? bytes.toString() : unsealed(secretBox, bytes);
  const [, idPart = '', sortPart, key] = /^(\S+)(?: (\S+) (.*))?$/s.exec(text) ?? [];
  const id = parseId(kind, idPart);
  if (id === undefined || sortPart !== sort)
    throw invalidField(
      'cursor',
      'must be the next_cursor of a previous page with the same parameters otherwise',
    );
  return { id: id as Id<K>, key };
}

/** Empty for what was not sealed here. */
function unsealed(secretBox: SecretBox, bytes: Buffer): string {
  try {
    return secretBox.decrypt(CURSOR, bytes);
  } catch {
    return '';
  }
}

/** Whom the names of affiliates are for; an affiliate sees rows of its own. */
const SEE_AFFILIATES: ReadonlySet<string> = new Set(['operator', 'finance', 'fraud', 'affiliate']);

/** @throws Problem `forbidden` for an order that tells the caller names which it may not see. */
function checkSort({ sorts }: ListOrder, sort: string | undefined, { role }: Principal): void {
  const sorted = sort === undefined ? undefined : sorts[sort.replace('-', '')];
  if (typeof sorted !== 'object' || !sorted.namesAffiliates || SEE_AFFILIATES.has(role)) return;
  throw new Problem('forbidden', { detail: `the role ${role} is not permitted to sort by ${sort}` });
}

interface Column {
  readonly name: string;
  readonly isMoney: boolean;
  /** The column with the name of what it identifies stands behind it. */
  readonly isNamed: boolean;
}

function columnsOf(view: z.ZodObject, { role }: Principal): readonly Column[] {
  const named = ['campaign_id', ...(SEE_AFFILIATES.has(role) ? ['affiliate_id'] : [])];
  return Object.entries(view.shape).map(([name, schema]) => ({
    name,
    isMoney: isMoney(schema),
    isNamed: named.includes(name),
  }));
}

function headerOf({ name, isMoney, isNamed }: Column): string[] {
  if (isMoney) return [name, `${name}_currency`];
  return isNamed ? [name, name.replace('_id', '_name')] : [name];
}

/** The text, page by page. */
async function* csvOf<K extends Kind, Filters extends Shape, Params extends Shape, Row, View extends Shape>(
  { read, format, view }: ListRoute<K, Filters, Params, Row, View>,
  {
    first,
    page,
    input,
  }: { first: PageRequest<Id<K>>; page: Page<Row, Id<K>>; input: Parameters<typeof read>[1] },
): AsyncGenerator<string> {
  const columns = columnsOf(view, input.principal);
  yield `${columns.flatMap(headerOf).join(',')}\r\n`;
  for (let current = page; ; ) {
    const rows = (await format(current.rows, input.principal, input.sql)) as readonly Record<
      string,
      unknown
    >[];
    const names = await namesOf(input.sql, rows);
    const cellsIn = (row: Record<string, unknown>) =>
      columns.flatMap(({ name, isMoney, isNamed }) => {
        const value = row[name];
        if (isMoney) return moneyCells(value as { amount: string; currency: string } | null);
        return isNamed ? [cellOf(value), cellOf(names.get(String(value)))] : [cellOf(value)];
      });
    yield rows.map((row) => `${cellsIn(row).join(',')}\r\n`).join('');
    if (current.next === null) return;
    const { sort } = first;
    const after = { after: current.next, ...(sort && { sort: { ...sort, key: current.nextKey ?? '' } }) };
    current = await read({ ...first, ...after }, input);
  }
}

async function namesOf(
  sql: DatabaseSql,
  rows: readonly Record<string, unknown>[],
): Promise<ReadonlyMap<string, string>> {
  const ids = <K extends 'affiliate' | 'campaign'>(kind: K) =>
    [...new Set(rows.map((row) => row[`${kind}_id`]))].flatMap((text) =>
      typeof text === 'string' ? [parseId(kind, text) as number] : [],
    );
  const names = await namesById(sql, { affiliates: ids('affiliate'), campaigns: ids('campaign') });
  return new Map([
    ...[...names.affiliates].map(([id, name]) => [`aff_${id}`, name] as const),
    ...[...names.campaigns].map(([id, name]) => [`cmp_${id}`, name] as const),
  ]);
}

/** An amount and its currency, which stand in two cells. */
function isMoney(schema: unknown): boolean {
  if (schema instanceof z.ZodNullable || schema instanceof z.ZodOptional) return isMoney(schema.unwrap());
  return schema instanceof z.ZodObject && Object.keys(schema.shape).toString() === 'amount,currency';
}

function moneyCells(money: { amount: string; currency: string } | null | undefined): string[] {
  return money ? [money.amount, money.currency] : ['', ''];
}

/** Texts are somebody's; what is no plain value is JSON. */
function cellOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return csvCell(forPeople(typeof value === 'string' ? value : JSON.stringify(value)));
}
