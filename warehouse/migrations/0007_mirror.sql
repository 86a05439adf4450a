-- Copies of PostgreSQL's rows that reports join with clicks.

-- PostgreSQL's conversions as of the highest version of each: read with FINAL. Money is in minor units of currency.
-- The click is that of the decision; its time and what follows from it are null or empty without one.
CREATE TABLE IF NOT EXISTS conversions
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
  INDEX by_time occurred_at TYPE minmax
)
ENGINE = ReplacingMergeTree(version)
ORDER BY conversion_id
SETTINGS fsync_after_insert = 1;

-- Names of programs, campaigns, affiliates and links as of the highest version of each: read with FINAL. A link's name is
-- its code.
CREATE TABLE IF NOT EXISTS names
(
  kind LowCardinality(String),
  id UInt32,
  program_id UInt32,
  name String CODEC(ZSTD(1)),
  version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (kind, id)
SETTINGS fsync_after_insert = 1;
