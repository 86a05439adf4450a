-- The warehouse's schema after every migration, as ClickHouse prints it. A test keeps it true.

CREATE TABLE campaigns_hourly
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
TTL hour + toIntervalYear(5)
SETTINGS ttl_only_drop_parts = 1, index_granularity = 1024, non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE MATERIALIZED VIEW campaigns_hourly_feed TO campaigns_hourly
(
    hour DateTime('UTC'),
    program_id UInt32,
    campaign_id UInt32,
    flag_group String,
    clicks UInt64,
    valid_clicks UInt64,
    ips AggregateFunction(uniqCombined64(14), IPv6),
    visitors AggregateFunction(uniqCombined64(14), UInt64)
)
AS SELECT
    toStartOfHour(ts) AS hour,
    program_id,
    campaign_id,
    multiIf(bitAnd(flags, 256) != 0, 'impression', bitAnd(flags, 1) != 0, 'bot', bitAnd(flags, 2) != 0, 'prefetch', bitAnd(flags, 4) != 0, 'head', bitAnd(flags, 624) != 0, 'inactive', bitAnd(flags, 8) != 0, 'repeat', 'ok') AS flag_group,
    count() AS clicks,
    countIf(bitAnd(flags, 887) = 0) AS valid_clicks,
    uniqCombined64State(14)(ip) AS ips,
    uniqCombined64State(14)(fingerprint) AS visitors
FROM clicks
GROUP BY
    hour,
    program_id,
    campaign_id,
    flag_group;

