-- Distinct visitors instead of distinct fingerprints: thousands of people share a User-Agent and a language, and those who
-- opted out have no fingerprint at all.

-- A visitor is a fingerprint in a network (/24 of IPv4, /48 of IPv6), by 32 bits of hash. The one definition: the feeds and
-- the reports read this column, and the projection by_visitor is sorted by its expression.
ALTER TABLE clicks
  ADD COLUMN IF NOT EXISTS visitor UInt32 ALIAS toUInt32(cityHash64(fingerprint, tupleElement(IPv6CIDRToRange(ip, if(ip BETWEEN toIPv6('::ffff:0.0.0.0') AND toIPv6('::ffff:255.255.255.255'), 120, 48)), 1)));

ALTER TABLE clicks_hourly
  ADD COLUMN IF NOT EXISTS distinct_visitors AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1));

ALTER TABLE clicks_minutely
  ADD COLUMN IF NOT EXISTS distinct_visitors AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1));

ALTER TABLE campaigns_hourly
  ADD COLUMN IF NOT EXISTS distinct_visitors AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1));

ALTER TABLE campaigns_daily
  ADD COLUMN IF NOT EXISTS distinct_visitors AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1));

ALTER TABLE clicks_grouped
  ADD COLUMN IF NOT EXISTS distinct_visitors AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1));

ALTER TABLE clicks_grouped_feed
  MODIFY QUERY
SELECT
  minute,
  program_id,
  campaign_id,
  affiliate_id,
  link_id,
  CAST(toStringCutToZero(letters) AS LowCardinality(String)) AS country,
  CAST(device_number AS Enum8('unknown' = 0, 'desktop' = 1, 'mobile' = 2, 'tablet' = 3, 'tv' = 4, 'bot' = 5)) AS device,
  CAST(group_number AS Enum8('ok' = 0, 'bot' = 1, 'prefetch' = 2, 'head' = 3, 'inactive' = 4, 'repeat' = 5, 'impression' = 6, 'forced' = 7, 'flood' = 8)) AS flag_group,
  count() AS clicks,
  uniqCombinedState(14)(ip_hash) AS ips,
  uniqCombinedState(14)(visitor) AS distinct_visitors
FROM
(
  SELECT
    toStartOfMinute(ts) AS minute,
    program_id,
    campaign_id,
    affiliate_id,
    link_id,
    CAST(substring(country, 1, 2) AS FixedString(2)) AS letters,
    toInt8(transform(device, ['desktop', 'mobile', 'tablet', 'tv', 'bot'], [1, 2, 3, 4, 5], 0)) AS device_number,
    toInt8(multiIf(
      bitAnd(flags, 256) != 0, 6,
      bitAnd(flags, 1) != 0, 1,
      bitAnd(flags, 2) != 0, 2,
      bitAnd(flags, 4) != 0, 3,
      bitAnd(flags, 624) != 0, 4,
      bitAnd(flags, 2048) != 0, 7,
      bitAnd(flags, 4096) != 0, 8,
      bitAnd(flags, 8) != 0, 5,
      0)) AS group_number,
    toUInt32(cityHash64(ip)) AS ip_hash,
    visitor
  FROM clicks
)
GROUP BY minute, program_id, campaign_id, affiliate_id, link_id, letters, device_number, group_number;

ALTER TABLE clicks_hourly_feed
  MODIFY QUERY
SELECT
  toStartOfHour(minute) AS hour, program_id, campaign_id, affiliate_id, link_id, country, device, flag_group, clicks, ips,
  distinct_visitors
FROM clicks_grouped;

ALTER TABLE clicks_minutely_feed
  MODIFY QUERY
SELECT
  minute, program_id, campaign_id, affiliate_id, link_id, country, device, flag_group, clicks, ips, distinct_visitors
FROM clicks_grouped
WHERE minute > now() - INTERVAL 8 DAY AND minute < now() + INTERVAL 26 HOUR;

ALTER TABLE campaigns_hourly_feed
  MODIFY QUERY
SELECT
  toStartOfHour(minute) AS hour,
  program_id,
  campaign_id,
  sumIf(g.clicks, flag_group != 'impression') AS clicks,
  sumIf(g.clicks, flag_group IN ('ok', 'repeat')) AS valid_clicks,
  sumIf(g.clicks, flag_group = 'impression') AS impressions,
  uniqCombinedMergeStateIf(14)(g.ips, flag_group IN ('ok', 'repeat')) AS ips,
  uniqCombinedMergeStateIf(14)(g.distinct_visitors, flag_group IN ('ok', 'repeat')) AS distinct_visitors
