-- Rollups of clicks by minute and hour.

-- The clicks of one block, counted by minute: a table that stores nothing and feeds the rollups. Each rollup takes
-- its rows from here, so that a block is grouped once and not once a rollup.
CREATE TABLE IF NOT EXISTS clicks_grouped
(
  minute DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
  program_id UInt32 CODEC(ZSTD(1)),
  campaign_id UInt32 CODEC(ZSTD(1)),
  affiliate_id UInt32 CODEC(T64, ZSTD(1)),
  link_id UInt32 CODEC(T64, ZSTD(1)),
  country LowCardinality(String) CODEC(ZSTD(1)),
  device Enum8('unknown' = 0, 'desktop' = 1, 'mobile' = 2, 'tablet' = 3, 'tv' = 4, 'bot' = 5) CODEC(ZSTD(1)),
  flag_group Enum8('ok' = 0, 'bot' = 1, 'prefetch' = 2, 'head' = 3, 'inactive' = 4, 'repeat' = 5, 'impression' = 6) CODEC(ZSTD(1)),
  clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  ips AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1)),
  visitors AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1))
)
ENGINE = Null;

-- flag_group is the one reason a click is reported under; ok and repeat are valid. Bits of flags: 1 bot, 2 prefetch, 4 head,
-- 8 repeat, 16 paused, 32 expired, 64 suspended, 256 impression, 512 capped.
-- Keys of fixed width group twice as fast as texts, hence the numbers and the two letters.
-- Distinct addresses and visitors are mergeable states, because they do not add up; of 32 bits of hash, which
-- takes two thirds of the time and makes ten million of them look like 0.1 % fewer.
CREATE MATERIALIZED VIEW IF NOT EXISTS clicks_grouped_feed TO clicks_grouped AS
SELECT
  minute,
  program_id,
  campaign_id,
  affiliate_id,
  link_id,
  CAST(toStringCutToZero(letters) AS LowCardinality(String)) AS country,
  CAST(device_number AS Enum8('unknown' = 0, 'desktop' = 1, 'mobile' = 2, 'tablet' = 3, 'tv' = 4, 'bot' = 5)) AS device,
  CAST(group_number AS Enum8('ok' = 0, 'bot' = 1, 'prefetch' = 2, 'head' = 3, 'inactive' = 4, 'repeat' = 5, 'impression' = 6)) AS flag_group,
  count() AS clicks,
  uniqCombinedState(14)(ip_hash) AS ips,
  uniqCombinedState(14)(visitor_hash) AS visitors
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
      bitAnd(flags, 8) != 0, 5,
      0)) AS group_number,
    toUInt32(cityHash64(ip)) AS ip_hash,
    toUInt32(fingerprint) AS visitor_hash
  FROM clicks
)
GROUP BY minute, program_id, campaign_id, affiliate_id, link_id, letters, device_number, group_number;

-- Counts by hour, for reports.
CREATE TABLE IF NOT EXISTS clicks_hourly
(
  hour DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
  program_id UInt32 CODEC(ZSTD(1)),
  campaign_id UInt32 CODEC(ZSTD(1)),
  affiliate_id UInt32 CODEC(T64, ZSTD(1)),
  link_id UInt32 CODEC(T64, ZSTD(1)),
  country LowCardinality(String) CODEC(ZSTD(1)),
  device Enum8('unknown' = 0, 'desktop' = 1, 'mobile' = 2, 'tablet' = 3, 'tv' = 4, 'bot' = 5) CODEC(ZSTD(1)),
  flag_group Enum8('ok' = 0, 'bot' = 1, 'prefetch' = 2, 'head' = 3, 'inactive' = 4, 'repeat' = 5, 'impression' = 6) CODEC(ZSTD(1)),
  clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  ips AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1)),
  visitors AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (campaign_id, hour, affiliate_id, link_id, program_id, country, device, flag_group)
TTL hour + INTERVAL 5 YEAR
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS clicks_hourly_feed TO clicks_hourly AS
SELECT toStartOfHour(minute) AS hour, * EXCEPT minute FROM clicks_grouped;

-- Counts by minute, of the last eight days: one whole week and a day.
CREATE TABLE IF NOT EXISTS clicks_minutely
(
  minute DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
  program_id UInt32 CODEC(ZSTD(1)),
  campaign_id UInt32 CODEC(ZSTD(1)),
  affiliate_id UInt32 CODEC(T64, ZSTD(1)),
  link_id UInt32 CODEC(T64, ZSTD(1)),
  country LowCardinality(String) CODEC(ZSTD(1)),
  device Enum8('unknown' = 0, 'desktop' = 1, 'mobile' = 2, 'tablet' = 3, 'tv' = 4, 'bot' = 5) CODEC(ZSTD(1)),
  flag_group Enum8('ok' = 0, 'bot' = 1, 'prefetch' = 2, 'head' = 3, 'inactive' = 4, 'repeat' = 5, 'impression' = 6) CODEC(ZSTD(1)),
  clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  ips AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1)),
  visitors AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMMDD(minute)
ORDER BY (campaign_id, minute, affiliate_id, link_id, program_id, country, device, flag_group)
TTL minute + INTERVAL 8 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

-- What is older would be dropped at once, and the loader refuses clicks from further ahead than a day.
CREATE MATERIALIZED VIEW IF NOT EXISTS clicks_minutely_feed TO clicks_minutely AS
SELECT * FROM clicks_grouped
WHERE minute > now() - INTERVAL 8 DAY AND minute < now() + INTERVAL 26 HOUR;