CREATE TABLE clicks
(
    ts DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    node UInt16 CODEC(ZSTD(1)),
    seq UInt32 CODEC(Delta(4), ZSTD(1)),
    program_id UInt32 CODEC(ZSTD(1)),
    campaign_id UInt32 CODEC(ZSTD(1)),
    affiliate_id UInt32 CODEC(ZSTD(1)),
    link_id UInt32 CODEC(ZSTD(1)),
    ip IPv6 CODEC(ZSTD(1)) TTL toDateTime(ts) + toIntervalDay(90),
    flags UInt32 CODEC(ZSTD(1)),
    rule UInt16 CODEC(ZSTD(1)),
    destination UInt16 CODEC(ZSTD(1)),
    fingerprint UInt64 CODEC(ZSTD(1)),
    user_agent String CODEC(ZSTD(1)) TTL toDateTime(ts) + toIntervalDay(90),
    device LowCardinality(String) CODEC(ZSTD(1)),
    os LowCardinality(String) CODEC(ZSTD(1)),
    browser LowCardinality(String) CODEC(ZSTD(1)),
    language LowCardinality(String) CODEC(ZSTD(1)),
    referrer String CODEC(ZSTD(1)) TTL toDateTime(ts) + toIntervalDay(90),
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
    query String CODEC(ZSTD(1)) TTL toDateTime(ts) + toIntervalDay(90),
    referrer_domain LowCardinality(String) MATERIALIZED domainWithoutWWW(referrer) CODEC(ZSTD(1)),
    country LowCardinality(String) MATERIALIZED dictGet('geo', 'country', ip) CODEC(ZSTD(1)),
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
TTL toDateTime(ts) + toIntervalYear(5)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE clicks_hourly
(
    hour DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    program_id UInt32,
    campaign_id UInt32,
    affiliate_id UInt32,
    link_id UInt32,
    country LowCardinality(String),
    device LowCardinality(String),
    flag_group LowCardinality(String),
    clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    valid_clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    ips AggregateFunction(uniqCombined64, IPv6) CODEC(ZSTD(1)),
    visitors AggregateFunction(uniqCombined64, UInt64) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (campaign_id, hour, affiliate_id, link_id, program_id, country, device, flag_group)
TTL hour + toIntervalYear(5)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 8192;

CREATE MATERIALIZED VIEW clicks_hourly_feed TO clicks_hourly
(
    hour DateTime('UTC'),
    program_id UInt32,
    campaign_id UInt32,
    affiliate_id UInt32,
    link_id UInt32,
    country LowCardinality(String),
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
    country,
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
    country,
    device,
    flag_group;

CREATE TABLE clicks_minutely
(
    minute DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    program_id UInt32,
    campaign_id UInt32,
    affiliate_id UInt32,
    link_id UInt32,
    country LowCardinality(String),
    device LowCardinality(String),
    flag_group LowCardinality(String),
    clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    valid_clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    ips AggregateFunction(uniqCombined64, IPv6) CODEC(ZSTD(1)),
    visitors AggregateFunction(uniqCombined64, UInt64) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMMDD(minute)
ORDER BY (campaign_id, minute, affiliate_id, link_id, program_id, country, device, flag_group)
TTL minute + toIntervalDay(8)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 8192;

CREATE MATERIALIZED VIEW clicks_minutely_feed TO clicks_minutely
(
    minute DateTime('UTC'),
    program_id UInt32,
    campaign_id UInt32,
    affiliate_id UInt32,
    link_id UInt32,
    country LowCardinality(String),
    device LowCardinality(String),
    flag_group String,
    clicks UInt64,
    valid_clicks UInt64,
    ips AggregateFunction(uniqCombined64, IPv6),
    visitors AggregateFunction(uniqCombined64, UInt64)
)
AS SELECT
    toStartOfMinute(ts) AS minute,
    program_id,
    campaign_id,
    affiliate_id,
    link_id,
    country,
    device,
    multiIf(bitAnd(flags, 256) != 0, 'impression', bitAnd(flags, 1) != 0, 'bot', bitAnd(flags, 2) != 0, 'prefetch', bitAnd(flags, 4) != 0, 'head', bitAnd(flags, 624) != 0, 'inactive', bitAnd(flags, 8) != 0, 'repeat', 'ok') AS flag_group,
    count() AS clicks,
    countIf(bitAnd(flags, 887) = 0) AS valid_clicks,
    uniqCombined64State(ip) AS ips,
    uniqCombined64State(fingerprint) AS visitors
FROM clicks
WHERE (ts > (now() - toIntervalDay(8))) AND (ts < (now() + toIntervalHour(26)))
GROUP BY
    minute,
    program_id,
    campaign_id,
    affiliate_id,
    link_id,
    country,
    device,
    flag_group;

CREATE TABLE conversions
(
    conversion_id UInt64,
    version UInt64,
    program_id UInt32,
    campaign_id UInt32,
    affiliate_id UInt32,
    link_id UInt32,
    state LowCardinality(String),
    reason LowCardinality(String),
    currency LowCardinality(String),
    amount_minor Decimal(18, 0),
    refunded_minor Decimal(18, 0),
    commission_minor Decimal(18, 0),
    occurred_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    click_ts Nullable(DateTime64(3, 'UTC')),
    ip IPv6,
    fingerprint UInt64,
    country LowCardinality(String) MATERIALIZED dictGet('geo', 'country', ip),
    subnet IPv6 MATERIALIZED tupleElement(IPv6CIDRToRange(ip, if((ip >= toIPv6('::ffff:0.0.0.0')) AND (ip <= toIPv6('::ffff:255.255.255.255')), 120, 64)), 1),
    INDEX by_time occurred_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
ORDER BY conversion_id
SETTINGS fsync_after_insert = 1, index_granularity = 8192;

CREATE DICTIONARY geo
(
    network String,
    country String DEFAULT ''
)
PRIMARY KEY network
SOURCE(CLICKHOUSE(TABLE 'geo_networks'))
LIFETIME(MIN 0 MAX 0)
LAYOUT(IP_TRIE);

CREATE TABLE geo_networks
(
    network String CODEC(ZSTD(1)),
    country LowCardinality(String)
)
ENGINE = MergeTree
ORDER BY network
SETTINGS index_granularity = 8192;

CREATE TABLE geo_versions
(
    loaded_at DateTime64(3, 'UTC'),
    source String,
    built_at DateTime('UTC'),
    networks UInt64
)
ENGINE = MergeTree
ORDER BY loaded_at
SETTINGS index_granularity = 8192;

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

CREATE TABLE signed_counts
(
    day Date,
    affiliate_id UInt32,
    clicks UInt64,
    valid_clicks UInt64,
    signed_at DateTime64(3, 'UTC'),
    signature String
)
ENGINE = ReplacingMergeTree(signed_at)
ORDER BY (day, affiliate_id)
SETTINGS fsync_after_insert = 1, index_granularity = 8192;

CREATE TABLE velocity_fingerprint
(
    fingerprint UInt64 CODEC(ZSTD(1)),
    minute DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    campaigns AggregateFunction(uniqCombined(12), UInt32) CODEC(ZSTD(1)),
    user_agents AggregateFunction(uniqCombined(12), UInt64) CODEC(ZSTD(1)),
    first_seen SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    last_seen SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toStartOfHour(minute)
ORDER BY (fingerprint, minute)
TTL minute + toIntervalHour(26)
SETTINGS index_granularity = 512, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW velocity_fingerprint_feed TO velocity_fingerprint
(
    fingerprint UInt64,
    minute DateTime('UTC'),
    clicks UInt64,
    campaigns AggregateFunction(uniqCombined(12), UInt32),
    user_agents AggregateFunction(uniqCombined(12), UInt64),
    first_seen DateTime64(3, 'UTC'),
    last_seen DateTime64(3, 'UTC')
)
AS SELECT
    clicks.fingerprint AS fingerprint,
    toStartOfMinute(ts) AS minute,
    count() AS clicks,
    uniqCombinedState(12)(campaign_id) AS campaigns,
    uniqCombinedState(12)(cityHash64(user_agent)) AS user_agents,
    min(ts) AS first_seen,
    max(ts) AS last_seen
FROM clicks
WHERE (ts > (now() - toIntervalHour(26))) AND (ts < (now() + toIntervalHour(26))) AND (bitAnd(flags, 256) = 0)
GROUP BY
    fingerprint,
    minute;

CREATE TABLE velocity_ip
(
    ip IPv6 CODEC(ZSTD(1)),
    minute DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    campaigns AggregateFunction(uniqCombined(12), UInt32) CODEC(ZSTD(1)),
    user_agents AggregateFunction(uniqCombined(12), UInt64) CODEC(ZSTD(1)),
    first_seen SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    last_seen SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toStartOfHour(minute)
ORDER BY (ip, minute)
TTL minute + toIntervalHour(26)
SETTINGS index_granularity = 512, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW velocity_ip_feed TO velocity_ip
(
    ip IPv6,
    minute DateTime('UTC'),
    clicks UInt64,
    campaigns AggregateFunction(uniqCombined(12), UInt32),
    user_agents AggregateFunction(uniqCombined(12), UInt64),
    first_seen DateTime64(3, 'UTC'),
    last_seen DateTime64(3, 'UTC')
)
AS SELECT
    clicks.ip AS ip,
    toStartOfMinute(ts) AS minute,
    count() AS clicks,
    uniqCombinedState(12)(campaign_id) AS campaigns,
    uniqCombinedState(12)(cityHash64(user_agent)) AS user_agents,
    min(ts) AS first_seen,
    max(ts) AS last_seen
FROM clicks
WHERE (ts > (now() - toIntervalHour(26))) AND (ts < (now() + toIntervalHour(26))) AND (bitAnd(flags, 256) = 0)
GROUP BY
    ip,
    minute;

CREATE TABLE velocity_subnet
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
TTL minute + toIntervalHour(26)
SETTINGS index_granularity = 512, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW velocity_subnet_feed TO velocity_subnet
(
    subnet IPv6,
    minute DateTime('UTC'),
    clicks UInt64,
    campaigns AggregateFunction(uniqCombined(12), UInt32),
    user_agents AggregateFunction(uniqCombined(12), UInt64),
    first_seen DateTime64(3, 'UTC'),
    last_seen DateTime64(3, 'UTC')
)
AS SELECT
    tupleElement(IPv6CIDRToRange(clicks.ip, if((clicks.ip >= toIPv6('::ffff:0.0.0.0')) AND (clicks.ip <= toIPv6('::ffff:255.255.255.255')), 120, 64)), 1) AS subnet,
    toStartOfMinute(ts) AS minute,
    count() AS clicks,
    uniqCombinedState(12)(campaign_id) AS campaigns,
    uniqCombinedState(12)(cityHash64(user_agent)) AS user_agents,
    min(ts) AS first_seen,
    max(ts) AS last_seen
FROM clicks
WHERE (ts > (now() - toIntervalHour(26))) AND (ts < (now() + toIntervalHour(26))) AND (bitAnd(flags, 256) = 0)
GROUP BY
    subnet,
    minute;

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
