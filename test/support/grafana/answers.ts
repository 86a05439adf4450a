import pg from 'pg';
import { CLICKHOUSE, POSTGRES } from '../../../dashboards/grafana/data-source-ids.ts';
import { askClickHouse } from '../engines.ts';
import type { TestLedger } from '../ledger.ts';
import { expandClickHouse, expandPostgres, type Situation } from './sample-data.ts';

/** What the engines answer to Grafana, with the types it would see. */

export type Kind = 'text' | 'number' | 'time';
export interface Answer {
  readonly columns: readonly { readonly name: string; readonly kind: Kind }[];
  readonly rows: readonly (readonly (string | number | null)[])[];
}

/** A query of a panel, an annotation or an alert, as it stands in the JSON. */
export interface Target {
  readonly refId: string;
  readonly datasource: { readonly uid: string };
  readonly rawSql: string;
  readonly format: number | string;
}

/** What Grafana makes of ClickHouse's types; others are not to be sent. */
function clickhouseKind(type: string): Kind {
  const plain = type.replace(/^(?:Nullable|LowCardinality)\((.*)\)$/, '$1');
  if (plain === 'String') return 'text';
  if (/^(U?Int(8|16|32|64)|Float64)$/.test(plain)) return 'number';
  if (/^DateTime(64\(\d.*\)|\('UTC'\))?$/.test(plain)) return 'time';
  throw new Error(`no panel reads a ${type}`);
}

/** By the numbers of PostgreSQL's types: bigint, integer, float8, text, timestamptz, timestamp. */
const POSTGRES_KINDS: Readonly<Record<number, Kind>> = {
  20: 'number',
  23: 'number',
  701: 'number',
  25: 'text',
  1184: 'time',
  1114: 'time',
};

export function createAsker(stores: { books: Pick<TestLedger, 'url'>; warehouse: { url: string } }) {
  const { books, warehouse } = stores;

  async function clickhouse(sql: string): Promise<Answer> {
    const format = { default_format: 'JSONCompact' };
    const response = await askClickHouse(warehouse.url, format, { method: 'POST', body: sql });
    const text = await response.text();
    if (!response.ok) throw new Error(`${text}\n${sql}`);
    const { meta, data } = JSON.parse(text) as {
      meta: { name: string; type: string }[];
      data: Answer['rows'];
    };
    return { columns: meta.map(({ name, type }) => ({ name, kind: clickhouseKind(type) })), rows: data };
  }

  /** As the role that Grafana has. */
  async function postgres(sql: string): Promise<Answer> {
    const client = new pg.Client(books.url);
    await client.connect();
    try {
      await client.query('set role afflux_grafana; set default_transaction_read_only = on');
      const { fields, rows } = await client.query({ text: sql, rowMode: 'array' });
      const columns = fields.map(({ name, dataTypeID: type }) => {
        const kind = POSTGRES_KINDS[type];
        if (!kind) throw new Error(`no panel reads type ${type} of ${name}\n${sql}`);
        return { name, kind };
      });
      return { columns, rows };
    } finally {
      await client.end();
    }
  }

  return {
    clickhouse,
    async ask(target: Pick<Target, 'datasource' | 'rawSql'>, situation: Situation): Promise<Answer> {
      const { uid } = target.datasource;
      if (uid === CLICKHOUSE.uid) return await clickhouse(expandClickHouse(target.rawSql, situation));
      if (uid === POSTGRES.uid) return await postgres(expandPostgres(target.rawSql, situation));
      throw new Error(`${uid} is no store of SQL`);
    },
  };
}

/** The names of the columns of a kind. */
export function columnsOf({ columns }: Answer, kind: Kind): string[] {
  return columns.filter((column) => column.kind === kind).map(({ name }) => name);
}
