-- The warehouse's schema after every migration, as ClickHouse prints it. A test keeps it true.

CREATE VIEW analyst_campaigns_daily
(
    day DateTime('UTC'),
    program_id UInt32,
    program String,
    campaign_id UInt32,
    campaign String,
    clicks UInt64,
    valid_clicks UInt64,
    impressions UInt64,
    visitors UInt64,
    addresses UInt64
)
DEFINER = default SQL SECURITY DEFINER
AS SELECT
    day,
    program_id,
    programs.name AS program,
    campaign_id,
    campaigns.name AS campaign,
    clicks,
    valid_clicks,
    impressions,
    visitors,
    addresses
FROM
(
    SELECT
        day,
        program_id,
        campaign_id,
        sum(clicks) AS clicks,
        sum(valid_clicks) AS valid_clicks,
        sum(impressions) AS impressions,
        uniqCombinedMerge(14)(distinct_visitors) AS visitors,
        uniqCombinedMerge(14)(ips) AS addresses
    FROM campaigns_daily
    PREWHERE (getSetting('query_cache_tag') = 'analyst') OR (program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$')))
    GROUP BY
        day,
        program_id,
        campaign_id
) AS counts
LEFT JOIN
(
    SELECT
        id,
        name
    FROM names
    FINAL
    PREWHERE (getSetting('query_cache_tag') = 'analyst') OR (program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$')))
    WHERE kind = 'program'
) AS programs ON programs.id = counts.program_id
LEFT JOIN
(
    SELECT
        id,
        name
    FROM names
    FINAL
    PREWHERE (getSetting('query_cache_tag') = 'analyst') OR (program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$')))
    WHERE kind = 'campaign'
) AS campaigns ON campaigns.id = counts.campaign_id
SETTINGS additional_table_filters = {};

CREATE VIEW analyst_campaigns_hourly
(
    hour DateTime('UTC'),
    program_id UInt32,
    program String,
    campaign_id UInt32,
    campaign String,
    clicks UInt64,
    valid_clicks UInt64,
    impressions UInt64,
    visitors UInt64,
    addresses UInt64
)
DEFINER = default SQL SECURITY DEFINER
AS SELECT
    hour,
    program_id,
    programs.name AS program,
    campaign_id,
    campaigns.name AS campaign,
    clicks,
    valid_clicks,
    impressions,
    visitors,
    addresses
FROM
(
    SELECT
        hour,
        program_id,
        campaign_id,
        sum(clicks) AS clicks,
        sum(valid_clicks) AS valid_clicks,
        sum(impressions) AS impressions,
        uniqCombinedMerge(14)(distinct_visitors) AS visitors,
        uniqCombinedMerge(14)(ips) AS addresses
    FROM campaigns_hourly
    PREWHERE (getSetting('query_cache_tag') = 'analyst') OR (program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$')))
    GROUP BY
        hour,
        program_id,
        campaign_id
) AS counts
LEFT JOIN
(
    SELECT
        id,
        name
    FROM names
    FINAL
    PREWHERE (getSetting('query_cache_tag') = 'analyst') OR (program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$')))
    WHERE kind = 'program'
) AS programs ON programs.id = counts.program_id
LEFT JOIN
(
    SELECT
        id,
        name
    FROM names
    FINAL
    PREWHERE (getSetting('query_cache_tag') = 'analyst') OR (program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$')))
    WHERE kind = 'campaign'
) AS campaigns ON campaigns.id = counts.campaign_id
SETTINGS additional_table_filters = {};

CREATE VIEW analyst_clicks
(
    clicked_at DateTime64(3, 'UTC'),
    program_id UInt32,
    campaign_id UInt32,
    affiliate_id UInt32,
    link_id UInt32,
    counted_as String,
    is_valid UInt8,
    opted_out UInt8,
    country LowCardinality(String),
    asn UInt32,
    network_owner String,
    device LowCardinality(String),
    os LowCardinality(String),
    browser LowCardinality(String),
    language LowCardinality(String),
    referrer_domain LowCardinality(String),
    sub1 String,
    sub2 String,
    sub3 String,
    sub4 String,
    sub5 String,
    utm_source LowCardinality(String),
    utm_medium LowCardinality(String),
    utm_campaign LowCardinality(String),
    utm_term String,
    utm_content String,
    rule UInt16,
    destination UInt16,
    visitor UInt32,
    ip IPv6,
    fingerprint UInt64,
    user_agent LowCardinality(String),
    referrer String,
    query String,
    node UInt16,
    seq UInt32
)
DEFINER = default SQL SECURITY DEFINER
AS SELECT
    ts AS clicked_at,
    program_id,
    campaign_id,
    affiliate_id,
    link_id,
    multiIf(bitAnd(flags, 256) != 0, 'impression', bitAnd(flags, 8192) != 0, 'blocked', bitAnd(flags, 1) != 0, 'bot', bitAnd(flags, 2) != 0, 'prefetch', bitAnd(flags, 4) != 0, 'head', bitAnd(flags, 624) != 0, 'inactive', bitAnd(flags, 2048) != 0, 'forced', bitAnd(flags, 4096) != 0, 'flood', bitAnd(flags, 8) != 0, 'repeat', 'ok') AS counted_as,
    counted_as IN ('ok', 'repeat') AS is_valid,
    bitAnd(flags, 1024) != 0 AS opted_out,
    country,
    asn,
    dictGet('organisations', 'organisation', asn) AS network_owner,
    device,
    os,
    browser,
    language,
    referrer_domain,
    sub1,
    sub2,
    sub3,
    sub4,
    sub5,
    utm_source,
    utm_medium,
    utm_campaign,
    utm_term,
    utm_content,
    rule,
    destination,
    visitor,
    ip,
    fingerprint,
    user_agent,
    referrer,
    query,
    node,
    seq
FROM clicks
PREWHERE (getSetting('query_cache_tag') = 'analyst') OR (program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$')))
SETTINGS additional_table_filters = {};

CREATE VIEW analyst_names
(
    kind LowCardinality(String),
    id UInt32,
    program_id UInt32,
    name String
)
DEFINER = default SQL SECURITY DEFINER
AS SELECT
    kind,
    id,
    program_id,
    name
FROM names
FINAL
PREWHERE (getSetting('query_cache_tag') = 'analyst') OR (program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$')))
SETTINGS additional_table_filters = {};

CREATE VIEW analyst_orders
(
    conversion_id UInt64,
    program_id UInt32,
    program String,
    campaign_id UInt32,
    campaign String,
    affiliate_id UInt32,
    affiliate String,
    link_id UInt32,
    link_code String,
    event_name LowCardinality(String),
    state LowCardinality(String),
    reason LowCardinality(String),
    occurred_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    clicked_at Nullable(DateTime64(3, 'UTC')),
    currency LowCardinality(String),
    amount Decimal(38, 4),
    refunded Decimal(38, 4),
    commission Decimal(38, 4),
    own_commission Decimal(38, 4),
    coupon LowCardinality(String),
    country LowCardinality(String),
    sub1 String,
    sub2 String,
    sub3 String,
    sub4 String,
    sub5 String,
    ip IPv6,
    fingerprint UInt64
)
DEFINER = default SQL SECURITY DEFINER
AS SELECT
    conversion_id,
    program_id,
    programs.name AS program,
    campaign_id,
    campaigns.name AS campaign,
    affiliate_id,
    affiliates.name AS affiliate,
    link_id,
    links.name AS link_code,
    event_name,
    state,
    reason,
    occurred_at,
    received_at,
    click_ts AS clicked_at,
    currency,
    toDecimal128(amount_minor, 4) / units AS amount,
    toDecimal128(refunded_minor, 4) / units AS refunded,
    toDecimal128(commission_minor, 4) / units AS commission,
    toDecimal128(own_commission_minor, 4) / units AS own_commission,
    coupon,
    country,
    sub1,
    sub2,
    sub3,
    sub4,
    sub5,
    ip,
    fingerprint
FROM
(
    SELECT
        *,
        country,
        transform(toString(currency), ['BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF', 'BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND', 'CLF', 'UYW'], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 10000, 10000], 100) AS units
    FROM conversions
    FINAL
    PREWHERE (getSetting('query_cache_tag') = 'analyst') OR (program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$')))
) AS orders
LEFT JOIN
(
    SELECT
        id,
        name
    FROM names
    FINAL
    PREWHERE (getSetting('query_cache_tag') = 'analyst') OR (program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$')))
    WHERE kind = 'program'
) AS programs ON programs.id = orders.program_id
LEFT JOIN
(
    SELECT
        id,
        name
    FROM names
    FINAL
    PREWHERE (getSetting('query_cache_tag') = 'analyst') OR (program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$')))
    WHERE kind = 'campaign'
) AS campaigns ON campaigns.id = orders.campaign_id
LEFT JOIN
(
    SELECT
        id,
        name
    FROM names
    FINAL
    PREWHERE (getSetting('query_cache_tag') = 'analyst') OR (program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$')))
    WHERE kind = 'affiliate'
) AS affiliates ON affiliates.id = orders.affiliate_id
LEFT JOIN
(
    SELECT
        id,
        name
    FROM names
    FINAL
    PREWHERE (getSetting('query_cache_tag') = 'analyst') OR (program_id = toUInt32OrZero(extract(getSetting('query_cache_tag'), '^analyst_prg_([0-9]+)$')))
    WHERE kind = 'link'
) AS links ON links.id = orders.link_id
SETTINGS additional_table_filters = {};

CREATE DICTIONARY asn
(
    network String,
    asn UInt32 DEFAULT 0
)
PRIMARY KEY network
SOURCE(CLICKHOUSE(TABLE 'asn_networks' USER 'default' PASSWORD '[HIDDEN]'))
LIFETIME(MIN 0 MAX 0)
LAYOUT(IP_TRIE);

CREATE TABLE asn_networks
(
    network String CODEC(ZSTD(1)),
    asn UInt32 CODEC(ZSTD(1))
)
ENGINE = MergeTree
ORDER BY network
SETTINGS index_granularity = 8192;

CREATE TABLE asn_owners
(
    asn UInt32 CODEC(ZSTD(1)),
    organisation String CODEC(ZSTD(1))
)
ENGINE = MergeTree
ORDER BY asn
SETTINGS index_granularity = 8192;

CREATE TABLE campaigns_daily
(
    day DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    program_id UInt32 CODEC(ZSTD(1)),
    campaign_id UInt32 CODEC(ZSTD(1)),
    clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    valid_clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    impressions SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    ips AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1)),
    distinct_visitors AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1)),
    settled_ips SimpleAggregateFunction(max, UInt64) CODEC(ZSTD(1)),
    settled_visitors SimpleAggregateFunction(max, UInt64) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (day, campaign_id, program_id)
TTL day + toIntervalYear(5)
SETTINGS ttl_only_drop_parts = 1, index_granularity = 32, non_replicated_deduplication_window = 100000, fsync_after_insert = 1, fsync_part_directory = 1, merge_selector_base = 20, min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1, enable_max_bytes_limit_for_min_age_to_force_merge = 1, min_bytes_for_wide_part = 1048576;

CREATE MATERIALIZED VIEW campaigns_daily_feed TO campaigns_daily
(
    day DateTime('UTC'),
    program_id UInt32,
    campaign_id UInt32,
    clicks UInt64,
    valid_clicks UInt64,
    impressions UInt64,
    ips AggregateFunction(uniqCombined(14), UInt32),
    distinct_visitors AggregateFunction(uniqCombined(14), UInt32)
)
AS SELECT
    toStartOfDay(hour) AS day,
    program_id,
    campaign_id,
    sum(h.clicks) AS clicks,
    sum(h.valid_clicks) AS valid_clicks,
    sum(h.impressions) AS impressions,
    uniqCombinedMergeState(14)(h.ips) AS ips,
    uniqCombinedMergeState(14)(h.distinct_visitors) AS distinct_visitors
FROM campaigns_hourly AS h
GROUP BY
    day,
    program_id,
    campaign_id;

CREATE TABLE campaigns_hourly
(
    hour DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    program_id UInt32 CODEC(ZSTD(1)),
    campaign_id UInt32 CODEC(ZSTD(1)),
    clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    valid_clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    impressions SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    ips AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1)),
    distinct_visitors AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (campaign_id, hour, program_id)
TTL hour + toIntervalYear(5)
SETTINGS ttl_only_drop_parts = 1, index_granularity = 64, non_replicated_deduplication_window = 100000, fsync_after_insert = 1, fsync_part_directory = 1, merge_selector_base = 20, min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1, enable_max_bytes_limit_for_min_age_to_force_merge = 1;

CREATE MATERIALIZED VIEW campaigns_hourly_feed TO campaigns_hourly
(
    hour DateTime('UTC'),
    program_id UInt32,
    campaign_id UInt32,
    clicks UInt64,
    valid_clicks UInt64,
    impressions UInt64,
    ips AggregateFunction(uniqCombined(14), UInt32),
    distinct_visitors AggregateFunction(uniqCombined(14), UInt32)
)
AS SELECT
    toStartOfHour(minute) AS hour,
    program_id,
    campaign_id,
    sumIf(g.clicks, flag_group != 'impression') AS clicks,
    sumIf(g.clicks, (flag_group IN ('ok', 'repeat'))) AS valid_clicks,
    sumIf(g.clicks, flag_group = 'impression') AS impressions,
    uniqCombinedMergeStateIf(14)(g.ips, (flag_group IN ('ok', 'repeat'))) AS ips,
    uniqCombinedMergeStateIf(14)(g.distinct_visitors, (flag_group IN ('ok', 'repeat'))) AS distinct_visitors
FROM clicks_grouped AS g
GROUP BY
    hour,
    program_id,
    campaign_id;

CREATE TABLE clicks
(
    ts DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    node UInt16 CODEC(ZSTD(1)),
    seq UInt32 CODEC(Delta(4), ZSTD(1)),
    program_id UInt32 CODEC(ZSTD(1)),
    campaign_id UInt32 CODEC(ZSTD(1)),
    affiliate_id UInt32 CODEC(T64, ZSTD(1)),
    link_id UInt32 CODEC(T64, ZSTD(1)),
    ip IPv6 CODEC(ZSTD(1)) TTL toDateTime(ts) + toIntervalDay(90),
    flags UInt32 CODEC(T64, ZSTD(1)),
    rule UInt16 CODEC(ZSTD(1)),
    destination UInt16 CODEC(ZSTD(1)),
    fingerprint UInt64 CODEC(ZSTD(1)),
    user_agent LowCardinality(String) CODEC(ZSTD(1)) TTL toDateTime(ts) + toIntervalDay(90),
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
    asn UInt32 MATERIALIZED dictGet('asn', 'asn', ip) CODEC(ZSTD(1)),
    visitor UInt32 ALIAS toUInt32(cityHash64(fingerprint, tupleElement(IPv6CIDRToRange(ip, if(bitShiftRight(toUInt128(ip), 32) = 65535, 120, 48)), 1))),
    INDEX by_asn asn TYPE bloom_filter(0.01) GRANULARITY 1,
    PROJECTION by_time
    (
        SELECT _part_offset
        ORDER BY ts
    ) WITH SETTINGS (index_granularity = 128),
    PROJECTION by_address
    (
        SELECT
            program_id,
            flags
        ORDER BY
            ip,
            ts
    ),
    PROJECTION by_fingerprint
    (
        SELECT
            program_id,
            flags
        ORDER BY
            fingerprint,
            ts
    ),
    PROJECTION by_visitor_key
    (
        SELECT _part_offset
        ORDER BY toUInt32(cityHash64(fingerprint, tupleElement(IPv6CIDRToRange(ip, if(bitShiftRight(toUInt128(ip), 32) = 65535, 120, 48)), 1)))
    ) WITH SETTINGS (index_granularity = 128)
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (campaign_id, ts)
TTL toDateTime(ts) + toIntervalYear(5)
SETTINGS index_granularity = 1024, min_compress_block_size = 4096, default_compression_codec = 'ZSTD(1)', non_replicated_deduplication_window = 100000, fsync_after_insert = 1, fsync_part_directory = 1, merge_selector_base = 20, min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1, enable_max_bytes_limit_for_min_age_to_force_merge = 1;

CREATE TABLE clicks_grouped
(
    minute DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    program_id UInt32 CODEC(ZSTD(1)),
    campaign_id UInt32 CODEC(ZSTD(1)),
    affiliate_id UInt32 CODEC(T64, ZSTD(1)),
    link_id UInt32 CODEC(T64, ZSTD(1)),
    country LowCardinality(String) CODEC(ZSTD(1)),
    device Enum8('unknown' = 0, 'desktop' = 1, 'mobile' = 2, 'tablet' = 3, 'tv' = 4, 'bot' = 5) CODEC(ZSTD(1)),
    flag_group Enum8('ok' = 0, 'bot' = 1, 'prefetch' = 2, 'head' = 3, 'inactive' = 4, 'repeat' = 5, 'impression' = 6, 'forced' = 7, 'flood' = 8, 'blocked' = 9) CODEC(ZSTD(1)),
    clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    ips AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1)),
    distinct_visitors AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1))
)
ENGINE = Null;

CREATE MATERIALIZED VIEW clicks_grouped_feed TO clicks_grouped
(
    minute DateTime('UTC'),
    program_id UInt32,
    campaign_id UInt32,
    affiliate_id UInt32,
    link_id UInt32,
    country LowCardinality(String),
    device Enum8('unknown' = 0, 'desktop' = 1, 'mobile' = 2, 'tablet' = 3, 'tv' = 4, 'bot' = 5),
    flag_group Enum8('ok' = 0, 'bot' = 1, 'prefetch' = 2, 'head' = 3, 'inactive' = 4, 'repeat' = 5, 'impression' = 6, 'forced' = 7, 'flood' = 8, 'blocked' = 9),
    clicks UInt64,
    ips AggregateFunction(uniqCombined(14), UInt32),
    distinct_visitors AggregateFunction(uniqCombined(14), UInt32)
)
AS SELECT
    minute,
    program_id,
    campaign_id,
    affiliate_id,
    link_id,
    CAST(toStringCutToZero(letters), 'LowCardinality(String)') AS country,
    CAST(device_number, 'Enum8(\'unknown\' = 0, \'desktop\' = 1, \'mobile\' = 2, \'tablet\' = 3, \'tv\' = 4, \'bot\' = 5)') AS device,
    CAST(group_number, 'Enum8(\'ok\' = 0, \'bot\' = 1, \'prefetch\' = 2, \'head\' = 3, \'inactive\' = 4, \'repeat\' = 5, \'impression\' = 6, \'forced\' = 7, \'flood\' = 8, \'blocked\' = 9)') AS flag_group,
    count() AS clicks,
    uniqCombinedState(14)(ip_hash) AS ips,
    uniqCombinedState(14)(visitor) AS distinct_visitors
FROM
(
    SELECT
        toStartOfMinute(ts) AS minute,
        program_id,
        campaign_id,
        affiliate_id,
        link_id,
        CAST(substring(country, 1, 2), 'FixedString(2)') AS letters,
        toInt8(transform(device, ['desktop', 'mobile', 'tablet', 'tv', 'bot'], [1, 2, 3, 4, 5], 0)) AS device_number,
        toInt8(multiIf(bitAnd(flags, 256) != 0, 6, bitAnd(flags, 8192) != 0, 9, bitAnd(flags, 1) != 0, 1, bitAnd(flags, 2) != 0, 2, bitAnd(flags, 4) != 0, 3, bitAnd(flags, 624) != 0, 4, bitAnd(flags, 2048) != 0, 7, bitAnd(flags, 4096) != 0, 8, bitAnd(flags, 8) != 0, 5, 0)) AS group_number,
        toUInt32(cityHash64(ip)) AS ip_hash,
        visitor
    FROM clicks
)
GROUP BY
    minute,
    program_id,
    campaign_id,
    affiliate_id,
    link_id,
    letters,
    device_number,
    group_number;

CREATE TABLE clicks_hourly
(
    hour DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    program_id UInt32 CODEC(ZSTD(1)),
    campaign_id UInt32 CODEC(ZSTD(1)),
    affiliate_id UInt32 CODEC(T64, ZSTD(1)),
    link_id UInt32 CODEC(T64, ZSTD(1)),
    country LowCardinality(String) CODEC(ZSTD(1)),
    device Enum8('unknown' = 0, 'desktop' = 1, 'mobile' = 2, 'tablet' = 3, 'tv' = 4, 'bot' = 5) CODEC(ZSTD(1)),
    flag_group Enum8('ok' = 0, 'bot' = 1, 'prefetch' = 2, 'head' = 3, 'inactive' = 4, 'repeat' = 5, 'impression' = 6, 'forced' = 7, 'flood' = 8, 'blocked' = 9) CODEC(ZSTD(1)),
    clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    ips AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1)),
    distinct_visitors AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1)),
    PROJECTION by_affiliate
    (
        SELECT
            hour,
            link_id,
            flag_group,
            clicks
        ORDER BY
            affiliate_id,
            program_id,
            campaign_id,
            hour
    )
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (campaign_id, hour, affiliate_id, link_id, program_id, country, device, flag_group)
TTL hour + toIntervalYear(5)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 100000, fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 8192, merge_selector_base = 20, default_compression_codec = 'ZSTD(1)', deduplicate_merge_projection_mode = 'rebuild', min_age_to_force_merge_seconds = 86400, min_age_to_force_merge_on_partition_only = 1, enable_max_bytes_limit_for_min_age_to_force_merge = 1;

CREATE MATERIALIZED VIEW clicks_hourly_feed TO clicks_hourly
(
    hour DateTime('UTC'),
    program_id UInt32,
    campaign_id UInt32,
    affiliate_id UInt32,
    link_id UInt32,
    country LowCardinality(String),
    device Enum8('unknown' = 0, 'desktop' = 1, 'mobile' = 2, 'tablet' = 3, 'tv' = 4, 'bot' = 5),
    flag_group Enum8('ok' = 0, 'bot' = 1, 'prefetch' = 2, 'head' = 3, 'inactive' = 4, 'repeat' = 5, 'impression' = 6, 'forced' = 7, 'flood' = 8, 'blocked' = 9),
    clicks SimpleAggregateFunction(sum, UInt64),
    ips AggregateFunction(uniqCombined(14), UInt32),
    distinct_visitors AggregateFunction(uniqCombined(14), UInt32)
)
AS SELECT
    toStartOfHour(minute) AS hour,
    program_id,
    campaign_id,
    affiliate_id,
    link_id,
    country,
    device,
    flag_group,
    clicks,
    ips,
    distinct_visitors
FROM clicks_grouped;

CREATE TABLE clicks_minutely
(
    minute DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    program_id UInt32 CODEC(ZSTD(1)),
    campaign_id UInt32 CODEC(ZSTD(1)),
    affiliate_id UInt32 CODEC(T64, ZSTD(1)),
    link_id UInt32 CODEC(T64, ZSTD(1)),
    country LowCardinality(String) CODEC(ZSTD(1)),
    device Enum8('unknown' = 0, 'desktop' = 1, 'mobile' = 2, 'tablet' = 3, 'tv' = 4, 'bot' = 5) CODEC(ZSTD(1)),
    flag_group Enum8('ok' = 0, 'bot' = 1, 'prefetch' = 2, 'head' = 3, 'inactive' = 4, 'repeat' = 5, 'impression' = 6, 'forced' = 7, 'flood' = 8, 'blocked' = 9) CODEC(ZSTD(1)),
    clicks SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    ips AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1)),
    distinct_visitors AggregateFunction(uniqCombined(14), UInt32) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMMDD(minute)
