-- The smallest answer to the commonest question: a campaign by the hour. A busy campaign has a million rows a week in
-- clicks_hourly, and 168 here: one an hour, whose states are of valid clicks alone. Merging states is what a report
-- costs; who is told by verdict is rarely asked, and clicks_hourly knows.
-- Small granules, because a busy campaign's row is 20 KB and a granule is read whole: at 100 million clicks the report
-- of a week takes 0.6 of the time it takes with granules of 1,024, for 4 % more bytes.
CREATE TABLE IF NOT EXISTS campaigns_hourly
(
  hour DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
  program_id UInt32 CODEC(ZSTD(1)),
  campaign_id UInt32 CODEC(ZSTD(1)),
  clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  valid_clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  impressions SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  ips AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1)),
  visitors AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (campaign_id, hour, program_id)
TTL hour + INTERVAL 5 YEAR
SETTINGS ttl_only_drop_parts = 1, index_granularity = 64, non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
