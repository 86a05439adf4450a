import { type KeyObject, sign, verify } from 'node:crypto';
import { DAY_MS } from '../../core/time.ts';
import { timeText, type Warehouse } from '../clickhouse/client.ts';
import { readWatermark } from '../watermark/watermark.ts';

/** An affiliate's clicks of one UTC day, as they were when every click of that day was stored. */
interface DayCount {
  readonly day: string;
  readonly affiliate: number;
  readonly clicks: string;
  readonly valid: string;
}

/** Days that are counted again and compared. */
const CHECKED_DAYS = 35;

/** The signed text: the public key is enough to check it. */
function statement({ day, affiliate, clicks, valid }: DayCount): Buffer {
  return Buffer.from(`afflux-daily-count ${day} ${affiliate} ${clicks} ${valid}`);
}

const COUNTS = `SELECT toString(toDate(hour)) AS day, affiliate_id AS affiliate,
    toString(sumIf(h.clicks, flag_group != 'impression')) AS clicks, toString(sumIf(h.clicks, flag_group IN ('ok', 'repeat'))) AS valid
  FROM clicks_hourly AS h
  WHERE hour >= toDateTime({from:Date}, 'UTC') AND hour < toDateTime({to:Date}, 'UTC')
  GROUP BY day, affiliate`;

/**
 * Signs the counts of every day that is complete and not signed yet, at most the last 35. Returns how many counts it
 * signed. `key` is an Ed25519 private key.
 */
export async function signDailyCounts(
  warehouse: Warehouse,
  options: { key: KeyObject; now: number },
): Promise<number> {
  const range = await completeDays(warehouse);
  if (!range) return 0;
  const { rows } = await warehouse.query<DayCount>(
    `SELECT * FROM (${COUNTS}) WHERE toDate(day) NOT IN (SELECT day FROM signed_counts) ORDER BY day, affiliate`,
    range,
  );
  if (rows.length === 0) return 0;
  await warehouse.insertRows(
    'signed_counts',
    rows.map((count) => ({
      day: count.day,
      affiliate_id: count.affiliate,
      clicks: count.clicks,
      valid_clicks: count.valid,
      signed_at: timeText(options.now),
      signature: sign(null, statement(count), options.key).toString('base64'),
    })),
  );
  return rows.length;
}

/**
 * Counts the signed days again. Returns how many counts were compared, and the first that differs or whose signature
 * is not valid. `key` is the public key.
 */
export async function checkSignedCounts(
  warehouse: Warehouse,
  options: { key: KeyObject },
): Promise<{ compared: number; fault: string | undefined }> {
  const range = await completeDays(warehouse);
  if (!range) return { compared: 0, fault: undefined };
  const { rows: signed } = await warehouse.query<DayCount & { signature: string }>(
    `SELECT toString(day) AS day, affiliate_id AS affiliate, toString(clicks) AS clicks, toString(valid_clicks) AS valid, signature
     FROM signed_counts AS s FINAL WHERE s.day >= {from:Date} AND s.day < {to:Date} ORDER BY day, affiliate`,
    range,
  );
  const { rows: counted } = await warehouse.query<DayCount>(COUNTS, range);
  const now = new Map(counted.map((count) => [`${count.day} ${count.affiliate}`, count]));
  for (const count of signed) {
    const { day, affiliate, clicks, valid } = count;
    const what = `affiliate ${affiliate} on ${day}`;
    if (!verify(null, statement(count), options.key, Buffer.from(count.signature, 'base64'))) {
      return { compared: signed.length, fault: `${what}: the signature is not valid` };
    }
    const again = now.get(`${day} ${affiliate}`);
    if (again?.clicks !== clicks || again.valid !== valid) {
      const found = `${again?.clicks ?? 0} clicks (${again?.valid ?? 0} valid)`;
      return { compared: signed.length, fault: `${what}: signed ${clicks} (${valid} valid), now ${found}` };
    }
  }
  return { compared: signed.length, fault: undefined };
}

/** Signed counts of an affiliate in a half-open range of days, the newest first, with the signed text. */
export async function readSignedCounts(
  warehouse: Warehouse,
  options: { affiliateId: number; from: Date; to: Date },
): Promise<
  { day: string; clicks: string; valid: string; signedAt: Date; signature: string; statement: string }[]
> {
  const { affiliateId, from, to } = options;
  const { rows } = await warehouse.query<DayCount & { signature: string; signed_ms: string }>(
    `SELECT toString(day) AS day, affiliate_id AS affiliate, toString(clicks) AS clicks, toString(valid_clicks) AS valid,
       signature, toUnixTimestamp64Milli(signed_at) AS signed_ms
     FROM signed_counts AS s FINAL
     WHERE affiliate_id = {affiliateId:UInt32} AND s.day >= toDate(fromUnixTimestamp64Milli({from:Int64}))
       AND s.day < toDate(fromUnixTimestamp64Milli({to:Int64}))
     ORDER BY s.day DESC LIMIT 1000`,
    { affiliateId, from: from.getTime(), to: to.getTime() },
  );
  return rows.map(({ signature, signed_ms, affiliate: _, ...count }) => ({
    ...count,
    signature,
    signedAt: new Date(Number(signed_ms)),
    statement: statement({ ...count, affiliate: affiliateId }).toString(),
  }));
}

/** The days whose every click is stored: up to the one that the watermark stands in. */
async function completeDays(warehouse: Warehouse): Promise<{ from: string; to: string } | undefined> {
  const completeTo = await readWatermark(warehouse);
  if (completeTo === undefined) return undefined;
  const today = Math.floor(completeTo / DAY_MS) * DAY_MS;
  const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
  return { from: day(today - CHECKED_DAYS * DAY_MS), to: day(today) };
}
