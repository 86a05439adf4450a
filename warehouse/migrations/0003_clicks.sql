-- One row a click, exactly as the collector encoded it.
-- Sorted so that one campaign's hour stays together; partitions are months of the click's time.
-- The deduplication window counts inserts: at two blocks a second, 10,000 are well over an hour.
-- An insert must survive a power cut before the loader moves its mark, hence the fsyncs.
-- Small granules, because attribution looks clicks up one by one, each at the price of a granule.
-- ip_net is the visitor's network as look-ups compare it: /24 of IPv4, /48 of IPv6.
CREATE TABLE IF NOT EXISTS clicks
(
  /*click_columns*/,
  referrer_domain LowCardinality(String) MATERIALIZED domainWithoutWWW(referrer) CODEC(ZSTD(1)),
  country LowCardinality(String) MATERIALIZED dictGet('geo', 'country', ip) CODEC(ZSTD(1)),
  ip_net IPv6 MATERIALIZED tupleElement(IPv6CIDRToRange(ip, if(ip BETWEEN toIPv6('::ffff:0.0.0.0') AND toIPv6('::ffff:255.255.255.255'), 120, 48)), 1) CODEC(ZSTD(1)),
  PROJECTION by_identity (SELECT _part_offset ORDER BY ts, node, seq),
  PROJECTION by_fingerprint (SELECT _part_offset ORDER BY fingerprint, ip_net, ts)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (campaign_id, toStartOfHour(ts), affiliate_id, link_id, ts)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1
