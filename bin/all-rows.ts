import { MAX_PAGE_ROWS, type Page, type PageRequest } from '../ledger/postgres/page.ts';

/** Every row of a list that the ledger gives by pages. */
export async function allRows<Row>(
  read: (request: PageRequest<number>) => Promise<Page<Row, number>>,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (let after: number | undefined; ; ) {
    const page = await read({ limit: MAX_PAGE_ROWS, ...(after !== undefined && { after }) });
    rows.push(...page.rows);
    if (page.next === null) return rows;
    after = page.next;
  }
}
