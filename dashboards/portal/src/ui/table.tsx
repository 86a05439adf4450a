import type { ComponentChildren } from 'preact';
import { t } from '../text/t.ts';
import { Button, Loading, Problem } from './basics.tsx';

/**
 * A list as a table. On a narrow screen its rows are cards where they have buttons, which would be out of sight; any other
 * table scrolls by itself, also by the keyboard.
 */

export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row) => ComponentChildren;
  /** Figures and money stand at the right, so that their digits stand below each other. */
  readonly numeric?: boolean;
  /** The cell that names the row. */
  readonly head?: boolean;
}

export interface TableProps<Row> {
  /** Accessible name of the table. */
  readonly label: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly rowKey: (row: Row) => string;
}

export function Table<Row>({ label, columns, rows, rowKey }: TableProps<Row>) {
  const hasButtons = columns.some(({ title }) => title === '');
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard
    <section class={hasButtons ? 'table cards' : 'table'} aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {columns.map(({ title, numeric }) => (
              <th key={title} scope="col" class={numeric ? 'numeric' : undefined}>
                {title === '' ? <span class="hidden">{t('table.actions')}</span> : title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={rowKey(row)}>
              {columns.map((column) => {
                const Cell = column.head ? 'th' : 'td';
                return (
                  <Cell
                    key={column.title}
                    scope={column.head ? 'row' : undefined}
                    class={column.numeric ? 'numeric' : undefined}
                    data-title={column.title}
                  >
                    {column.cell(row)}
                  </Cell>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** Pages of a list, as {@link usePages} loads them. */
export interface Pages<Row> {
  readonly rows: readonly Row[] | undefined;
  readonly error: unknown;
  readonly loading: boolean;
  readonly hasMore: boolean;
  readonly more: () => void;
  readonly reload: () => void;
}

/** A table with its loading, empty and error states and a button for the next page. */
export function ListTable<Row>(
  props: Omit<TableProps<Row>, 'rows'> & { list: Pages<Row>; empty: ComponentChildren },
) {
  const { list, empty, ...table } = props;
  const { rows } = list;
  if (rows === undefined) {
    return list.error === undefined ? <Loading /> : <Problem error={list.error} onRetry={list.reload} />;
  }
  return (
    <>
      {list.error !== undefined && <Problem error={list.error} onRetry={list.reload} />}
      {rows.length === 0 ? empty : <Table {...table} rows={rows} />}
      {list.hasMore && (
        <div class="more">
          <Button onClick={list.more} busy={list.loading}>
            {t('common.show_more')}
          </Button>
        </div>
      )}
    </>
  );
}
