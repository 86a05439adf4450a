-- Which lists of networks were loaded, and when.
CREATE TABLE IF NOT EXISTS geo_versions
(
  loaded_at DateTime64(3, 'UTC'),
  list LowCardinality(String),
  source String,
  built_at DateTime('UTC'),
  networks UInt64
)
ENGINE = MergeTree
ORDER BY loaded_at
