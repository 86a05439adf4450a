import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { List } from '../data/use-list.ts';
import { formatCalendarDay } from '../text/format.ts';
import { listed, t } from '../text/t.ts';
import { Button } from './basics.tsx';
import { type Choice, Select, TextField } from './forms.tsx';
import type { Column } from './table.tsx';

/** What stands above a list: search, filters, days, the export of what they select, and its print. */

export interface Filter {
  /** The API's name of the parameter. */
  readonly name: string;
  readonly label: string;
  /** Without that for all. */
  readonly choices: readonly Choice[];
}

export interface Tools {
  /** What can be searched for; without it there is no search. */
  readonly search?: string;
  readonly filters?: readonly Filter[];
  /** Whether the list can be narrowed to days. */
  readonly days?: boolean;
  /** The path of its export. */
  readonly file?: string;
  readonly more?: ComponentChildren;
}

/** Choices of codes by their names, or of partners by theirs, in the order of names. */
export function choicesOf(names: ReadonlyMap<string, string>): Choice[] {
  return [...names]
    .map(([value, text]) => ({ value, text }))
    .toSorted((a, b) => a.text.localeCompare(b.text));
}

/** Choices of what has an id and a name; none while it is loading. */
export function namesOf(named: readonly { readonly id: string; readonly name: string }[] = []): Choice[] {
  return choicesOf(new Map(named.map(({ id, name }) => [id, name])));
}

export function isFiltered(list: Pick<List<unknown>, 'selected'>): boolean {
  return Object.entries(list.selected).some(([name, value]) => name !== 'sort' && value !== '');
}

export function ListTools<Row>(props: {
  list: List<Row>;
  tools: Tools;
  columns: readonly Pick<Column<Row>, 'title' | 'sort'>[];
  label: string;
}) {
  const { list, tools, columns, label } = props;
  const { search, filters = [], days, file, more } = tools;
  const { selected, select } = list;
  return (
    <>
      <search class="filters above" aria-label={label}>
        {search !== undefined && <SearchField list={list} what={search} />}
        {filters.map(({ name, label: title, choices }) => (
          <Select
            key={name}
            label={title}
            value={selected[name] ?? ''}
            onChange={(value) => select({ [name]: value })}
            choices={[{ value: '', text: t('common.all') }, ...withChosen(choices, selected[name] ?? '')]}
          />
        ))}
        {days && <Days selected={selected} select={select} />}
        <SortSelect list={list} columns={columns} />
        {more}
        <div class="actions list-actions">
          {file !== undefined && (
            <a
              class="button"
              href={`${file}?${new URLSearchParams(list.selection)}`}
              aria-label={t('list.export_of_list', { list: label })}
              download
            >
              {t('common.export')}
            </a>
          )}
          <Print list={list} label={label} />
        </div>
      </search>
      <p class="print-only">{selectionText(selected, filters)}</p>
    </>
  );
}

/** What the address names and the choices lack, such as a partner whose name is not loaded yet, is shown as it is. */
function withChosen(choices: readonly Choice[], chosen: string): readonly Choice[] {
  if (chosen === '' || choices.some(({ value }) => value === chosen)) return choices;
  return [...choices, { value: chosen, text: chosen }];
}

const SEARCH_AFTER_MS = 250;

/** Searches a moment after the last letter; what is typed in one go is one step back. */
function SearchField<Row>({ list, what }: { list: List<Row>; what: string }) {
  const given = list.selected.search ?? '';
  const [text, setText] = useState(given);
  const sent = useRef(given);
  useEffect(() => {
    // Changed by Back, by a link, or by clearing the filters.
    if (given !== sent.current) {
      sent.current = given;
      setText(given);
    }
  }, [given]);
  useEffect(() => {
    if (text === sent.current) return;
    const timer = setTimeout(() => {
      const replace = sent.current !== '';
      sent.current = text;
      list.select({ search: text }, { replace });
    }, SEARCH_AFTER_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <TextField label={t('list.search')} type="search" value={text} onChange={setText} placeholder={what} />
  );
}

function Days({ selected, select }: Pick<List<unknown>, 'selected' | 'select'>) {
  const { from = '', to = '' } = selected;
  return (
    <>
      <TextField
        label={t('list.from_day')}
        type="date"
        value={from}
        onChange={(day) => select({ from: day }, { replace: from !== '' })}
      />
      <TextField
        label={t('list.to_day')}
        type="date"
        value={to}
        onChange={(day) => select({ to: day }, { replace: to !== '' })}
      />
    </>
  );
}

/** In the place of the heads of columns, which cards do not have. */
function SortSelect<Row>(props: {
  list: List<Row>;
  columns: readonly Pick<Column<Row>, 'title' | 'sort'>[];
}) {
  const { list, columns } = props;
  const choices = columns.flatMap(({ title, sort }) =>
    sort === undefined
      ? []
      : [
          { value: sort, text: t('list.ascending', { column: title }) },
          { value: `-${sort}`, text: t('list.descending', { column: title }) },
        ],
  );
  if (choices.length === 0) return null;
  return (
    <div class="narrow-only">
      <Select
        label={t('list.sorted_by')}
        value={list.selected.sort ?? ''}
        onChange={(sort) => list.select({ sort })}
        choices={[{ value: '', text: t('list.own_order') }, ...choices]}
      />
    </div>
  );
}

/** Prints every row, so that what is on paper is the list and not its first page. */
function Print<Row>({ list, label }: { list: List<Row>; label: string }) {
  const [isAsked, setAsked] = useState(false);
  useEffect(() => {
    if (!isAsked || !list.isWhole) return;
    setAsked(false);
    window.print();
  }, [isAsked, list.isWhole]);
  return (
    <Button
      busy={isAsked}
      label={t('list.print_list', { list: label })}
      onClick={() => {
        list.all();
        setAsked(true);
      }}
    >
      {t('list.print')}
    </Button>
  );
}

/** What is selected, for paper, where fields are left out. */
function selectionText(selected: List<unknown>['selected'], filters: readonly Filter[]): string {
  const { search = '', from = '', to = '' } = selected;
  const parts = filters.flatMap(({ name, label, choices }) => {
    const chosen = choices.find(({ value }) => value === selected[name]);
    return chosen ? [`${label}: ${chosen.text}`] : [];
  });
  if (search !== '') parts.push(`${t('list.search')}: ${search}`);
  if (from !== '') parts.push(`${t('list.from_day')}: ${formatCalendarDay(from)}`);
  if (to !== '') parts.push(`${t('list.to_day')}: ${formatCalendarDay(to)}`);
  return listed(parts);
}
