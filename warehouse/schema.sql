-- The warehouse's schema after every migration, as ClickHouse prints it. A test keeps it true.

CREATE TABLE clicks
(
    ts DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    node UInt16 CODEC(ZSTD(1)),
    seq UInt32 CODEC(Delta(4), ZSTD(1)),
    program_id UInt32 CODEC(ZSTD(1)),
    campaign_id UInt32 CODEC(ZSTD(1)),
    affiliate_id UInt32 CODEC(ZSTD(1)),
    link_id UInt32 CODEC(ZSTD(1)),
    ip IPv6 CODEC(ZSTD(1)),
    flags UInt32 CODEC(ZSTD(1)),
    rule UInt16 CODEC(ZSTD(1)),
    destination UInt16 CODEC(ZSTD(1)),
    fingerprint UInt64 CODEC(ZSTD(1)),
    user_agent String CODEC(ZSTD(1)),
    device LowCardinality(String) CODEC(ZSTD(1)),
    os LowCardinality(String) CODEC(ZSTD(1)),
    browser LowCardinality(String) CODEC(ZSTD(1)),
    language LowCardinality(String) CODEC(ZSTD(1)),
    referrer String CODEC(ZSTD(1)),
    sub1 String CODEC(ZSTD(1)),
    sub2 String CODEC(ZSTD(1)),
    sub3 String CODEC(ZSTD(1)),
    sub4 String CODEC(ZSTD(1)),
    sub5 String CODEC(ZSTD(1)),
    utm_source LowCardinality(String) CODEC(ZSTD(1)),
    utm_medium LowCardinality(String) CODEC(ZSTD(1)),
    utm_campaign LowCardinality(String) CODEC(ZSTD(1)),
    utm_term String CODEC(ZSTD(1)),
    utm_content String CODEC(ZSTD(1)),
    query String CODEC(ZSTD(1)),
    referrer_domain LowCardinality(String) MATERIALIZED domainWithoutWWW(referrer) CODEC(ZSTD(1)),
    ip_net IPv6 MATERIALIZED tupleElement(IPv6CIDRToRange(ip, if((ip >= toIPv6('::ffff:0.0.0.0')) AND (ip <= toIPv6('::ffff:255.255.255.255')), 120, 48)), 1) CODEC(ZSTD(1)),
    PROJECTION by_identity
    (
        SELECT _part_offset
        ORDER BY
            ts,
            node,
            seq
    ),
    PROJECTION by_fingerprint
    (
        SELECT _part_offset
        ORDER BY
            fingerprint,
            ip_net,
            ts
    )
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (campaign_id, toStartOfHour(ts), affiliate_id, link_id, ts)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 8192;

CREATE TABLE clicks_hourly
(
    hour DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    program_id UInt32,
    campaign_id UInt32,
    affiliate_id UInt32,
    link_id UInt32,
    device LowCardinality(String),
    flag_group LowCardinality(String),
    clicks SimpleAggregateFunction(sum, UInt64),
    valid_clicks SimpleAggregateFunction(sum, UInt64),
    ips AggregateFunction(uniqCombined64, IPv6),
    visitors AggregateFunction(uniqCombined64, UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (campaign_id, hour, affiliate_id, link_id, program_id, device, flag_group)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 8192;

CREATE MATERIALIZED VIEW clicks_hourly_feed TO clicks_hourly
(
    hour DateTime('UTC'),
    program_id UInt32,
    campaign_id UInt32,
    affiliate_id UInt32,
    link_id UInt32,
    device LowCardinality(String),
    flag_group String,
    clicks UInt64,
    valid_clicks UInt64,
    ips AggregateFunction(uniqCombined64, IPv6),
    visitors AggregateFunction(uniqCombined64, UInt64)
)
AS SELECT
    toStartOfHour(ts) AS hour,
    program_id,
    campaign_id,
    affiliate_id,
    link_id,
    device,
    multiIf(bitAnd(flags, 256) != 0, 'impression', bitAnd(flags, 1) != 0, 'bot', bitAnd(flags, 2) != 0, 'prefetch', bitAnd(flags, 4) != 0, 'head', bitAnd(flags, 624) != 0, 'inactive', bitAnd(flags, 8) != 0, 'repeat', 'ok') AS flag_group,
    count() AS clicks,
    countIf(bitAnd(flags, 887) = 0) AS valid_clicks,
    uniqCombined64State(ip) AS ips,
    uniqCombined64State(fingerprint) AS visitors
FROM clicks
GROUP BY
    hour,
    program_id,
    campaign_id,
    affiliate_id,
    link_id,
    device,
    flag_group;

CREATE TABLE migrations
(
    number UInt32,
    name String,
    checksum String,
    applied_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY number
SETTINGS fsync_after_insert = 1, index_granularity = 8192;

CREATE TABLE watermarks
(
    shard UInt16,
    complete_to DateTime64(3, 'UTC'),
    stream_seq UInt64,
    updated_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(complete_to)
ORDER BY shard
SETTINGS index_granularity = 8192;