ORDER BY (campaign_id, minute, affiliate_id, link_id, program_id, country, device, flag_group)
TTL minute + toIntervalDay(8)
SETTINGS ttl_only_drop_parts = 1, non_replicated_deduplication_window = 100000, fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 8192, merge_selector_base = 20, min_age_to_force_merge_seconds = 3600, min_age_to_force_merge_on_partition_only = 1, enable_max_bytes_limit_for_min_age_to_force_merge = 1;

CREATE MATERIALIZED VIEW clicks_minutely_feed TO clicks_minutely
(
    minute DateTime('UTC'),
    program_id UInt32,
    campaign_id UInt32,
    affiliate_id UInt32,
    link_id UInt32,
    country LowCardinality(String),
    device Enum8('unknown' = 0, 'desktop' = 1, 'mobile' = 2, 'tablet' = 3, 'tv' = 4, 'bot' = 5),
    flag_group Enum8('ok' = 0, 'bot' = 1, 'prefetch' = 2, 'head' = 3, 'inactive' = 4, 'repeat' = 5, 'impression' = 6, 'forced' = 7, 'flood' = 8, 'blocked' = 9),
    clicks SimpleAggregateFunction(sum, UInt64),
    ips AggregateFunction(uniqCombined(14), UInt32),
    distinct_visitors AggregateFunction(uniqCombined(14), UInt32)
)
AS SELECT
    minute,
    program_id,
    campaign_id,
    affiliate_id,
    link_id,
    country,
    device,
    flag_group,
    clicks,
    ips,
    distinct_visitors
