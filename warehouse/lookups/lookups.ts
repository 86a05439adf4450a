import type { Table } from 'apache-arrow';
import { type ClickIdentity, clickIdentityKey } from '../../core/clicks/click-id.ts';
import { assert } from '../../core/errors.ts';
import { formatIp } from '../../core/ip.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { addresses, numbers } from '../clickhouse/literals.ts';

/** A stored click as attribution needs it. */
export interface StoredClick extends ClickIdentity {
  readonly programId: number;
  readonly campaignId: number;
  readonly affiliateId: number;
  readonly linkId: number;
  /** Dotted IPv4 or compressed IPv6. */
  readonly ip: string;
  readonly fingerprint: bigint;
  /** Bits of `ClickFlag`. */
  readonly flags: number;
  /** sub1 to sub5; '' where the click has none. */
  readonly subs: readonly string[];
}

export const MAX_LOOKUP_IDENTITIES = 10_000;
export const MAX_CANDIDATE_REQUESTS = 1_000;
/** Clicks returned for one request: enough to tell one affiliate from several. */
const CANDIDATES_PER_REQUEST = 100;

/** The values are part of the text, because a URL has no room for ten thousand; they are numbers and addresses only. */
export const LOOKUP_SETTINGS = {
  max_query_size: 4 * 1024 * 1024,
  // Row numbers of the inner query are those of the outer only in one and the same state of the table.
  enable_shared_storage_snapshot_in_query: 1,
} as const;

const CLICK_EXPRESSIONS = `toUnixTimestamp64Milli(ts) AS ts_ms, node, seq, program_id, campaign_id, affiliate_id,
  link_id, ip, fingerprint, flags, sub1, sub2, sub3, sub4, sub5`;

/** The network of an address that stands for a visitor, or for a shortened address: /24 of IPv4, /48 of IPv6; its first address or its last. */
export const visitorNetwork = (ip: string, end: 'first' | 'last'): string =>
  `tupleElement(IPv6CIDRToRange(${ip}, if(${ip} BETWEEN toIPv6('::ffff:0.0.0.0') AND toIPv6('::ffff:255.255.255.255'), 120, 48)), ${end === 'first' ? 1 : 2})`;
/** The column `visitor` of clicks, which is the sort key of the projection by_visitor_key, for an order. */
const visitorOf = (fingerprint: string, ip: string): string =>
  `toUInt32(cityHash64(${fingerprint}, ${visitorNetwork(ip, 'first')}))`;

/**
 * Finds clicks by identity, up to 10,000 in one query; those not stored are missing from the answer.
 * The inner query reads the projection sorted by time, the outer only the granules it names. Every click of these
 * milliseconds comes back: a thousand clicks a second make one, fifty thousand make fifty.
 */
export async function lookupClicks(
  warehouse: Warehouse,
  identities: readonly ClickIdentity[],
): Promise<StoredClick[]> {
  if (identities.length === 0) return [];
  assert(identities.length <= MAX_LOOKUP_IDENTITIES, `at most ${MAX_LOOKUP_IDENTITIES} identities at once`);
  const table = await warehouse.queryArrow(
    `SELECT ${CLICK_EXPRESSIONS} FROM clicks WHERE ${atTimes(identities.map(({ ts }) => ts))}`,
    {},
    LOOKUP_SETTINGS,
  );
  // Filtered here: the engine would have to read more columns of every granule.
  const wanted = new Set(identities.map(clickIdentityKey));
  return storedClicks(table).filter((click) => wanted.has(clickIdentityKey(click)));
}

