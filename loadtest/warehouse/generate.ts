import UserAgent from 'user-agents';
import { CLICK_COLUMN_LIST } from '../../core/clicks/click-record.ts';
import { OperatingError } from '../../core/errors.ts';
import { DAY_MS } from '../../core/time.ts';
import type { Warehouse } from '../../warehouse/clickhouse/client.ts';

/** Clicks are spread evenly over so many days, the last one now. */
export const DAYS = 60;
/** Zipf-like: rank r has a share of about 1/r. */
const CAMPAIGNS = 1_000;
const AFFILIATES = 2_000;
const VISITORS = 5_000_000;
const USER_AGENTS = 300;
/** As large as the loader's. */
const BLOCK_ROWS = 200_000;

/** The user agents of the run: real ones by their frequency (drawn again each run), with their device, system and browser. */
function drawUserAgents(): { text: string; device: string; browser: string }[] {
  const source = new UserAgent();
  return Array.from({ length: USER_AGENTS }, () => {
    const text = source.random().toString();
    return {
      text,
      device: /iPad|Tablet/.test(text) ? 'tablet' : /Mobile|Android/.test(text) ? 'mobile' : 'desktop',
      browser: /Firefox|Edg|Chrome|Safari/.exec(text)?.[0] ?? 'other',
    };
  });
}

function list(values: readonly string[]): string {
  return `[${values.map((value) => `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`).join(',')}]`;
}

/**
 * Makes `rows` clicks of the last 60 days in the engine itself, in order of time, in blocks of 200,000 as the loader
 * inserts them: one INSERT with one token, every rollup and velocity table fed. The same seed gives the same clicks, but for the user agents.
 */
export async function generateClicks(options: {
  warehouse: Warehouse;
  rows: number;
  seed: number;
  endMs: number;
  progress: (done: number) => void;
}): Promise<{ seconds: number }> {
  const { warehouse, rows, seed, endMs } = options;
  const agents = drawUserAgents();
  const startedAt = performance.now();
  for (let from = 0; from < rows; from += BLOCK_ROWS) {
    const count = Math.min(BLOCK_ROWS, rows - from);
    await insertOnce(warehouse, selectClicks({ rows, from, count, seed, endMs, agents }), from);
    options.progress(from + count);
  }
  return { seconds: (performance.now() - startedAt) / 1_000 };
}

/** On an embedded engine a TTL merge may be racing the insert's parts; the token makes a repetition harmless. */
async function insertOnce(warehouse: Warehouse, sql: string, from: number): Promise<void> {
  const settings = {
    async_insert: 0,
    insert_deduplicate: 1,
    deduplicate_blocks_in_dependent_materialized_views: 1,
    max_insert_threads: 1,
    optimize_on_insert: 0,
    max_threads: 1,
    max_block_size: BLOCK_ROWS,
    min_insert_block_size_rows: BLOCK_ROWS,
    max_partitions_per_insert_block: 0,
    insert_deduplication_token: `bench:${from}`,
  };
  try {
    await warehouse.command(sql, {}, settings);
  } catch (error) {
    if (!(error instanceof OperatingError)) throw error;
    await warehouse.command(sql, {}, settings);
  }
}

/** A column's draw: a number from 0 to 1 that depends on the row, the seed and the column. */
function draw(seed: number, column: string): string {
  return `(cityHash64(number, ${seed}, '${column}') / 18446744073709551616)`;
}

function selectClicks(options: {
  rows: number;
  from: number;
  count: number;
  seed: number;
  endMs: number;
  agents: ReturnType<typeof drawUserAgents>;
}): string {
  const { rows, from, count, seed, endMs, agents } = options;
  const rank = (column: string, size: number): string =>
    `toUInt32(least(exp(${draw(seed, column)} * log(${size})), ${size}))`;
  const startMs = endMs - DAYS * DAY_MS;
  return `INSERT INTO clicks ${CLICK_COLUMN_LIST}
    WITH ${list(agents.map(({ text }) => text))} AS agents,
      ${list(agents.map(({ device }) => device))} AS devices,
      ${list(agents.map(({ browser }) => browser))} AS browsers
    SELECT
      fromUnixTimestamp64Milli(toInt64(${startMs} + number * (${DAYS * DAY_MS} / ${rows})), 'UTC') AS ts,
      toUInt16(intDiv(number, 20000000)) AS node,
      toUInt32(number % 20000000) AS seq,
      1 + campaign_id % 20 AS program_id,
      ${rank('campaign', CAMPAIGNS)} AS campaign_id,
      ${rank('affiliate', AFFILIATES)} AS affiliate_id,
      campaign_id * ${AFFILIATES} + affiliate_id AS link_id,
      if(visitor_hash % 100 < 15,
        CAST(unhex(concat('2a0', substring(hex(visitor_hash), 16, 1), hex(visitor_hash), hex(visitor_hash % 65536), '0001')) AS FixedString(16)),
        CAST(unhex(concat('00000000000000000000FFFF', hex(toUInt32(visitor_hash)))) AS FixedString(16))) AS raw_ip,
      multiIf(${draw(seed, 'flags')} < 0.05, 1, ${draw(seed, 'flags')} < 0.09, 8, 0) AS flags,
      0 AS rule, 0 AS destination,
      cityHash64(agent, visitor_hash % 12) AS fingerprint,
      agents[agent] AS user_agent, devices[agent] AS device,
      ['Windows', 'Android', 'iOS', 'macOS', 'Linux'][1 + agent % 5] AS os,
      browsers[agent] AS browser,
      ['en-US', 'de-DE', 'en-GB', 'fr-FR', 'pt-BR', 'ja-JP', 'nl-NL', 'es-ES', 'pl-PL', 'hi-IN', 'it-IT', 'sv-SE'][1 + visitor_hash % 12] AS language,
      if(${draw(seed, 'referrer')} < 0.4, '', concat('https://www.blog', toString(affiliate_id), '.example/post/', toString(${rank('page', 5_000)}))) AS referrer,
      concat('src', toString(${rank('sub1', 500)})) AS sub1,
      if(${draw(seed, 'sub2')} < 0.3, toString(${rank('sub2', 50)}), '') AS sub2,
      '' AS sub3, '' AS sub4, '' AS sub5,
      ['', 'news', 'google', 'facebook'][1 + cityHash64(link_id) % 4] AS utm_source,
      ['', 'email', 'cpc', 'social'][1 + cityHash64(link_id) % 4] AS utm_medium,
      if(cityHash64(link_id) % 4 = 0, '', concat('c', toString(campaign_id % 40))) AS utm_campaign,
      '' AS utm_term, '' AS utm_content, '' AS query
    FROM (
      SELECT number, cityHash64(${rank('visitor', VISITORS)}, ${seed}) AS visitor_hash, 1 + visitor_hash % ${USER_AGENTS} AS agent
      FROM numbers(${from}, ${count})
    )`;
}
