-- The same by minute, for the last week: what is looked at by the minute is recent.
CREATE TABLE IF NOT EXISTS clicks_minutely
(
  minute DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
  program_id UInt32,
  campaign_id UInt32,
  affiliate_id UInt32,
  link_id UInt32,
  country LowCardinality(String),
  device LowCardinality(String),
  flag_group LowCardinality(String),
  clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  valid_clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  ips AggregateFunction(uniqCombined64, IPv6) CODEC(ZSTD(1)),
  visitors AggregateFunction(uniqCombined64, UInt64) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMMDD(minute)
ORDER BY (campaign_id, minute, affiliate_id, link_id, program_id, country, device, flag_group)
TTL minute + INTERVAL 8 DAY
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