/** A search for the clicks of a fingerprint from a network, between two times (Unix milliseconds, both inside). */
export interface CandidateRequest {
  readonly fingerprint: bigint;
  /** IPv4 or IPv6; its /24 or /48 counts. */
  readonly ip: string;
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * For each request the clicks of the same fingerprint and network, newest first, at most 100 each.
 * @throws InputError `ip` when an address is not one.
 */
export async function fingerprintCandidates(
  warehouse: Warehouse,
  requests: readonly CandidateRequest[],
): Promise<StoredClick[][]> {
  const candidates: StoredClick[][] = requests.map(() => []);
  if (requests.length === 0) return candidates;
  assert(requests.length <= MAX_CANDIDATE_REQUESTS, `at most ${MAX_CANDIDATE_REQUESTS} requests at once`);
  // As literals: of a subquery the engine does not know the values before it chooses how to read, and reads every row.
  const { rows: visitors } = await warehouse.query<{ visitor: number }>(
    `SELECT DISTINCT ${visitorOf('wanted', 'address')} AS visitor FROM (${requestRows(requests)})`,
    {},
    LOOKUP_SETTINGS,
  );
  const table = await warehouse.queryArrow(
    `WITH requests AS (${requestRows(requests)})
     SELECT request, ${CLICK_EXPRESSIONS}
     FROM (
       SELECT * FROM clicks
       WHERE ${atRowsWhere(`visitor IN (${visitors.map(({ visitor }) => visitor).join()})`)}
         AND ts BETWEEN fromUnixTimestamp64Milli({minMs:Int64}) AND fromUnixTimestamp64Milli({maxMs:Int64})
     ) AS found
     INNER JOIN requests ON found.fingerprint = requests.wanted
     WHERE found.ip BETWEEN ${visitorNetwork('requests.address', 'first')} AND ${visitorNetwork('requests.address', 'last')}
       AND ts BETWEEN fromUnixTimestamp64Milli(from_ms) AND fromUnixTimestamp64Milli(to_ms)
     ORDER BY request, ts DESC, node, seq
     LIMIT ${CANDIDATES_PER_REQUEST} BY request`,
    {
      minMs: Math.min(...requests.map((request) => request.fromMs)),
      maxMs: Math.max(...requests.map((request) => request.toMs)),
    },
    LOOKUP_SETTINGS,
  );
  const request = column<number>(table, 'request');
  for (const [i, click] of storedClicks(table).entries()) candidates[request(i)]?.push(click);
  return candidates;
}

/** Rows of `clicks` that `condition` names, found by their numbers through the projection that is sorted for it. */
function atRowsWhere(condition: string): string {
  const row = '_part_starting_offset + _part_offset';
  return `${row} IN (SELECT ${row} FROM clicks WHERE ${condition})`;
}

/** Rows of `clicks` at one of these times, Unix milliseconds, under {@link LOOKUP_SETTINGS}. */
export function atTimes(times: readonly number[]): string {
  const list = numbers('Int64', times);
  return atRowsWhere(`ts IN (SELECT fromUnixTimestamp64Milli(arrayJoin(${list}), 'UTC'))`);
}

function requestRows(requests: readonly CandidateRequest[]): string {
  const fingerprints = numbers(
    'UInt64',
    requests.map((request) => request.fingerprint),
  );
  const ips = addresses(requests.map((request) => request.ip));
  const from = numbers(
    'Int64',
    requests.map((request) => request.fromMs),
  );
  const to = numbers(
    'Int64',
    requests.map((request) => request.toMs),
  );
  const indexes = numbers(
    'UInt32',
    requests.map((_, index) => index),
  );
  return `SELECT r.1 AS request, r.2 AS wanted, toIPv6(r.3) AS address, r.4 AS from_ms, r.5 AS to_ms
    FROM (SELECT arrayJoin(arrayZip(${indexes}, ${fingerprints}, ${ips}, ${from}, ${to})) AS r)`;
}

/** A reader of a column's rows. */
function column<T>(table: Table, name: string): (row: number) => T {
  const vector = table.getChild(name);
  assert(vector, `the answer has a column ${name}`);
  return (row) => vector.get(row) as T;
}

function storedClicks(table: Table): StoredClick[] {
  const ts = column<bigint>(table, 'ts_ms');
  const node = column<number>(table, 'node');
  const seq = column<number>(table, 'seq');
  const programId = column<number>(table, 'program_id');
  const campaignId = column<number>(table, 'campaign_id');
  const affiliateId = column<number>(table, 'affiliate_id');
  const linkId = column<number>(table, 'link_id');
  const ip = column<Uint8Array>(table, 'ip');
  const fingerprint = column<bigint>(table, 'fingerprint');
  const flags = column<number>(table, 'flags');
  const subs = ['sub1', 'sub2', 'sub3', 'sub4', 'sub5'].map((name) => column<string>(table, name));
  return Array.from({ length: table.numRows }, (_, row) => ({
    ts: Number(ts(row)),
    node: node(row),
    seq: seq(row),
    programId: programId(row),
    campaignId: campaignId(row),
    affiliateId: affiliateId(row),
    linkId: linkId(row),
    ip: formatIp(ip(row)),
    fingerprint: fingerprint(row),
    flags: flags(row),
    subs: subs.map((sub) => sub(row)),
  }));
}
