-- Clicks of the last day by address, network and fingerprint, for the fraud rules.

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
SETTINGS index_granularity = 512, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

-- Impressions (256) are no clicks. What comes later than a day is no matter of speed, and the loader refuses clicks from
-- further ahead than a day.
CREATE MATERIALIZED VIEW IF NOT EXISTS velocity_ip_feed TO velocity_ip AS
SELECT
  tupleElement(IPv6CIDRToRange(ip, if(ip BETWEEN toIPv6('::ffff:0.0.0.0') AND toIPv6('::ffff:255.255.255.255'), 120, 64)), 1) AS subnet,
  ip,
  ts,
  campaign_id,
  toUInt32(cityHash64(user_agent)) AS agent
FROM clicks
WHERE ts > now() - INTERVAL 26 HOUR AND ts < now() + INTERVAL 26 HOUR AND bitAnd(flags, 256) = 0;

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
SETTINGS index_granularity = 512, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS velocity_fingerprint_feed TO velocity_fingerprint AS
SELECT fingerprint, ts, campaign_id, toUInt32(cityHash64(user_agent)) AS agent
FROM clicks
WHERE ts > now() - INTERVAL 26 HOUR AND ts < now() + INTERVAL 26 HOUR AND bitAnd(flags, 256) = 0;
