import type { ComponentChildren } from 'preact';
import type { List } from '../data/use-list.ts';
import { t } from '../text/t.ts';
import { Button, Empty, Loading, Problem } from './basics.tsx';
import { isFiltered, ListTools, type Tools } from './list-tools.tsx';

/** A list as a table; on a narrow screen its rows are cards, so that no column is out of sight. */

export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row) => ComponentChildren;
  /** Figures and money stand at the right, so that their digits stand below each other. */
  readonly numeric?: boolean;
  /** The cell that names the row. */
  readonly head?: boolean;
  /** The API's name of what the column is sorted by. */
  readonly sort?: string;
}

export interface TableProps<Row> {
  /** Accessible name of the table. */
  readonly label: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly rowKey: (row: Row) => string;
  /** The sort in force, and how to change it. */
  readonly sort?: { readonly by: string; readonly change: (by: string) => void };
}

export function Table<Row>({ label, columns, rows, rowKey, sort }: TableProps<Row>) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard
    <section class="table" aria-label={label} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {columns.map((column) => (
              <Head key={column.title} column={column} sort={sort} />
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

function Head<Row>({ column, sort }: { column: Column<Row>; sort: TableProps<Row>['sort'] }) {
  const { title, numeric, sort: name } = column;
  const className = numeric ? 'numeric' : undefined;
  if (title === '') {
    return (
      <th scope="col">
        <span class="hidden">{t('table.actions')}</span>
      </th>
    );
  }
  if (name === undefined || !sort) {
    return (
      <th scope="col" class={className}>
        {title}
      </th>
    );
  }
  const direction = sort.by === name ? 'ascending' : sort.by === `-${name}` ? 'descending' : 'none';
  // The highest amount and the newest row are looked for first; names from their beginning.
  const steps = numeric || name.endsWith('_at') || name === 'at' ? [`-${name}`, name] : [name, `-${name}`];
  const next = sort.by === steps[0] ? steps[1] : sort.by === steps[1] ? '' : steps[0];
  return (
    <th scope="col" class={className} aria-sort={direction}>
      <button type="button" class="sort" onClick={() => sort.change(next ?? '')}>
        {title}
        <span class="sort-sign" aria-hidden="true">
          {direction === 'ascending' ? '▲' : direction === 'descending' ? '▼' : '↕'}
        </span>
      </button>
    </th>
  );
}

/** A table with what selects its rows, its loading, empty and error states, and a button for the next page. */
export function ListTable<Row>(
  props: Omit<TableProps<Row>, 'rows' | 'sort'> & {
    list: List<Row>;
    empty: ComponentChildren;
    tools?: Tools;
  },
) {
  const { list, empty, tools, ...table } = props;
  const { rows } = list;
  const sort = { by: list.selected.sort ?? '', change: (by: string) => list.select({ sort: by }) };
  const isEmpty = rows?.length === 0;
  return (
    <>
      {tools && <ListTools list={list} tools={tools} columns={table.columns} label={table.label} />}
      {rows === undefined && list.error === undefined && <Loading />}
      <Problem error={list.error} onRetry={list.reload} />
      {rows && !isEmpty && <Table {...table} rows={rows} sort={sort} />}
      {isEmpty && (isFiltered(list) ? <NothingFound list={list} /> : empty)}
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

function NothingFound<Row>({ list }: { list: List<Row> }) {
  const { sort: _, ...filters } = list.selected;
  const clear = () => list.select(Object.fromEntries(Object.keys(filters).map((name) => [name, ''])));
  return (
    <Empty title={t('list.nothing_found')}>
      <Button onClick={clear}>{t('list.show_all')}</Button>
    </Empty>
  );
}
