-- How fast an address clicks, and its network (/24 of IPv4, /64 of IPv6): the last day's clicks, sorted by both.
-- Counting them when they are asked for is quicker than keeping a count for every address and minute: most addresses
-- click once in a minute, and a row of four numbers costs a third of one with counters.
-- Small granules, because a question is about one key; partitions of four hours, because "who is too fast now" reads the
-- newest only, and a key's day should not lie in 27 places.
CREATE TABLE IF NOT EXISTS velocity_ip
(
  subnet IPv6 CODEC(ZSTD(1)),
  ip IPv6 CODEC(ZSTD(1)),
  ts DateTime64(3, 'UTC') CODEC(T64, ZSTD(1)),
  campaign_id UInt32 CODEC(ZSTD(1)),
  agent UInt32 CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toStartOfInterval(ts, INTERVAL 4 HOUR)
ORDER BY (subnet, ip, ts)
TTL toDateTime(ts) + INTERVAL 26 HOUR
SETTINGS index_granularity = 512, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000
