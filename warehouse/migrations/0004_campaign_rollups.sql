-- Rollups of campaigns by hour and day.

-- The smallest answer to the commonest question: a campaign by the hour. A busy campaign has a million rows a week in
-- clicks_hourly, and 168 here: one an hour, whose states are of valid clicks alone. Merging states is what a report
-- costs; visitors by flag_group are rarely asked for, and clicks_hourly has them.
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
SETTINGS ttl_only_drop_parts = 1, index_granularity = 64, non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS campaigns_hourly_feed TO campaigns_hourly AS
SELECT
  toStartOfHour(minute) AS hour,
  program_id,
  campaign_id,
  sumIf(g.clicks, flag_group != 'impression') AS clicks,
  sumIf(g.clicks, flag_group IN ('ok', 'repeat')) AS valid_clicks,
  sumIf(g.clicks, flag_group = 'impression') AS impressions,
  uniqCombinedMergeStateIf(14)(g.ips, flag_group IN ('ok', 'repeat')) AS ips,
  uniqCombinedMergeStateIf(14)(g.visitors, flag_group IN ('ok', 'repeat')) AS visitors
FROM clicks_grouped AS g
GROUP BY hour, program_id, campaign_id;

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
SETTINGS ttl_only_drop_parts = 1, index_granularity = 32, non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS campaigns_daily_feed TO campaigns_daily AS
SELECT
  toStartOfDay(hour) AS day,
  program_id,
  campaign_id,
  sum(h.clicks) AS clicks,
  sum(h.valid_clicks) AS valid_clicks,
  sum(h.impressions) AS impressions,
  uniqCombinedMergeState(14)(h.ips) AS ips,
  uniqCombinedMergeState(14)(h.visitors) AS visitors
FROM campaigns_hourly AS h
GROUP BY day, program_id, campaign_id;
