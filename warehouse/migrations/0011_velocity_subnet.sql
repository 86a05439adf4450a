-- The same for networks: /24 of IPv4, /64 of IPv6, which is what one customer of a provider has.
CREATE TABLE IF NOT EXISTS velocity_subnet
(
  subnet IPv6 CODEC(ZSTD(1)),
  minute DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
  clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
  campaigns AggregateFunction(uniqCombined(12), UInt32) CODEC(ZSTD(1)),
  user_agents AggregateFunction(uniqCombined(12), UInt64) CODEC(ZSTD(1)),
  first_seen SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
  last_seen SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toStartOfHour(minute)
ORDER BY (subnet, minute)
TTL minute + INTERVAL 26 HOUR
SETTINGS index_granularity = 512, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000
