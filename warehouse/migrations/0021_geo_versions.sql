-- What was loaded into geo_networks, and when.
CREATE TABLE IF NOT EXISTS geo_versions
(
  loaded_at DateTime64(3, 'UTC'),
  source String,
  built_at DateTime('UTC'),
  networks UInt64
)
ENGINE = MergeTree
ORDER BY loaded_at
