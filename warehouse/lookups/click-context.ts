import type { ClickIdentity } from '../../core/clicks/click-id.ts';
import { assert } from '../../core/errors.ts';
import { UNKNOWN_IP } from '../../core/ip.ts';
import type { Warehouse } from '../clickhouse/client.ts';
import { addresses, numbers } from '../clickhouse/literals.ts';
import { networkText } from '../reports/report-tables.ts';
import { subnetSql } from './subjects.ts';
import { VELOCITY_TABLES, type VelocityKey } from './velocity.ts';

/** The keys of one click's context; the order's own address where the shop gave it. */
export interface ContextQuestion extends ClickIdentity {
  readonly ip: string;
  readonly fingerprint: bigint;
  readonly orderIp: string | null;
}

/** The surroundings of a click. */
export interface ClickContext {
  /** Clicks of the same key in the 60 whole minutes before the click's own; null: its address is not known. */
  readonly clicksBefore: Readonly<Record<VelocityKey, number | null>>;
  /** ISO 3166 codes by the current list of networks; empty where it has none. */
  readonly country: string;
  readonly orderCountry: string;
  /** The autonomous system that announces the click's address now, such as "AS680 DFN"; empty where none is known. */
  readonly network: string;
}

/** The velocity tables forget older clicks; a click has a context while its whole hour is in them. */
export const CONTEXT_HOURS = 25;
/** The same limit as that of look-ups. */
export const MAX_QUESTIONS = 10_000;
const SETTINGS = { max_query_size: 4 * 1024 * 1024, max_execution_time: 20 } as const;

/**
 * The context of clicks in one query, one answer a question in the same order. Whole minutes only, so that the
 * answer is always the same once every click before these is stored.
 */
export async function readClickContexts(
  warehouse: Warehouse,
  questions: readonly ContextQuestion[],
): Promise<ClickContext[]> {
  if (questions.length === 0) return [];
  assert(questions.length <= MAX_QUESTIONS, `at most ${MAX_QUESTIONS} clicks at once`);
  const minutes = questions.map(({ ts }) => Math.floor(ts / 60_000));
  const asked = [
    numbers(
      'UInt32',
      questions.map((_, index) => index),
    ),
    numbers('UInt32', minutes),
    addresses(questions.map(({ ip }) => ip)),
    addresses(questions.map(({ orderIp }) => orderIp ?? UNKNOWN_IP)),
    numbers(
      'UInt64',
      questions.map(({ fingerprint }) => fingerprint),
    ),
  ];
  const [first, last] = [minutes.reduce((a, b) => Math.min(a, b)), minutes.reduce((a, b) => Math.max(a, b))];
  // Bounds of milliseconds: against a DateTime, ClickHouse 26.7 leaves out parts of that very second.
  const counted = (key: VelocityKey): string => `
    SELECT index, '${key}' AS kind, toString(sum(clicks)) AS value FROM (
      SELECT ${key} AS key, toUInt32(intDiv(toUnixTimestamp64Milli(ts), 60000)) AS at, count() AS clicks
      FROM ${VELOCITY_TABLES[key]}
      WHERE ${key === 'ip' ? '(subnet, ip) IN (SELECT subnet, ip FROM asked)' : `${key} IN (SELECT ${key} FROM asked)`}
        AND ts >= fromUnixTimestamp64Milli(${(first - 60) * 60_000}, 'UTC') AND ts < fromUnixTimestamp64Milli(${last * 60_000}, 'UTC')
      GROUP BY key, at
    ) AS v INNER JOIN asked ON v.key = asked.${key}
    WHERE v.at >= asked.at - 60 AND v.at < asked.at GROUP BY index`;
  const { rows: answers } = await warehouse.query<{ index: number; kind: string; value: string }>(
    `WITH asked AS (
       SELECT a.1 AS index, a.2 AS at, toIPv6(a.3) AS ip, toIPv6(a.4) AS order_ip, a.5 AS fingerprint,
         ${subnetSql('ip')} AS subnet
       FROM (SELECT arrayJoin(arrayZip(${asked.join(', ')})) AS a)
     )
     ${counted('ip')} UNION ALL ${counted('subnet')} UNION ALL ${counted('fingerprint')}
     UNION ALL SELECT index, 'country', dictGet('geo', 'country', ip) FROM asked
     UNION ALL SELECT index, 'network', ${networkText('asn')} FROM (SELECT index, dictGet('asn', 'asn', ip) AS asn FROM asked)
     UNION ALL SELECT index, 'order_country', dictGet('geo', 'country', order_ip) FROM asked WHERE order_ip != toIPv6('${UNKNOWN_IP}')`,
    {},
    SETTINGS,
  );
  const contexts = questions.map(({ ip }) => ({
    clicksBefore: noClicksBefore(ip),
    country: '',
    orderCountry: '',
    network: '',
  }));
  for (const { index, kind, value } of answers) {
    const context = contexts[index];
    assert(context, 'an answer belongs to a question');
    if (kind === 'country') context.country = value;
    else if (kind === 'order_country') context.orderCountry = value;
    else if (kind === 'network') context.network = value;
    else if (context.clicksBefore[kind as VelocityKey] !== null) {
      context.clicksBefore[kind as VelocityKey] = Number(value);
    }
  }
  return contexts;
}

/** Visitors without an address are not one visitor: how many clicks they have together says nothing. */
function noClicksBefore(ip: string): Record<VelocityKey, number | null> {
  const ofAddress = ip === UNKNOWN_IP ? null : 0;
  return { ip: ofAddress, subnet: ofAddress, fingerprint: 0 };
}
