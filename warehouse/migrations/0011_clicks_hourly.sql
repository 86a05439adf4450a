-- Counts by hour: what reports read.
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
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
