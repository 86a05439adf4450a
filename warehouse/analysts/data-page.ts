import { CLICK_COLUMNS, CLICK_RECORD_VERSION } from '../../core/clicks/click-record.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { COLUMN_TEXTS, type ColumnText, DICTIONARIES, OWN_TEXTS, RELATIONS } from './columns.ts';
import { ANALYST_READS } from './reads.ts';

/** A column as ClickHouse has it. */
interface Column {
  readonly table: string;
  readonly name: string;
  readonly type: string;
}

/** The columns of what analysts may read, in their order. */
async function readColumns(warehouse: Warehouse): Promise<Column[]> {
  const names = [...ANALYST_READS.views, ...ANALYST_READS.tables];
  const { rows } = await warehouse.query<Column>(
    `SELECT table, name, type FROM system.columns
     WHERE database = currentDatabase() AND table IN ({names:Array(String)}) ORDER BY table, position`,
    { names },
  );
  return rows;
}

/** Names of columns without a text, and texts without a column. */
export async function missingTexts(warehouse: Warehouse): Promise<string[]> {
  const columns = await readColumns(warehouse);
  const known = new Set(columns.flatMap(({ table, name }) => [name, `${table}.${name}`]));
  const texts = [...Object.keys(COLUMN_TEXTS), ...Object.keys(OWN_TEXTS)];
  return [
    ...columns.filter(({ name }) => !(name in COLUMN_TEXTS)).map(({ table, name }) => `${table}.${name}`),
    ...texts.filter((text) => !known.has(text)),
  ];
}

/** The page docs/data.md. */
export async function renderDataPage(warehouse: Warehouse): Promise<string> {
  const columns = await readColumns(warehouse);
  const relation = (name: string): string =>
    renderRelation(
      name,
      columns.filter(({ table }) => table === name),
    );
  return `${[
    '# Data for analysts',
    'Every table and view of ClickHouse that an analyst may read, made by `npx vitest run warehouse/analysts/data-page -u` from `warehouse/analysts/columns.ts` and the types that ClickHouse gives. `npx afflux analyst` prints the login, `npx afflux analyst --program prg_1` that of one program; the portal’s page Analysts says what to enter in Grafana, Metabase, DBeaver, Superset and Python. Limits are in [warehouse](warehouse.md#the-embedded-engine).',
    'Personal data are marked; `afflux erase` and time remove them ([privacy](privacy.md)). Ids are the numbers in the ids of the API: `campaign_id` 12 is `cmp_12`. Empty texts and 0 mean that something is not known, unless a column is nullable.',
    '## Views',
    'Analysts of one program read these alone, and in them the rows of their program; analysts of every program read all rows. They have money in units of its currency, names beside ids, and counts that every client can read. Which rows a view shows follows from the setting `query_cache_tag`, which is fixed for an analyst to the user’s name; a user without it, such as the platform’s own, sees no row.',
    ...ANALYST_READS.views.map(relation),
    '## Tables',
    ...ANALYST_READS.tables.map(relation),
    '## Dictionaries',
    table(
      ['dictionary', 'meaning', 'example'],
      ANALYST_READS.dictionaries.map((name) => [
        `\`${name}\``,
        DICTIONARIES[name]?.meaning ?? '',
        `\`${DICTIONARIES[name]?.example ?? ''}\``,
      ]),
    ),
    '## Clicks in the stream',
    `A message of the stream \`CLICKS\` is a batch of rows in RowBinary, layout ${CLICK_RECORD_VERSION} (header \`Afflux-Version\`): these columns one behind the other, integers little-endian, texts with a LEB128 length, \`IPv6\` in network order, times as 64-bit milliseconds ([stream](architecture.md), [layouts](warehouse.md#versions-of-the-click-record)).`,
    table(
      ['column', 'type', 'unit', 'meaning', 'example'],
      CLICK_COLUMNS.map(({ name, type }) => columnRow('clicks', { name, type })),
    ),
  ].join('\n\n')}\n`;
}

function renderRelation(name: string, columns: readonly Column[]): string {
  const { row, kept, notes } = RELATIONS[name] ?? { row: '', kept: '', notes: undefined };
  return [
    `### ${name}`,
    `One row is ${row}. Kept: ${kept}.${notes ? ` ${notes}` : ''}`,
    table(
      ['column', 'type', 'unit', 'meaning', 'example'],
      columns.map((column) => columnRow(name, column)),
    ),
  ].join('\n\n');
}

function columnRow(relation: string, { name, type }: { name: string; type: string }): string[] {
  const { unit, meaning, example }: ColumnText = OWN_TEXTS[`${relation}.${name}`] ??
    COLUMN_TEXTS[name] ?? { unit: '', meaning: '', example: '' };
  return [`\`${name}\``, `\`${type}\``, unit, meaning, example];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), `|${head.map(() => '---|').join('')}`, ...rows.map(line)].join('\n');
}
