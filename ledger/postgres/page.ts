import { assert } from '../../core/errors.ts';
import type { Fragment } from '../../core/postgres/sql.ts';
import type { DatabaseSql } from './db.ts';

/** Most rows of one page. */
export const MAX_PAGE_ROWS = 1_000;

/** One page of a list, and where the next one starts. */
export interface Page<Row, Id> {
  readonly rows: Row[];
  /** Pass it as `after` to get the next page; null on the last one. */
  readonly next: Id | null;
  /** Of a sorted list: pass it as `sort.key` beside `after`. */
  readonly nextKey?: string | null;
}

/** By what a list is sorted, in the place of its own order. */
export interface Sorting {
  /** One of the `sorts` of the list. */
  readonly by: string;
  readonly descending: boolean;
  /** What the row `after` was sorted by when it was read: it can be another value now. */
  readonly key?: string | undefined;
}

/** What is looked for in a list. */
export interface Search {
  /** Plain text, for ids that are compared as a whole. */
  readonly text: string;
  /** For `ilike`: contains the text. */
  readonly pattern: string;
  /** Where the text is an id of the list's own kind. */
  readonly id: number | bigint | null;
}

/** Which page: `limit` rows (1 to {@link MAX_PAGE_ROWS}) behind the row `after`, in the order of `sort` or the list's own. */
export interface PageRequest<Id> {
  readonly limit: number;
  readonly after?: Id | undefined;
  readonly sort?: Sorting | undefined;
  readonly search?: Search | undefined;
}

type Expression = (sql: DatabaseSql) => Fragment;

interface Sort {
  readonly type: 'text' | 'bigint';
  readonly by: Expression;
  /** The order tells what affiliates are called. */
  readonly namesAffiliates?: true;
}

/** How a list is ordered, and what can be looked for in it. */
export interface ListOrder {
  /** The identity, which decides between equal rows. */
  readonly id: Expression;
  /** Without `sort` by identity, and in which direction. */
  readonly newestFirst: boolean;
  /**
   * Expressions by the name that callers have for them; never null. `id` stands for the order of the identity, which is
   * that of the time of recording and needs no index of its own.
   */
  readonly sorts: Readonly<Record<string, 'id' | Sort>>;
  /**
   * A condition; without it nothing can be looked for. Of a list that grows with the orders, a union of look-ups in
   * indexes: for an `or` PostgreSQL may read whole indexes, or every row.
   */
  readonly search?: (sql: DatabaseSql, search: Search & { readonly programId: number | null }) => Fragment;
}

/** The name of the affiliate in a row's column `affiliate_id`. */
export function affiliateName(sql: DatabaseSql): Fragment {
  return sql`coalesce((select a.name from affiliates a where a.id = affiliate_id), '')`;
}

/** Sorts rows by the names of their affiliates. */
export const BY_AFFILIATE: Sort = { type: 'text', by: affiliateName, namesAffiliates: true };

/** The clauses of a list's query: keyset paging is stable under any sort, because (key, id) is unique. */
export function listClauses(
  sql: DatabaseSql,
  list: ListOrder,
  request: PageRequest<number | bigint> & {
    /** The program that is looked in; undefined: in all. */
    readonly programId?: number | undefined;
  },
): {
  /** The column `sort_key`. */
  readonly key: Fragment;
  /** A condition: behind `after`, and what is looked for. */
  readonly where: Fragment;
  /** `order by` and `limit`. */
  readonly order: Fragment;
} {
  const { sort, search, programId = null } = request;
  const after = request.after === undefined ? null : BigInt(request.after);
  const id = list.id(sql);
  const sorted = sort && list.sorts[sort.by];
  assert(!sort || sorted, 'a list is sorted by one of its sorts');
  const descending = sort ? sort.descending : list.newestFirst;
  const compare = descending ? sql`<` : sql`>`;
  const direction = descending ? sql`desc` : sql`asc`;
  const limit = rowsToRead(request);
  const found = search && list.search ? sql`(${list.search(sql, { ...search, programId })})` : sql`true`;
  if (!sorted || sorted === 'id') {
    const behind = after === null ? sql`true` : sql`${id} ${compare} ${after}`;
    return {
      key: sql`null::text as sort_key`,
      where: sql`${behind} and ${found}`,
      order: sql`order by ${id} ${direction} limit ${limit}`,
    };
  }
  const by = sorted.by(sql);
  const key = sorted.type === 'text' ? sql`${sort.key ?? ''}::text` : sql`${sort.key ?? '0'}::bigint`;
  const behind = after === null ? sql`true` : sql`(${by}, ${id}) ${compare} (${key}, ${after})`;
  return {
    key: sql`(${by})::text as sort_key`,
    where: sql`${behind} and ${found}`,
    order: sql`order by ${by} ${direction}, ${id} ${direction} limit ${limit}`,
  };
}

/** How many rows a query has to read so that {@link pageOf} knows whether more follow. */
export function rowsToRead(request: PageRequest<unknown>): number {
  assert(request.limit >= 1 && request.limit <= MAX_PAGE_ROWS, 'a page has 1 to 1,000 rows');
  return request.limit + 1;
}

/** Makes the page of the rows read. */
export function pageOf<Row extends { id: Id; sortKey?: string | null }, Id>(
  read: Row[],
  request: PageRequest<Id>,
): Page<Row, Id> {
  const rows = read.slice(0, request.limit);
  const last = rows.at(-1);
  if (read.length === rows.length || !last) return { rows, next: null };
  return { rows, next: last.id, nextKey: last.sortKey ?? null };
}
