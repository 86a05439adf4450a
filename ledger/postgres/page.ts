import { assert } from '../../core/errors.ts';

/** Most rows of one page. */
export const MAX_PAGE_ROWS = 1_000;

/** One page of a list, and where the next one starts. */
export interface Page<Row, Id> {
  readonly rows: Row[];
  /** Pass it as `after` to get the next page; null on the last one. */
  readonly next: Id | null;
}

/** Which page: `limit` rows (1 to {@link MAX_PAGE_ROWS}) behind the row `after`, in the list's own order. */
export interface PageRequest<Id> {
  readonly limit: number;
  readonly after?: Id | undefined;
}

/** How many rows a query has to read so that {@link pageOf} knows whether more follow. */
export function rowsToRead(request: PageRequest<unknown>): number {
  assert(request.limit >= 1 && request.limit <= MAX_PAGE_ROWS, 'a page has 1 to 1,000 rows');
  return request.limit + 1;
}

/** Makes the page of the rows read. */
export function pageOf<Row extends { id: Id }, Id>(read: Row[], request: PageRequest<Id>): Page<Row, Id> {
  const rows = read.slice(0, request.limit);
  const last = rows.at(-1);
  return { rows, next: read.length > rows.length && last ? last.id : null };
}