FROM clicks_grouped AS g
GROUP BY hour, program_id, campaign_id;

ALTER TABLE campaigns_daily_feed
  MODIFY QUERY
SELECT
  toStartOfDay(hour) AS day,
  program_id,
  campaign_id,
  sum(h.clicks) AS clicks,
  sum(h.valid_clicks) AS valid_clicks,
  sum(h.impressions) AS impressions,
  uniqCombinedMergeState(14)(h.ips) AS ips,
  uniqCombinedMergeState(14)(h.distinct_visitors) AS distinct_visitors
FROM campaigns_hourly AS h
GROUP BY day, program_id, campaign_id;

-- Distinct fingerprints are no figure of any report.
ALTER TABLE clicks_grouped
  DROP COLUMN IF EXISTS visitors;

ALTER TABLE clicks_hourly
  DROP COLUMN IF EXISTS visitors;

ALTER TABLE clicks_minutely
  DROP COLUMN IF EXISTS visitors;

ALTER TABLE campaigns_hourly
  DROP COLUMN IF EXISTS visitors;

ALTER TABLE campaigns_daily
  DROP COLUMN IF EXISTS visitors;

-- Nor is 0 a fingerprint whose speed could be measured: it is everyone who opted out.
ALTER TABLE velocity_fingerprint_feed
  MODIFY QUERY
SELECT fingerprint, ts, campaign_id, toUInt32(cityHash64(user_agent)) AS agent
FROM clicks
WHERE ts > now() - INTERVAL 26 HOUR AND ts < now() + INTERVAL 26 HOUR AND bitAnd(flags, 256) = 0 AND fingerprint != 0;

-- From this time on the visitors of the rollups are known: addresses are kept for 90 days, and what is older has none.
-- The latest row counts.
CREATE TABLE IF NOT EXISTS visitors_known
(
  since DateTime('UTC')
)
ENGINE = MergeTree
ORDER BY since
SETTINGS fsync_after_insert = 1;

INSERT INTO visitors_known
SELECT if(count() = 0, toDateTime(0, 'UTC'), toStartOfDay(toDateTime(now(), 'UTC') - INTERVAL 89 DAY))
FROM clicks_hourly
WHERE hour < toStartOfDay(toDateTime(now(), 'UTC') - INTERVAL 89 DAY);

-- Visitors of the clicks that are there already, added to the rows of all rollups: 0 clicks each, so that a repetition
-- changes nothing. Grouped in the order of the table, one minute of one campaign in memory at a time.
INSERT INTO clicks_grouped
  (minute, program_id, campaign_id, affiliate_id, link_id, country, device, flag_group, clicks, distinct_visitors)
SELECT
  minute,
  program_id,
  campaign_id,
  affiliate_id,
  link_id,
  CAST(toStringCutToZero(letters) AS LowCardinality(String)) AS country,
  CAST(device_number AS Enum8('unknown' = 0, 'desktop' = 1, 'mobile' = 2, 'tablet' = 3, 'tv' = 4, 'bot' = 5)) AS device,
  CAST(group_number AS Enum8('ok' = 0, 'bot' = 1, 'prefetch' = 2, 'head' = 3, 'inactive' = 4, 'repeat' = 5, 'impression' = 6, 'forced' = 7, 'flood' = 8)) AS flag_group,
  0 AS clicks,
  uniqCombinedState(14)(visitor) AS distinct_visitors
FROM
(
  SELECT
    toStartOfMinute(ts) AS minute,
    program_id,
    campaign_id,
    affiliate_id,
    link_id,
    CAST(substring(country, 1, 2) AS FixedString(2)) AS letters,
    toInt8(transform(device, ['desktop', 'mobile', 'tablet', 'tv', 'bot'], [1, 2, 3, 4, 5], 0)) AS device_number,
    toInt8(multiIf(
      bitAnd(flags, 256) != 0, 6,
      bitAnd(flags, 1) != 0, 1,
      bitAnd(flags, 2) != 0, 2,
      bitAnd(flags, 4) != 0, 3,
      bitAnd(flags, 624) != 0, 4,
      bitAnd(flags, 2048) != 0, 7,
      bitAnd(flags, 4096) != 0, 8,
      bitAnd(flags, 8) != 0, 5,
      0)) AS group_number,
    visitor
  FROM clicks
  WHERE ts >= toStartOfDay(toDateTime(now(), 'UTC') - INTERVAL 89 DAY)
)
GROUP BY minute, program_id, campaign_id, affiliate_id, link_id, letters, device_number, group_number
SETTINGS optimize_aggregation_in_order = 1, insert_deduplicate = 0, min_insert_block_size_rows = 100000, max_execution_time = 0;
