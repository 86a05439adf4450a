-- The same by the day of UTC, for reports of months: 30,000 rows where a thousand campaigns have 700,000 by the hour.
-- Sorted by the day, because a page of such a report is a few days of every campaign; small granules, because one
-- campaign's days lie in one each.
CREATE TABLE IF NOT EXISTS campaigns_daily
(
  day DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
  program_id UInt32 CODEC(ZSTD(1)),
  campaign_id UInt32 CODEC(ZSTD(1)),
  clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  valid_clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  impressions SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  ips AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1)),
  visitors AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (day, campaign_id, program_id)
TTL day + INTERVAL 5 YEAR
SETTINGS ttl_only_drop_parts = 1, index_granularity = 32, non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
