import { InputError } from '../../core/errors.ts';
import { formatIp, parseIp } from '../../core/ip.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { quotedName } from '../clickhouse/cluster.ts';

/** Rows with an address, before and after it was erased. */
export interface Erasure {
  readonly table: string;
  readonly before: number;
  readonly after: number;
}

/** Waits for the rewriting of the parts on every replica. */
const WAIT = { mutations_sync: 2, lightweight_deletes_sync: 2 } as const;

/**
 * Erases the personal data behind an address: its clicks keep their counts and their fingerprint, which thousands
 * share, and lose address, network, country, user agent, referrer and query; the mirror and the day's velocity lose the
 * address. Rollups hold no address that could be read back, and count as before. Messages that are still in the clicks
 * stream expire within 72 hours.
 * @throws InputError `ip`.
 */
export async function eraseAddress(warehouse: Warehouse, ip: string): Promise<Erasure[]> {
  const bytes = parseIp(ip);
  if (!bytes) throw new InputError('ip', 'must be an IPv4 or IPv6 address');
  const params = { ip: formatIp(bytes) };
  const target = 'ip = toIPv6({ip:String})';
  const tables = ['clicks', 'conversions', 'velocity_ip'] as const;
  const count = async (table: string): Promise<number> => {
    const { rows } = await warehouse.query<{ found: string }>(
      `SELECT count() AS found FROM ${table} WHERE ${target}`,
      params,
    );
    return Number(rows[0]?.found);
  };
  const before = await Promise.all(tables.map(count));
  // The columns computed from the address (network, country) and the look-ups' projections are rewritten with it.
  // With the database: not every statement for all servers gets that of the connection.
  const of = (table: string): string => `${quotedName(warehouse.database)}.${table}`;
  await warehouse.everywhere(
    `ALTER TABLE ${of('clicks')} UPDATE ip = toIPv6('::'), user_agent = '', referrer = '', query = '' WHERE ${target}`,
    params,
    WAIT,
  );
  await warehouse.everywhere(
    `ALTER TABLE ${of('conversions')} UPDATE ip = toIPv6('::') WHERE ${target}`,
    params,
    WAIT,
  );
  await warehouse.everywhere(`DELETE FROM ${of('velocity_ip')} WHERE ${target}`, params, WAIT);
  const after = await Promise.all(tables.map(count));
  return tables.map((table, i) => ({ table, before: before[i] ?? 0, after: after[i] ?? 0 }));
}
