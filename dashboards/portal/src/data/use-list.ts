import { useState } from 'preact/hooks';
import { useParameters } from '../app/router.tsx';
import { take } from './api.ts';
import { dayAfter, isDay, startOfDay } from './period.ts';
import { useData } from './use-data.ts';

/** Lists of the API as the address bar selects them: search, filters, days, sort; and page after page. */

interface Page<Row> {
  readonly data: Row[];
  readonly next_cursor: string | null;
  readonly complete_to?: string | null;
  readonly orders_complete_to?: string;
}

/** `query` is passed on to the API as it is; its parameters are those of the list. */
type Load<Row> = (
  query: never,
  signal: AbortSignal,
) => Promise<{ data?: Page<Row>; error?: unknown; response: Response }>;

export interface ListOptions {
  /** Parameters that always hold. */
  readonly query?: Readonly<Record<string, string | undefined>>;
  /** Parameters of the API that the reader chooses, beside those of every list. */
  readonly filters?: readonly string[];
  /** Before the names in the address, where a page has several lists. */
  readonly prefix?: string;
  readonly everyMs?: number;
  readonly pageRows?: number;
  /** Whether everything is read at once, for lists that are shown in another way than as a table. */
  readonly whole?: boolean;
}

export interface List<Row> {
  readonly rows: readonly Row[] | undefined;
  readonly error: unknown;
  readonly loading: boolean;
  readonly hasMore: boolean;
  /** All of it is here, or as much as a page can show. */
  readonly isWhole: boolean;
  readonly more: () => void;
  /** Reads all rows, as far as a page can show them. */
  readonly all: () => void;
  readonly reload: () => void;
  /** Of the rows that are shown, for lists of clicks; undefined before they are here. */
  readonly completeTo: string | null | undefined;
  /** The same, for lists that count orders. */
  readonly ordersCompleteTo: string | undefined;
  /** What is selected: `search`, `sort`, `from`, `to` (days) and the filters. */
  readonly selected: Readonly<Record<string, string>>;
  readonly select: (changes: Readonly<Record<string, string>>, options?: { replace?: boolean }) => void;
  /** The parameters of the API that stand for it, without paging. */
  readonly selection: Readonly<Record<string, string>>;
}

const COMMON = ['search', 'sort', 'from', 'to'] as const;
const PAGE_ROWS = 25;
/** The API's. */
const MOST_PAGE_ROWS = 1_000;
/** Rows that a browser shows or prints without trouble; more are for the export. */
const MOST_ROWS = 5_000;

/** A list; another selection starts again. */
export function useList<Row>(load: Load<Row>, options: ListOptions = {}): List<Row> {
  const { query = {}, filters = [], prefix = '', everyMs, pageRows = PAGE_ROWS } = options;
  const names = [...COMMON, ...filters];
  const [values, change] = useParameters(names.map((name) => prefix + name));
  const selected = Object.fromEntries(names.map((name) => [name, values[prefix + name] ?? '']));
  const selection = definedOnly({ ...query, ...queryOf(selected) });
  const key = JSON.stringify(selection);
  const first = options.whole ? MOST_ROWS : pageRows;
  const [wish, setWish] = useState({ key, rows: first });
  const wanted = wish.key === key ? wish.rows : first;
  const { data, error, loading, reload } = useData(
    async (signal) => {
      const rows: Row[] = [];
      let cursor: string | null | undefined;
      let first: Page<Row> | undefined;
      while (rows.length < wanted && cursor !== null) {
        const limit = Math.min(wanted - rows.length, MOST_PAGE_ROWS);
        const page: Page<Row> = await take(load({ ...selection, limit, cursor } as never, signal));
        rows.push(...page.data);
        // What the first page has, the later ones have as well.
        first ??= page;
        cursor = page.next_cursor;
      }
      return {
        rows,
        hasMore: cursor !== null,
        completeTo: first?.complete_to,
        ordersCompleteTo: first?.orders_complete_to,
      };
    },
    [key],
    { everyMs, more: wanted },
  );
  return {
    rows: data?.rows,
    error,
    loading,
    hasMore: data?.hasMore ?? false,
    isWhole: data !== undefined && (!data.hasMore || data.rows.length >= MOST_ROWS),
    // As many again as there are, so that a long list takes few steps.
    more: () => setWish({ key, rows: Math.min(wanted * 2, MOST_ROWS) }),
    all: () => setWish({ key, rows: MOST_ROWS }),
    reload,
    completeTo: data?.completeTo,
    ordersCompleteTo: data?.ordersCompleteTo,
    selected,
    select: (changes, how) =>
      change(Object.fromEntries(Object.entries(changes).map(([name, value]) => [prefix + name, value])), how),
    selection,
  };
}

function definedOnly(values: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, value]) => (value ? [[name, value] as const] : [])),
  );
}

/** Days are the reader's; the last one is within the range. */
function queryOf(selected: Readonly<Record<string, string>>): Record<string, string> {
  const { from = '', to = '', search = '', ...rest } = selected;
  return {
    ...rest,
    search: search.trim(),
    from: isDay(from) ? startOfDay(from) : '',
    to: isDay(to) ? startOfDay(dayAfter(to)) : '',
  };
}