FROM clicks_grouped
WHERE (minute > (now() - toIntervalDay(8))) AND (minute < (now() + toIntervalHour(26)));

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
    own_commission_minor Decimal(18, 0),
    occurred_at DateTime64(3, 'UTC'),
    received_at DateTime64(3, 'UTC'),
    click_ts Nullable(DateTime64(3, 'UTC')),
    ip IPv6,
    fingerprint UInt64,
    country LowCardinality(String) MATERIALIZED dictGet('geo', 'country', ip),
    event_name LowCardinality(String) DEFAULT 'sale',
    coupon LowCardinality(String) DEFAULT '',
    sub1 String DEFAULT '' CODEC(ZSTD(1)),
    sub2 String DEFAULT '' CODEC(ZSTD(1)),
    sub3 String DEFAULT '' CODEC(ZSTD(1)),
    sub4 String DEFAULT '' CODEC(ZSTD(1)),
    sub5 String DEFAULT '' CODEC(ZSTD(1)),
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
SOURCE(CLICKHOUSE(TABLE 'geo_networks' USER 'default' PASSWORD '[HIDDEN]'))
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
    list LowCardinality(String),
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

CREATE TABLE names
(
    kind LowCardinality(String),
    id UInt32,
    program_id UInt32,
    name String CODEC(ZSTD(1)),
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (kind, id)
SETTINGS fsync_after_insert = 1, index_granularity = 8192;

CREATE DICTIONARY organisations
(
    asn UInt32,
    organisation String DEFAULT ''
)
PRIMARY KEY asn
SOURCE(CLICKHOUSE(TABLE 'asn_owners' USER 'default' PASSWORD '[HIDDEN]'))
LIFETIME(MIN 0 MAX 0)
LAYOUT(HASHED);

CREATE TABLE sealed_leases
(
    node UInt16,
    started_at DateTime64(3, 'UTC'),
    ended_at DateTime64(3, 'UTC'),
    next_seq UInt64,
    state LowCardinality(String),
    shard UInt16 DEFAULT 0
)
ENGINE = ReplacingMergeTree
ORDER BY (node, started_at)
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

CREATE TABLE signed_heads
(
    chain LowCardinality(String),
    last_id UInt64,
    head String,
    signed_at DateTime64(3, 'UTC'),
    signature String
)
ENGINE = MergeTree
ORDER BY (chain, last_id)
SETTINGS fsync_after_insert = 1, index_granularity = 8192;

CREATE TABLE velocity_fingerprint
(
    fingerprint UInt64 CODEC(ZSTD(1)),
    ts DateTime64(3, 'UTC') CODEC(T64, ZSTD(1)),
    campaign_id UInt32 CODEC(ZSTD(1)),
    agent UInt32 CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toStartOfInterval(ts, toIntervalHour(4))
ORDER BY (fingerprint, ts)
TTL toDateTime(ts) + toIntervalHour(26)
SETTINGS index_granularity = 512, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 100000, merge_selector_base = 20, fsync_after_insert = 1, fsync_part_directory = 1, min_age_to_force_merge_seconds = 3600, min_age_to_force_merge_on_partition_only = 1, enable_max_bytes_limit_for_min_age_to_force_merge = 1;

CREATE MATERIALIZED VIEW velocity_fingerprint_feed TO velocity_fingerprint
(
    fingerprint UInt64,
    ts DateTime64(3, 'UTC'),
    campaign_id UInt32,
    agent LowCardinality(UInt32)
)
AS SELECT
    fingerprint,
    ts,
    campaign_id,
    toUInt32(cityHash64(user_agent)) AS agent
FROM clicks
WHERE (ts > (now() - toIntervalHour(26))) AND (ts < (now() + toIntervalHour(26))) AND (bitAnd(flags, 256) = 0) AND (fingerprint != 0);

CREATE TABLE velocity_ip
(
    subnet IPv6 CODEC(ZSTD(1)),
    ip IPv6 CODEC(ZSTD(1)),
    ts DateTime64(3, 'UTC') CODEC(T64, ZSTD(1)),
    campaign_id UInt32 CODEC(ZSTD(1)),
    agent UInt32 CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toStartOfInterval(ts, toIntervalHour(4))
ORDER BY (subnet, ip, ts)
TTL toDateTime(ts) + toIntervalHour(26)
SETTINGS index_granularity = 512, ttl_only_drop_parts = 1, non_replicated_deduplication_window = 100000, merge_selector_base = 20, fsync_after_insert = 1, fsync_part_directory = 1, min_age_to_force_merge_seconds = 3600, min_age_to_force_merge_on_partition_only = 1, enable_max_bytes_limit_for_min_age_to_force_merge = 1;

CREATE MATERIALIZED VIEW velocity_ip_feed TO velocity_ip
(
    subnet IPv6,
    ip IPv6,
    ts DateTime64(3, 'UTC'),
    campaign_id UInt32,
    agent LowCardinality(UInt32)
)
AS SELECT
    tupleElement(IPv6CIDRToRange(ip, if((ip >= toIPv6('::ffff:0.0.0.0')) AND (ip <= toIPv6('::ffff:255.255.255.255')), 120, 64)), 1) AS subnet,
    ip,
    ts,
    campaign_id,
    toUInt32(cityHash64(user_agent)) AS agent
FROM clicks
WHERE (ts > (now() - toIntervalHour(26))) AND (ts < (now() + toIntervalHour(26))) AND (bitAnd(flags, 256) = 0);

CREATE TABLE visitors_known
(
    since DateTime('UTC')
)
ENGINE = MergeTree
ORDER BY since
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
