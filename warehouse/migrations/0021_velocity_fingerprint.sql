-- The same by fingerprint.
CREATE TABLE IF NOT EXISTS velocity_fingerprint
(
  fingerprint UInt64 CODEC(ZSTD(1)),
  ts DateTime64(3, 'UTC') CODEC(T64, ZSTD(1)),
  campaign_id UInt32 CODEC(ZSTD(1)),
  agent UInt32 CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toStartOfInterval(ts, INTERVAL 4 HOUR)
ORDER BY (fingerprint, ts)
TTL toDateTime(ts) + INTERVAL 26 HOUR
SETTINGS index_granularity = 512, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000
