-- The smallest answer to the commonest question: a campaign by the hour. A busy campaign has a million rows a week in
-- clicks_hourly, and 1,200 here.
CREATE TABLE IF NOT EXISTS campaigns_hourly
(
  hour DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
  program_id UInt32,
  campaign_id UInt32,
  flag_group LowCardinality(String),
  clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  valid_clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  ips AggregateFunction(uniqCombined64(14), IPv6) CODEC(ZSTD(1)),
  visitors AggregateFunction(uniqCombined64(14), UInt64) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (campaign_id, hour, program_id, flag_group)
TTL hour + INTERVAL 5 YEAR
SETTINGS ttl_only_drop_parts = 1, index_granularity = 1024, non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
