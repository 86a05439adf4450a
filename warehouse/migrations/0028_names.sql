-- What programs, campaigns, affiliates and links are called, as of the highest version of each: read with FINAL. A link's
-- name is its code.
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
SETTINGS fsync_after_insert = 1
