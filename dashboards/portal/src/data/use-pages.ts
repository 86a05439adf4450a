import { useState } from 'preact/hooks';
import type { Pages } from '../ui/table.tsx';
import { take } from './api.ts';
import { useData } from './use-data.ts';

interface Page<Row> {
  readonly data: Row[];
  readonly next_cursor: string | null;
}

type Load<Row> = (
  cursor: string | undefined,
  signal: AbortSignal,
) => Promise<{ data?: Page<Row>; error?: unknown; response: Response }>;

/** A paginated list of the API; `more` loads the next page, changed `inputs` start again. */
export function usePages<Row>(load: Load<Row>, inputs: readonly unknown[], everyMs?: number): Pages<Row> {
  const key = JSON.stringify(inputs);
  const [wish, setWish] = useState({ key, pages: 1 });
  const pages = wish.key === key ? wish.pages : 1;
  const { data, error, loading, reload } = useData(
    async (signal) => {
      const rows: Row[] = [];
      let cursor: string | null | undefined;
      for (let page = 0; page < pages && cursor !== null; page++) {
        const answer: Page<Row> = await take(load(cursor, signal));
        rows.push(...answer.data);
        cursor = answer.next_cursor;
      }
      return { rows, hasMore: cursor !== null };
    },
    [key],
    { everyMs, more: pages },
  );
  return {
    rows: data?.rows,
    error,
    loading,
    hasMore: data?.hasMore ?? false,
    more: () => setWish({ key, pages: pages + 1 }),
    reload,
  };
}
