import { clickIdentityKey, createClickIdCodec } from '../../core/clicks/click-id.ts';
import type { Config } from '../../core/config/config.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';
import type { ClientRecord } from './record.ts';

/** What became of the visitors' clicks. */
export interface ClickComparison {
  readonly requests: number;
  /** Redirects that visitors received. */
  readonly received: number;
  readonly stored: number;
  /** Received and not stored. */
  readonly lost: number;
  /** Rows too many: of one request, or of one identity. */
  readonly duplicated: number;
  /** Stored under another identity than the click id's, or never requested. */
  readonly foreign: number;
  /** The first few, in words. */
  readonly examples: readonly string[];
}

const REQUESTS_A_QUERY = 50_000;
const MAX_EXAMPLES = 10;

interface StoredRow {
  readonly request: string;
  readonly ts: string;
  readonly node: number;
  readonly seq: number;
}

/** Compares every redirect that was received with the rows that are stored, by request and by identity. */
export async function compareClicks(options: {
  warehouse: Warehouse;
  config: Config;
  record: ClientRecord;
}): Promise<ClickComparison> {
  const { warehouse, config, record } = options;
  const codec = createClickIdCodec(config.clickKeys);
  const received = new Map(record.clicks.map((click) => [click.request, click]));
  const identities = new Set<string>();
  const examples: string[] = [];
  const counts = { stored: 0, found: 0, duplicated: 0, foreign: 0 };
  const say = (text: string): void => void (examples.length < MAX_EXAMPLES && examples.push(text));

  for (let from = 0; from < record.requests; from += REQUESTS_A_QUERY) {
    const { rows } = await warehouse.query<StoredRow>(
      `SELECT sub1 AS request, toString(toUnixTimestamp64Milli(ts)) AS ts, node, seq FROM clicks
       WHERE toUInt32OrZero(sub1) >= {from:UInt32} AND toUInt32OrZero(sub1) < {to:UInt32}`,
      { from, to: from + REQUESTS_A_QUERY },
    );
    const requests = new Set<number>();
    for (const row of rows) {
      const identity = { ts: Number(row.ts), node: row.node, seq: row.seq };
      const key = clickIdentityKey(identity);
      const request = Number(row.request);
      counts.stored++;
      if (requests.has(request) || identities.has(key)) {
        counts.duplicated++;
        say(`request ${request} is stored twice, once as ${key}`);
        continue;
      }
      requests.add(request);
      identities.add(key);
      const click = received.get(request);
      if (!click) continue;
      const given = codec.decode(click.clickId);
      if (given && clickIdentityKey(given) === key) counts.found++;
      else {
        counts.foreign++;
        say(
          `request ${request} is stored as ${key} and was answered with ${given && clickIdentityKey(given)}`,
        );
      }
    }
    for (let request = from; request < from + REQUESTS_A_QUERY; request++) {
      const click = received.get(request);
      if (click && !requests.has(request)) say(`request ${request} is not stored: click id ${click.clickId}`);
    }
  }
  const { rows } = await warehouse.query<{ all: string }>('SELECT count() AS all FROM clicks');
  const unknown = Number(rows[0]?.all) - counts.stored;
  if (unknown > 0) say(`${unknown} rows are of no request`);
  return {
    requests: record.requests,
    received: received.size,
    stored: counts.stored,
    lost: received.size - counts.found - counts.foreign,
    duplicated: counts.duplicated,
    foreign: counts.foreign + unknown,
    examples,
  };
}
